"""Digests of code: what counts, what does not, and that nothing of the package is forgotten."""

from __future__ import annotations

import ast
import io
import random
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from anatcl.base import closure, syntax
from anatcl.cli import steps

ROOT = Path(__file__).resolve().parents[3]
RULES = "".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
STEPS = sorted(set(re.findall(r"python -m anatcl (\w+) ([\w-]+)", RULES)))
SOURCES = sorted((ROOT / "anatcl").rglob("*.py"))


def digest(text: str) -> str:
    return syntax._part(ast.parse(text).body, "anatcl.base.files").digest


def reached(stage: str, step: str) -> set[str]:
    module, function = steps.step_function(stage, step)
    used, _ = closure._used(syntax.function_part(module, function), module)
    return closure.closure(used, steps.methods())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 1  # a word"),
        ("x = 1", "# a word\n\nx = (\n  1\n)"),
        ("def f(): return 1", 'def f():\n    """Text."""\n    return 1'),
        ('class A:\n    """Old."""\n    x = 1', 'class A:\n    """New."""\n    x = 1\n    """Of x."""'),
        ("x = 1", "if TYPE_CHECKING:\n    import y\nx = 1"),
        ("x = 1", "if typing.TYPE_CHECKING:\n    import y\nx = 1"),
        ("METHOD = {'name': 'a', 'label': 'A'}", "METHOD = {'name': 'a', 'label': 'B', 'order': 3}"),
        ("METHOD = dict(name='a')", "METHOD = dict(name='a', sentence='A.')"),
    ],
)
def test_what_does_nothing_does_not_count(before, after):
    assert digest(before) == digest(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = a + b", "x = a - b"),
        ("x = a + b", "x = b + a"),
        ("f(a, b)", "f(a, *b)"),
        ("f(a, b)", "f(a, b=b)"),
        ("f([a], b)", "f([a, b])"),
        ("if a:\n    b\n    c", "if a:\n    b\nc"),
        ("if a:\n    b\nelse:\n    c", "if a:\n    b\n    c"),
        ("def f(a, b=1): pass", "def f(a, *, b=1): pass"),
        ("def f(a): pass", "async def f(a): pass"),
        ("x: int = 1", "x: float = 1"),
        ("import a", "import a as b"),
        ("METHOD = {'name': 'a', 'views': 1}", "METHOD = {'name': 'a', 'views': 2}"),
        ("OTHER = {'label': 'A'}", "OTHER = {'label': 'B'}"),
        ("from a import b", "from .a import b"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("a if b else c", "c if b else a"),
        ("{'a': 1, 'b': 2}", "{'a': 2, 'b': 1}"),
        ("{'a': b}", "{**a, 'a': b}"),
        ("if TYPE_CHECKING:\n    x = 1\nelse:\n    x = 2", "x = 2"),
        ("lambda a: 1", "lambda: 1"),
        ("x[a:b]", "x[a, b]"),
        ("x[a:]", "x[:a]"),
    ],
)
def test_what_does_something_counts(before, after):
    assert digest(before) != digest(after)


@pytest.mark.parametrize("file", random.Random(1).sample(SOURCES, 25), ids=lambda file: file.stem)
def test_comments_and_layout_of_real_files_do_not_count(file):
    text = file.read_text()
    words = [(t.type, t.string) for t in tokenize.generate_tokens(io.StringIO(text).readline)]
    bare = tokenize.untokenize((kind, word) for kind, word in words if kind not in (tokenize.COMMENT, tokenize.NL))
    parts = re.split(r'("""[\s\S]*?""")', text)  # what stands in a text may be more than layout
    spread = "".join(p if p.startswith('"""') else p.replace("\n\n", "\n# a word\n\n\n") for p in parts)
    assert digest(text) == digest(bare)
    assert digest(text) == digest(spread)


