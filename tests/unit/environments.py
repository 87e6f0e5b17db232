"""What the step of a rule imports, from its syntax, and what a conda environment declares."""

from __future__ import annotations

import argparse
import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted((ROOT / "rules").glob("*.smk"))}


# The conda package of an import, or those of which one is enough; of what is not here, the name is the same.
PACKAGES = {
    "PIL": ("pillow",),
    "SimpleITK": ("picsl-greedy",),  # which requires it
    "abagen": ("abagen",),
    "ants": ("ants",),  # its programs come before those of antspyx, which is imported only without them
    "cat_surf": ("cat-surf",),
    "cc3d": ("connected-components-3d",),
    "contourpy": ("matplotlib-base",),  # which requires it
    "deepbet": ("deepbet",),
    "fill_voids": ("fill_voids",),
    "matplotlib": ("matplotlib-base",),
    "nibabel": ("nibabel",),
    "nilearn": ("nilearn",),
    "nipype": ("nipype",),
    "picsl_greedy": ("picsl-greedy",),
    "pydantic_core": ("pydantic",),  # which requires it
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "snakemake": ("snakemake-minimal",),
    "torch": ("pytorch", "pytorch-gpu"),
    "torch.utils.tensorboard": ("tensorboard",),
    "yaml": ("pyyaml",),
}

# Packages that only an option of the configuration needs.
OPTIONS = {
    "cat-surf": "measures: engine: surface",
    "combatlearn": "harmonise: combat of a task",
    "monai": "pretrain: encoder: densenet121",
    "onnxruntime": "evaluate: encoders: an ONNX model",
    "connected-components-3d": "preprocess: skullstrip: method: deepbet",
    "deepbet": "preprocess: skullstrip: method: deepbet",
    "fill_voids": "preprocess: skullstrip: method: deepbet",
    "picsl-greedy": "preprocess: deformable: greedy",
    "tensorboard": "pretrain: options: tensorboard",
}


# -- what a step imports ------------------------------------------------------------------------------------------


@functools.cache
def source(module: str) -> Path | None:
    """File of a module of the library; None where the name is no module (but a function of one)."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@functools.cache
def tree(module: str) -> ast.Module:
    """Syntax tree of a module of the library."""
    file = source(module)
    assert file is not None, module
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Full names of what a piece of code imports, inside functions too, but for what is there for types alone."""
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        children = iter(node.orelse)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "the library has no relative imports"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from looked_up(node)
    for child in children:
        yield from imported(child)


def called(node: ast.AST) -> set[str]:
    """Names of the functions that a piece of code calls, without what stands before their last dot."""
    functions = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    return {f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in functions}


@functools.cache
def finders() -> frozenset[str]:
    """Functions that look a package up by a name they are given: those of importlib, and their wrappers here."""
    found = {"find_spec", "import_module", "distribution"}
    files = (ROOT / "anatcl").rglob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    takers = [n for n in nodes if isinstance(n, ast.FunctionDef) and any(a.arg == "package" for a in n.args.args)]
    while more := {f.name for f in takers if called(f) & found} - found:  # a wrapper may call another
        found |= more
    return frozenset(found)


