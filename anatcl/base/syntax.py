"""Names and imports of a module of this package, read from its syntax; see `anatcl.base.closure`."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
NAME = PACKAGE.name
# Fields of syntax that say nothing, or exist in some versions of Python only.
SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
# What a method's declaration (see `anatcl.spec.methods`) says for tables and texts alone. Rules whose results show it
# have it among their parameters.
WORDING = frozenset({"label", "order", "sentence", "cite", "references"})
FILE_NAME = re.compile(r"[\w-]+(\.[\w-]+)+", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A module, or a function of it.

    Attributes
    ----------
    digest : str
        Of what it does.
    imports : tuple of str
        What it imports of this package, as full names: of modules, or of things in them.
    names : tuple of str
        Texts that look like a file's name.
    pages : tuple of str
        Packages whose pages jinja loads.
    """

    digest: str
    imports: tuple[str, ...]
    names: tuple[str, ...]
    pages: tuple[str, ...]


class Kept:
    """Parts by the digest of the file they are read from, so that another process need not read them again.

    Parsing the package takes a second, which a workflow of 60,000 jobs would spend as often.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.file: Path | None = None
        self.new = False

    def open(self, file: Path) -> None:
        """Use what `file` holds; one that cannot be read is as good as none."""
        self.file = file
        try:
            self.entries |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            self.new = True

    def save(self) -> None:
        """Write what is new to the file that was opened."""
        if self.file is not None and self.new:
            from anatcl.base.files import write_text

            write_text(self.file, json.dumps(self.entries, indent=0, sort_keys=True) + "\n")
            self.new = False

    def part(self, key: str, make: Callable[[], Part]) -> Part:
        """The part kept under `key`, or what `make` returns, kept from then on."""
        try:
            values = self.entries[key]
            return Part(values["digest"], *(tuple(map(str, values[name])) for name in ("imports", "names", "pages")))
        except (KeyError, TypeError):
            made = make()
            self.entries[key] = asdict(made)
            self.new = True
            return made


KEPT = Kept()


@functools.cache
def module_file(module: str) -> Path | None:
    """The source file of a module of this package; None when there is none of that name."""
    if module.partition(".")[0] != NAME:
        return None
    place = PACKAGE.parent.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@functools.cache
def module_part(module: str) -> Part:
    """A whole module."""
    return KEPT.part(_key(module), lambda: _part(_body(module), module))


@functools.cache
def function_part(module: str, function: str) -> Part:
    """A function with what it names of the same module: other functions, constants, imports at the top.

    Raises
    ------
    KeyError
        The module has no such function.
    """
    return KEPT.part(f"{_key(module)} {function}", lambda: _part(_needed(_body(module), function), module))


def _key(module: str) -> str:
    """What a part depends on: module, its text, and how it is read (this file)."""
    return " ".join([module, _text_digest(_file(module))[:16], _text_digest(Path(__file__))[:16]])


@functools.cache
def _text_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _file(module: str) -> Path:
    file = module_file(module)
    if file is None:
        raise KeyError(f"there is no module {module}")
    return file


def _body(module: str) -> list[ast.stmt]:
    file = _file(module)
    return ast.parse(file.read_text(encoding="utf-8"), str(file)).body


def _needed(body: list[ast.stmt], function: str) -> list[ast.stmt]:
    """The statements of a module that a function of it needs, in their order."""
    named: dict[str, list[ast.stmt]] = {}
    for statement in body:
        for name in _bound(statement):
            named.setdefault(name, []).append(statement)
    if function not in named:
        raise KeyError(f"there is no function {function}")
    found: set[str] = set()
    todo = [function]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            nodes = (node for statement in named[name] for node in ast.walk(statement))
            todo += [node.id for node in nodes if isinstance(node, ast.Name) and node.id in named]
    return [statement for statement in body if found.intersection(_bound(statement))]


def _bound(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a module gives a meaning."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return [node.id for node in nodes if isinstance(node.ctx, ast.Store)]


def _part(body: list[ast.stmt], module: str) -> Part:
    for statement in body:
        _drop_wording(statement)
    nodes = [node for statement in body for node in _walk(statement)]
    imports = {name for node in nodes for name in _imported(node, module)}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {text for text in texts if len(text) < 80 and FILE_NAME.fullmatch(text)}
    pages = {page for node in nodes if (page := _page(node))}
    digest = hashlib.sha256("\n".join(map(_said, nodes)).encode("utf-8", "surrogatepass")).hexdigest()
    return Part(digest, *(tuple(sorted(found)) for found in (imports, names, pages)))


def _drop_wording(statement: ast.stmt) -> None:
    """Take from a declaration ``METHOD = {...}`` or ``dict(...)`` what tables and texts say of it."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if not any(isinstance(target, ast.Name) and target.id == "METHOD" for target in targets):
        return
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Call):
        value.keywords = [word for word in value.keywords if word.arg not in WORDING]
    elif isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        kept = [(k, v) for k, v in pairs if not (isinstance(k, ast.Constant) and k.value in WORDING)]
        value.keys, value.values = [k for k, _ in kept], [v for _, v in kept]


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, in order, without what does nothing when it runs."""
    if _idle(node):
        return
    yield node
    for name in node._fields:
        if name not in SILENT:
            value = getattr(node, name, None)
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, ast.AST):
                    yield from _walk(item)


def _idle(node: ast.AST) -> bool:
    """Whether a statement does nothing: a docstring or other loose text, a block for type checkers."""
    if isinstance(node, ast.If):
        word = getattr(node.test, "id", getattr(node.test, "attr", ""))
        return word == "TYPE_CHECKING" and not node.orelse
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _said(node: ast.AST) -> str:
    """What a node itself says: its kind, its plain values, how many nodes hang on each field."""
    words = [type(node).__name__]
    for name in node._fields:
        value = None if name in SILENT else getattr(node, name, None)
        if isinstance(value, list):
            below = [item for item in value if not (isinstance(item, ast.AST) and _idle(item))]
            plain = [item for item in below if not isinstance(item, ast.AST)]
            words += [f"{name}*{len(below)}{plain or ''}"] if below else []
        elif isinstance(value, ast.AST):
            words.append(name)
        elif value is not None:
            words.append(f"{name}={value!r}")
    return " ".join(words)


def _imported(node: ast.AST, module: str) -> list[str]:
    """Full names of what a statement imports of this package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.partition(".")[0] == NAME]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        up = node.level - (1 if _file(module).name == "__init__.py" else 0)
        base = ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" for alias in node.names] if base.partition(".")[0] == NAME else []


def _page(node: ast.AST) -> str:
    """The package that a call of jinja's ``PackageLoader`` names."""
    if not isinstance(node, ast.Call) or not node.args:
        return ""
    word = getattr(node.func, "id", getattr(node.func, "attr", ""))
    first = node.args[0]
    return str(first.value) if word == "PackageLoader" and isinstance(first, ast.Constant) else ""
