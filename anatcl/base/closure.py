"""Digests of code: what a step can reach by import, read from the source files without importing them.

A digest changes when the code that a step runs changes, and not otherwise: comments, docstrings, layout and blocks
under ``if TYPE_CHECKING:`` do not count. The unit is the module. Of the module of the command line that a step begins
in, only the step's function and what it names counts, so that a help text changes nothing.

A text that names a file beside its module counts as used: a program that is run as a file
(``Path(__file__).with_name("ants_program.py")``) is followed, a table is digested by its bytes. A *folder* beside a
module (recipes, tasks, atlases) is a library to choose from and does not count: what a job chose is digested where it
is chosen. A module that is imported by a name made at run time (a loss) is chosen in the same sense.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from anatcl.base.syntax import NAME, PACKAGE, Part, function_part, module_file, module_part

# Modules that decide how a step speaks, fails and records what it did, never what it writes into a result.
NEUTRAL = frozenset(
    {
        NAME,  # its version stands in the record of every result
        f"{NAME}.base",
        f"{NAME}.base.closure",
        f"{NAME}.base.derivatives",
        f"{NAME}.base.errors",
        f"{NAME}.base.failures",
        f"{NAME}.base.provenance",
        f"{NAME}.base.syntax",
        f"{NAME}.base.words",  # of error messages
    }
)


def code_digest(*modules: str, without: Iterable[str] = ()) -> str:
    """Digest of all code and data files that some modules reach.

    Parameters
    ----------
    *modules : str
        Names such as ``anatcl.bids.index``.
    without : iterable of str
        Modules that are not followed: those that a job chooses by name.

    Returns
    -------
    str
        Twelve hexadecimal digits; the same on every machine and in every folder.
    """
    return _digest("", set(), closure(modules, without))


def modules_digest(*modules: str) -> str:
    """Digest of some modules and the data files they name, without what they import."""
    return _digest("", set(), set(modules))


def package_digests() -> dict[str, str]:
    """Digest of the code of each part of the library, for the record of a run."""
    folders = sorted(file.parent for file in PACKAGE.glob("*/__init__.py"))
    return {folder.name: code_digest(*map(_name, sorted(folder.rglob("*.py")))) for folder in folders}


@functools.cache
def step_digest(
    module: str, function: str, without: frozenset[str] = frozenset(), chosen: frozenset[str] = frozenset()
) -> str:
    """Digest of what a function of the command line runs.

    Parameters
    ----------
    module, function : str
        Where the step begins: ``anatcl.cli.preprocess`` and ``_run_skullstrip``.
    without : frozenset of str
        As in `code_digest`.
    chosen : frozenset of str
        Modules that the job chooses by name, followed too.
    """
    start = function_part(module, function)
    begin = {*_used(start, module)[0], *chosen}
    return _digest(start.digest, _used(start, module)[1], closure(begin, without - chosen))


def closure(modules: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """Names of the modules of this package that `modules` reach, themselves included, without neutral ones."""
    found: set[str] = set()
    left_out = NEUTRAL.union(without)
    todo = [name for module in modules for name in _with_packages(module)]
    while todo:
        name = todo.pop()
        if name not in found and name not in left_out:
            found.add(name)
            todo += [more for used in _used(module_part(name), name)[0] for more in _with_packages(used)]
    return found


def data_files(modules: Iterable[str]) -> set[Path]:
    """Data files that modules name."""
    return set().union(*(_used(module_part(name), name)[1] for name in modules))


def _digest(start: str, files: set[Path], modules: set[str]) -> str:
    lines = [start, *(f"{name} {module_part(name).digest}" for name in sorted(modules))]
    lines += [
        f"{file.relative_to(PACKAGE).as_posix()} {_content(file)}" for file in sorted(files | data_files(modules))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _used(part: Part, module: str) -> tuple[set[str], set[Path]]:
    """Modules of this package that a part of `module` imports or runs, and the data files that it names."""
    modules = {name for text in part.imports if (name := _module(text))}
    file = module_file(module)
    beside = [file.parent / name for name in part.names] if file else []
    present = {path for path in beside if path.is_file()}
    programs = {path for path in present if path.suffix == ".py"}
    modules |= {_name(path) for path in programs}
    pages = [path for text in part.pages for path in _pages(text)]
    return modules, (present - programs) | set(pages)


def _pages(package: str) -> list[Path]:
    """Files of the folder ``templates`` of a package, which jinja's PackageLoader reads."""
    file = module_file(package)
    return sorted(path for path in file.with_name("templates").rglob("*") if path.is_file()) if file else []


def _module(text: str) -> str:
    """The module that an import means: ``a.b.c`` may be module c of package a.b, or what module a.b calls c."""
    for name in (text, text.rpartition(".")[0]):
        if module_file(name):
            return name
    return ""


def _name(file: Path) -> str:
    """Name of the module that a source file holds."""
    return ".".join([NAME, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def _with_packages(module: str) -> list[str]:
    """A module and the packages that hold it, whose ``__init__`` runs before it."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


@functools.cache
def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
