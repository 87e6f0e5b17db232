"""Pretraining methods: what each file of ``anatcl/losses`` declares about itself, read without importing it.

A file that holds a method has one constant ``METHOD``, a dictionary of literals. Everything that the project says of a
method beside its mathematics stands there: configuration, plan, tables and methods text take it from here.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anatcl.base.errors import InputError
from anatcl.base.words import nearest

LOSSES = Path(__file__).resolve().parents[1] / "losses"


class Reference(BaseModel):
    """A work that a sentence of the methods text cites.

    Attributes
    ----------
    short : str
        How it is named in a sentence: ``Chen et al., 2020``.
    bibtex : str
        Its entry.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    short: str
    bibtex: str


class Declaration(BaseModel):
    """What one loss file says of its method: the constant ``METHOD``.

    Attributes
    ----------
    name : str
        Word of the configuration: letters, digits and hyphens.
    label : str
        Name in tables and figures.
    order : int
        Place in tables and figures, smallest first.
    module : str
        Name of the file in ``anatcl/losses`` without ``.py``; not declared.
    loss : str
        Class in the file that is trained with; empty where nothing is trained.
    options : mapping of str to str
        Parameter of the class to the pretraining option (`anatcl.spec.training.Options`) that it takes.
    views : int
        Views of each subject in a batch.
    augment : bool
        Whether views are augmented unless the options say otherwise.
    sentence : str
        What the methods text says when the method was trained; nothing when empty.
    cite : tuple of str
        Keys of references for the sentence: from `references` of any method, or ``references.yaml`` of the report.
    references : mapping of str to Reference
        Works that no other part of the methods text cites.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[A-Za-z0-9-]+$")
    label: str
    order: int = Field(strict=True)
    module: str
    loss: str = ""
    options: dict[str, str] = {}
    views: int = Field(2, strict=True, ge=1)
    augment: bool = Field(False, strict=True)
    sentence: str = ""
    cite: tuple[str, ...] = ()
    references: dict[str, Reference] = {}


FIELDS = tuple(name for name in Declaration.model_fields if name != "module")


@functools.cache
def declared_methods(folder: Path = LOSSES) -> Mapping[str, Declaration]:
    """All methods by name, in the order of tables.

    Raises
    ------
    InputError
        A declaration that cannot be read, or two of one name.
    """
    found: dict[str, Declaration] = {}
    read = [_declaration(path) for path in sorted(folder.glob("*.py"))]
    for one in sorted((d for d in read if d), key=lambda d: (d.order, d.name)):
        if one.name in found:
            raise InputError(
                f"two files declare the method {one.name!r}: {found[one.name].module}.py and {one.module}.py.",
                folder,
                "Rename one of them in its METHOD.",
            )
        found[one.name] = one
    return MappingProxyType(found)


def declared_references(folder: Path = LOSSES) -> dict[str, Reference]:
    """Works that the methods bring along, by key."""
    return {key: work for one in declared_methods(folder).values() for key, work in one.references.items()}


def _declaration(path: Path) -> Declaration | None:
    """The declaration of one file; None where it declares no method."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8"), str(path)).body
    except SyntaxError as error:
        raise InputError(f"line {error.lineno} is not valid Python: {error.msg}.", path, "Correct the line.") from error
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "METHOD" for t in targets):
            return _checked(_literal(getattr(statement, "value", None), path), path)
    return None


def _literal(value: ast.expr | None, path: Path) -> dict[str, Any]:
    """A dictionary that is written out, ``{...}`` or ``dict(...)``."""
    try:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
            return {str(word.arg): ast.literal_eval(word.value) for word in value.keywords}
        found = ast.literal_eval(value) if value else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(
            "METHOD is not a dictionary of literals.", path, "Use literal texts and numbers; compute nothing."
        )
    return found


def _checked(given: dict[str, Any], path: Path) -> Declaration:
    for key in given:
        if key not in FIELDS:
            raise InputError(f"METHOD has an unknown key {key!r}.", path, nearest(str(key), FIELDS))
    try:
        return Declaration.model_validate(given | {"module": path.stem})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"METHOD, {where}: {first['msg']}.", path, f"See {Declaration.__name__} in {__name__}."
        ) from error