def looked_up(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Known packages whose names stand as text in a function that looks packages up."""
    if not called(function) & finders():
        return
    texts = (n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    yield from (text for text in texts if text.partition(".")[0] in PACKAGES)


def named_in_data(module: str) -> Iterator[str]:
    """Packages named in the library's data files, for a module that looks up what such a file names."""
    calls = [n for n in ast.walk(tree(module)) if isinstance(n, ast.Call) and n.args]
    by_data = [
        c
        for c in calls
        if getattr(c.func, "id", "") in finders() and isinstance(c.args[0], ast.Subscript | ast.Attribute)
    ]
    if by_data:
        texts = (data.read_text(encoding="utf-8") for data in (ROOT / "anatcl").rglob("*.yaml"))
        yield from (name for text in texts for name in re.findall(r"package: (\w+)", text))


def started(module: str) -> Iterator[str]:
    """Modules beside this one that it starts by their paths, as programs of their own."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "with_name":
            texts = (a.value for a in node.args if isinstance(a, ast.Constant) and str(a.value).endswith(".py"))
            yield from (f"{module.rpartition('.')[0]}.{Path(text).stem}" for text in texts)


def modules(names: Iterable[str]) -> Iterator[str]:
    """Modules of the library among names, each with the packages it lies in."""
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1) if source(".".join(parts[:n])))


def reached(start: Iterable[str]) -> dict[str, list[str]]:
    """Modules of the library that can be reached from imports, each with what it imports."""
    found: dict[str, list[str]] = {}
    todo = list(modules(start))
    while todo:
        module = todo.pop()
        if module not in found:
            found[module] = [*imported(tree(module)), *started(module), *named_in_data(module)]
            todo += modules(found[module])
    return found


def outside(start: Iterable[str]) -> dict[str, str]:
    """Third-party modules that can be reached from imports, each with one module of the library that imports it."""
    start = list(start)
    by = {"the step itself": start} | reached(start)
    found = {name: via for via, names in by.items() for name in names}
    return {name: via for name, via in found.items() if name.partition(".")[0] not in OWN}


OWN = {"anatcl", *sys.stdlib_module_names}


def command(stage: str, step: str) -> ast.FunctionDef:
    """The function that ``python -m anatcl stage step`` calls."""
    from anatcl.cli.main import build_parser

    parser: argparse.ArgumentParser = build_parser()
    for word in (stage, step):
        (choices,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = choices.choices[word]
    function = parser.get_default("function")
    file = function.__code__.co_filename
    nodes = ast.walk(tree("anatcl.cli." + Path(file).stem))
    return next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == function.__name__)


def step_imports(stage: str, step: str) -> list[str]:
    """What the function of a step imports, with the helpers of its own file that it calls."""
    local = {n.name: n for n in tree(f"anatcl.cli.{stage}").body if isinstance(n, ast.FunctionDef)}
    todo, used = [command(stage, step)], {}
    while todo:
        function = todo.pop()
        used[function.name] = function
        names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
        todo += [local[name] for name in names & set(local) - set(used)]
    return [name for function in used.values() for name in imported(function)]


def rules() -> dict[str, tuple[str, str, set[str]]]:
    """Stage, step and environment files of each rule with a command."""
    found = {}
    for text in TEXTS.values():
        for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE):
            called = re.search(r"python -m anatcl (\w+) ([\w-]+)", body)
            if called:
                found[name] = (called[1], called[2], environments(body))
    return found


def wanted(imports: Iterable[str]) -> set[tuple[str, ...]]:
    """Packages that some imports need, each with its alternatives."""
    imports = list(imports)
    special = {PACKAGES[known] for known in PACKAGES for name in imports if f"{name}.".startswith(f"{known}.")}
    tops = {name.partition(".")[0] for name in imports}
    return special | {(top,) for top in tops - set(PACKAGES)}


def environments(body: str) -> set[str]:
    """Files that a rule's directive ``conda`` may name: one, or those of a constant of common.smk."""
    match = re.search(r"^    conda:\n\s+(.+)", body, re.MULTILINE)
    assert match, "a rule without an environment"
    value = match[1]
    if not value.startswith('"'):
        constant = re.search(rf"^{value} = \(?\n?(.+?)^\)?$", TEXTS["common"], re.MULTILINE | re.DOTALL)
        assert constant, value
        value = constant[1]
    return set(re.findall(r"\.\./envs/([\w-]+\.yaml)", value))


# -- what an environment declares ---------------------------------------------------------------------------------


def declared(file: str) -> set[str]:
    """Names of the packages of an environment, those of pip among them."""
    content = yaml.safe_load((ROOT / "envs" / file).read_text(encoding="utf-8"))
    lines = [s for d in content["dependencies"] for s in (d["pip"] if isinstance(d, dict) else [d])]
    return {re.split(r"[ =<>\[!~]", line.rpartition("::")[2])[0] for line in lines}