def test_a_function_of_the_command_line_counts_with_what_it_names_and_no_more():
    body = ast.parse(
        "import a\nimport b\nX = 1\nY = 2\ndef g(): return X\ndef h(): return Y\ndef f(): return a, g()"
    ).body
    assert [ast.unparse(s).split("\n")[0] for s in syntax._needed(body, "f")] == [
        "import a",
        "X = 1",
        "def g():",
        "def f():",
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import anatcl.base.files", {"anatcl.base.files"}),
        ("import anatcl.base.files as f, os", {"anatcl.base.files"}),
        ("from anatcl.base import files", {"anatcl.base.files"}),
        ("from anatcl.base.files import sha256", {"anatcl.base.files"}),
        ("from anatcl.models import build_model", {"anatcl.models"}),
        ("from . import failures", {"anatcl.base.failures"}),
        ("from ..bids import walk", {"anatcl.bids.walk"}),
        ("from .errors import InputError", {"anatcl.base.errors"}),
        ("def f():\n    from anatcl.base import files", {"anatcl.base.files"}),
        ("try:\n    import anatcl.base.files\nexcept ImportError:\n    pass", {"anatcl.base.files"}),
        ("if TYPE_CHECKING:\n    from anatcl.base import files", set()),
        ("import anatclother.x, os", set()),
    ],
)
def test_imports_are_read_as_python_reads_them(line, found):
    part = syntax._part(ast.parse(line).body, "anatcl.base.provenance")
    assert closure._used(part, "anatcl.base.provenance")[0] == found


def test_programs_run_as_files_are_followed():
    assert "anatcl.preprocess.ants_program" in reached("preprocess", "bias_correct")
    assert "anatcl.preprocess.greedy_program" in reached("preprocess", "register")


def test_packages_count_with_their_modules():
    assert {"anatcl.models", "anatcl.models.resnet", "anatcl.pretrain"} <= reached("evaluate", "embed")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), STEPS)
def test_the_closure_holds_what_python_imports(stage, step):
    """The step's imports, run: no module of this package is loaded that the closure does not know."""
    module, function = steps.step_function(stage, step)
    script = f"""if True:
    import ast, inspect, sys, textwrap, importlib
    module = importlib.import_module({module!r})
    before = set(sys.modules)
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(module, {function!r}))))
    lines = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    for line in lines:
        exec(line, {{}})
    print(*[m for m in set(sys.modules) - before if m.startswith("anatcl")])
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if name not in closure.NEUTRAL}
    assert loaded - reached(stage, step) - closure.closure(steps.methods()) == set()


def test_no_step_depends_on_the_whole_configuration():
    """Else a new key of the configuration would run everything again."""
    plans = {"anatcl.spec.config", "anatcl.spec.layers"}
    assert not {(*step, name) for step in STEPS for name in reached(*step) if name in plans or ".plan" in name}


def test_every_shipped_file_belongs_to_code_or_to_a_library_of_names():
    modules = {closure._name(file) for file in SOURCES}
    named = closure.data_files(modules)
    shipped = {p for p in (ROOT / "anatcl").rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".typed")}
    libraries = {"recipes", "tasks", "templates", "atlases", "known"}
    assert {p for p in shipped - named if not (p.parent.parent.name == "spec" and p.parent.name in libraries)} == set()
    assert named


def test_a_loss_counts_for_its_own_method_only():
    digests = {method: steps.code_digest("pretrain", "train", method) for method in ("y-aware", "simclr", "untrained")}
    assert len(set(digests.values())) == 3
    assert not {name for name in reached("pretrain", "train") if name in steps.methods()}


def test_digests_are_the_same_elsewhere_and_follow_edits(tmp_path):
    shutil.copytree(ROOT / "anatcl", tmp_path / "anatcl", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "from anatcl.cli.steps import code_digest as d\nprint(d('evaluate', 'task'), d('pretrain', 'train', 'expw'))"
    )

    def digests() -> list[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
                              text=True, check=True).stdout.split()  # fmt: skip

    here = [steps.code_digest("evaluate", "task"), steps.code_digest("pretrain", "train", "expw")]
    assert digests() == here
    (tmp_path / "anatcl" / "losses" / "new.py").write_text(
        "from anatcl.losses.base import Loss\nclass New(Loss): ...\n"
    )
    assert digests() == here
    with (tmp_path / "anatcl" / "losses" / "expw.py").open("a") as file:
        file.write("X = 1\n")
    task, train = digests()
    assert task == here[0] and train != here[1]


def test_what_was_read_is_kept_and_a_broken_file_does_no_harm(tmp_path, monkeypatch):
    file = tmp_path / "code.json"
    kept = syntax.Kept()
    kept.open(file)
    made = kept.part("key", lambda: syntax.Part("d", ("a",), (), ("p",)))
    kept.save()
    again = syntax.Kept()
    again.open(file)
    assert again.part("key", lambda: pytest.fail("read again")) == made
    for text in ("", "[1]", '{"key": 3}', '{"key": {"digest": "d"}}'):
        file.write_text(text)
        broken = syntax.Kept()
        broken.open(file)
        assert broken.part("key", lambda: made) == made
