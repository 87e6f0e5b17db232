"""What all models of this room share: unknown keys are errors, and every error is a sentence with the nearest names."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from anatcl.base.errors import InputError
from anatcl.base.words import hint, near

# Tags of unions (`written`): they stand in pydantic's places, not in a user's file.
TEXT, MAPPING = "<text>", "<mapping>"
UNKNOWN = "unknown_word"
# pydantic's words to a user's.
PLAIN = {
    "^Input should be": "it should be",
    "^(List|Tuple|Dictionary|String) should": "it should",
    "valid tuple": "list",
    "valid dictionary( or instance of .*)?": "mapping of keys to values",
    "a valid string": "text",
    "valid integer.*": "whole number",
    "valid number.*": "number",
    "valid boolean.*": "true or false",
    "be a true": "be true",
    " after validation": "",
}
NAME = str | int | datetime.date  # what YAML makes of a name that is written without quotes
SHOWN = 60  # characters of a value that a sentence repeats


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors, and values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Any, what: str = "", file: str | Path | None = None) -> Self:
        """Make it from a mapping.

        Parameters
        ----------
        values : mapping
            As it stands in the file.
        what : str
            What a sentence calls it: ``task age``.
        file : path, optional
            Where it stands.

        Raises
        ------
        InputError
            A key or a value is wrong; all of them are listed, each with its nearest neighbours.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = [wrong.text for wrong in wrongs(cls, error)]
            raise InputError(f"{what}: {'; '.join(found)}." if what else f"{'; '.join(found)}.", file) from None


@dataclasses.dataclass(frozen=True)
class Wrong:
    """One thing that is wrong in a mapping.

    Attributes
    ----------
    place : tuple of str or int
        Keys that lead to it.
    text : str
        What is wrong, and the nearest valid words; no full stop.
    """

    place: tuple[str | int, ...]
    text: str


def wrongs(model: type[BaseModel], error: ValidationError, above: Sequence[str | int] = ()) -> list[Wrong]:
    """Every error of a model in words, with the key as it stands in the user's file.

    Parameters
    ----------
    model : type
        The model that was asked for.
    error : ValidationError
        What it said.
    above : sequence of str or int
        Keys that lead to the model's own.
    """
    items = error.errors()
    typed = [item for item in items if item["type"] == "extra_forbidden"]
    items = [item for item in items if not (item["type"] == "missing" and any(_meant(item, other) for other in typed))]
    return [Wrong(tuple(_place(item["loc"], above)), _sentence(model, item, above)) for item in items]


def _meant(missing: ErrorDetails, other: ErrorDetails) -> bool:
    """Whether a missing key is one that was misspelt."""
    return missing["loc"][:-1] == other["loc"][:-1] and bool(near(str(other["loc"][-1]), [str(missing["loc"][-1])]))


def _place(loc: Iterable[str | int], above: Sequence[str | int]) -> list[str | int]:
    return [*above, *(part for part in loc if part not in (TEXT, MAPPING, "[key]"))]


def dotted(place: Iterable[str | int]) -> str:
    """A place as one word: ``evaluate.tasks[1].kind``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _sentence(model: type[BaseModel], item: ErrorDetails, above: Sequence[str | int]) -> str:
    place, kind, context = _place(item["loc"], above), item["type"], item.get("ctx", {})
    key = dotted(place)
    if item["loc"][-1:] == ("[key]",) and kind != "value_error":
        return f"there is no key '{key}' ({hint(str(item['input']), context.get('known', ()))})"
    if kind == "extra_forbidden":
        return f"there is no key '{key}' ({hint(str(place[-1]), _keys(model, item['loc'][:-1]))})"
    if kind == "missing":
        return f"'{key}' is missing"
    if kind == "value_error":
        text = str(context.get("error", item["msg"])).rstrip(".")
        return f"{key}: {text}" if key else text
    known = context.get("known")
    if kind == "literal_error":
        known = re.findall("'([^']*)'", str(context["expected"]))
    if known is not None:
        return f"{key} is {shown(item['input'])}, which is unknown ({hint(str(item['input']), known)})"
    return f"{key} is {shown(item['input'])}: {_said(item['msg'])}"


def _said(text: str) -> str:
    for theirs, ours in PLAIN.items():
        text = re.sub(theirs, ours, text)
    return text


def shown(value: Any) -> str:
    """A value as a sentence repeats it: in YAML's words, cut where it is long."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _keys(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """Names of the keys of the section at `path` (union tags and numbers lead nowhere)."""
    here = [model]
    for part in path:
        fields = [f for kind in here for name, f in kind.model_fields.items() if part in (name, f.alias)]
        inner = [kind for field in fields for kind in _models(field.annotation)]
        here = inner or here
    return [field.alias or name for kind in here for name, field in kind.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model that stands in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _models(part)]


def one_of(value: Any, known: Iterable[str]) -> Any:
    """Return a value that is known, for validators.

    Raises
    ------
    PydanticCustomError
        It is none of them; the sentence names the nearest.
    """
    known = list(known)
    if value not in known:
        raise PydanticCustomError(UNKNOWN, "it is unknown", {"known": known})
    return value


def known_word(words: Iterable[str]) -> AfterValidator:
    """Validator of a word: one of some, else the nearest are named."""
    return AfterValidator(lambda value: one_of(value, words))


def fits(pattern: str, reason: str) -> Callable[[str], str]:
    """A validator: the whole text must fit a regular expression."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{shown(value)} has characters {reason}")
        return value

    return check


def _no_truth(value: Any) -> Any:
    """YAML's yes and no are no numbers."""
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a number")
    return value


def several(value: Any) -> Any:
    """A list; one thing alone will do."""
    return value if value is None or isinstance(value, list | tuple) else [value]


def texts(value: Any) -> Any:
    """A list of names; one name alone will do, and YAML's numbers (``run: [1]``) and dates are taken as text."""
    if value is None:
        return ()
    items = [value] if isinstance(value, NAME) else value
    if not isinstance(items, list | tuple) or any(isinstance(i, bool) or not isinstance(i, NAME) for i in items):
        raise ValueError(f"it must be a list of names, not {shown(value)}")
    return tuple(str(item) for item in items)


def named(value: Any) -> Any:
    """A mapping of names to names; YAML's numbers are taken as text."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"it must be a mapping of names to values, not {shown(value)}")
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in value.values()):
        raise ValueError(f"it must map names to names, not {shown(value)}")
    return {str(key): str(item) for key, item in value.items()}


def tag(value: Any) -> str:
    """Which side of ``text or mapping`` a value is."""
    return MAPPING if isinstance(value, Mapping | BaseModel) else TEXT


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Count = Annotated[Whole, Field(ge=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(texts)]
Named = Annotated[dict[str, str], BeforeValidator(named)]
