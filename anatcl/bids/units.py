"""Units of age and of head size in their usual forms: UCUM codes, words, plurals, in a sidecar or a column's name.

A unit that is given and understood is converted; one that is given and not understood makes the column unusable, since
a wrong age is worse than none. No unit at all means years, and mm3 for a column named ``*_mm3``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

# Words by unit, with how many of it make a year. UCUM's codes are a, mo, wk, d, h; a lone m could be a metre.
PER_YEAR = {"decade": 0.1, "year": 1.0, "month": 12.0, "week": 52.1775, "day": 365.25, "hour": 8766.0}
TIME_WORDS = {
    "decade": {"decade", "decades"},
    "year": {
        "a",
        "y",
        "yr",
        "yrs",
        "year",
        "years",
        "yo",
        "annum",
        "a_j",
        "a_g",
        "a_t",
        "jahr",
        "jahre",
        "jahren",
        "ans",
        "années",
        "annees",
        "años",
        "anos",
        "anni",
        "jaar",
        "jaren",
    },
    "month": {
        "mo",
        "mos",
        "mon",
        "mons",
        "mth",
        "mths",
        "mnth",
        "mnths",
        "month",
        "months",
        "mo_j",
        "mo_g",
        "mo_s",
        "monat",
        "monate",
        "monaten",
        "mois",
        "meses",
        "mesi",
        "maanden",
    },
    "week": {"w", "wk", "wks", "week", "weeks", "woche", "wochen", "semaines", "semanas", "settimane", "weken"},
    "day": {"d", "dy", "dys", "day", "days", "tage", "tagen", "jours", "días", "dias", "giorni", "dagen"},
    "hour": {"h", "hr", "hrs", "hour", "hours"},
}
# How many of a unit make one mm3; UCUM writes powers without a sign, and a litre as l or L.
PER_MM3 = {"mm3": 1.0, "ml": 1e-3, "cl": 1e-4, "dl": 1e-5, "l": 1e-6, "m3": 1e-9}
SIZE_WORDS = {
    "mm3": {"mm3", "mm^3", "mm³", "mm**3", "cmm", "ul", "µl", "microliter", "microliters", "microlitre", "microlitres"},
    "ml": {"ml", "cm3", "cm^3", "cm³", "cm**3", "cc", "ccm", "milliliter", "milliliters", "millilitre", "millilitres"},
    "cl": {"cl", "centiliter", "centiliters", "centilitre", "centilitres"},
    "dl": {"dl", "deciliter", "deciliters", "decilitre", "decilitres"},
    "l": {"l", "dm3", "dm^3", "dm³", "liter", "liters", "litre", "litres"},
    "m3": {"m3", "m^3", "m³"},
}
SIZE_PHRASES = {"millimet": "mm3", "mm": "mm3", "centimet": "ml", "cm": "ml", "decimet": "l", "dm": "l", "met": "m3"}
CUBIC = re.compile(r"\b(?:cubic|cu\.?)[ -](millimet|mm|centimet|cm|decimet|dm|met)")
# Words beside a unit that do not change it. "gestational", "postmenstrual", "corrected" are none: another birthday.
FILLERS = {
    "old", "decimal", "decimals", "fractional", "integer", "whole", "full", "completed", "rounded", "calendar", "of",
    "age", "in", "at", "the", "number", "ucum", "scan", "scanning", "mri", "imaging", "since", "birth", "postnatal",
    "chronological", "unit", "units",
}  # fmt: skip
# Spans of time that are no unit of the column, and arithmetic that makes another unit of the one that is named.
SPAN = r"\b(?:\d+|one|two|three|six)[ -]*(?:{units})[ -]*(?:apart|later|interval|after|before|prior|follow|delay|visit)"
ARITHMETIC = re.compile(r"\bdivided by\b|/\s*\d|[*×]\s*\d|\bmultiplied\b")
ROUNDING = re.compile(r"\b(round\w*|nearest|within|accura\w*|precis\w*|binned|per|every|follow\w*|after|before)\b")
NAMED = {"y": "year", "m": "month", "w": "week", "d": "day"}  # at the end of a column's name: age_m
LETTERS = {"a": "year", "y": "year", "w": "week", "d": "day", "h": "hour"}  # in brackets; a lone m could be a metre


@dataclasses.dataclass(frozen=True)
class Unit:
    """What is known of a column's unit.

    Attributes
    ----------
    name : str
        ``month``, ``ml`` ...; empty when it was given and not understood.
    divisor : float
        How many of the unit make a year, or a mm3.
    given : str
        Where it was found and how it is written; empty when nothing says it.
    """

    name: str
    divisor: float
    given: str = ""


def age_unit(column: str, description: Mapping[str, Any]) -> Unit:
    """Unit of a column of ages: what `description` and the column's own name say, years when neither says it.

    Parameters
    ----------
    column : str
        Name of the column in its table.
    description : mapping
        The column's entry of ``participants.json`` (``Units``, ``Description``, ``LongName``).
    """
    told = _told(description)
    said = {
        f"Units: {told['units']}": _age_words(told["units"]),
        f"the name {column}": _age_name(column),
        "its Description": _age_sentence(told["description"]),
        "its LongName": _age_sentence(told["longname"]),
    }
    return _agreed(said, "year", PER_YEAR)


def size_unit(column: str, description: Mapping[str, Any]) -> Unit:
    """Unit of a column of head sizes, mm3 when none is given and the values must tell (see `plausible_size`)."""
    told = _told(description)
    said = {
        f"Units: {told['units']}": _size_words(told["units"]),
        f"the name {column}": _size_sentence(re.sub(r"[_\W]+", " ", column)),
        "its Description": _size_sentence(told["description"]),
        "its LongName": _size_sentence(told["longname"]),
    }
    return _agreed(said, "mm3", PER_MM3)


def _told(description: Mapping[str, Any]) -> dict[str, str]:
    """Texts of a column's entry by their keys in small letters; people write Unit, unit and UNITS for Units."""
    lower = {re.sub(r"[\W_]+", "", str(key)).lower(): value for key, value in description.items()}
    lower.setdefault("units", lower.get("unit"))
    return {key: _text(lower.get(key)) for key in ("units", "description", "longname")}


def _text(value: object) -> str:
    """A text on one line; of one that is given by language, all."""
    if isinstance(value, Mapping):
        return " ".join(_text(one) for one in value.values())
    return "" if value is None else " ".join(str(value).split())


def _agreed(said: Mapping[str, str | None], usual: str, divisors: Mapping[str, float]) -> Unit:
    """One unit of several hints: ``None`` says nothing, an empty text was not understood."""
    hints = {where: name for where, name in said.items() if name is not None}
    where = " and ".join(hints)
    found = set(hints.values())
    if len(found) > 1 or "" in found:
        return Unit("", 0.0, where)
    name = found.pop() if found else usual
    return Unit(name, divisors[name], where)


def _word(text: str, words: Mapping[str, set[str]]) -> str | None:
    return next((name for name, known in words.items() if text in known), None)


def _age_words(text: str) -> str | None:
    """A whole text that should be a unit and nothing else: every word must be known."""
    if text.lower() in ("", "n/a", "na", "none", "null"):
        return None
    plain = re.sub(r"\(s\)", "s", text.lower()).replace("y.o.", "yo").replace("y/o", "yo")
    words = [w for w in re.split(r"[\s(){}\[\],;:.'\"/-]+", plain) if w]
    found = {_word(word, TIME_WORDS) for word in words if word not in FILLERS}
    return (found.pop() or "") if len(found) == 1 else ""


def _age_name(column: str) -> str | None:
    """What a name such as ``age_months``, ``AgeInDays`` or ``ageMo`` says; nothing when it is only ``age``."""
    if column.lower() == "interview_age":  # defined by the NIMH Data Archive
        return "month"
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    words = [w for w in re.split(r"[\W_]+", spaced.lower()) if w]
    glued = [re.sub(r"^(age|in)(?=(in)?(years?|months?|weeks?|days?|hours?|yrs?|mos?|wks?)$)", "", w) for w in words]
    long = {_word(word.removeprefix("in"), TIME_WORDS) for word in glued if len(word) > 1} - {None}
    if not long and len(words) > 1 and words[-1] in NAMED:
        long = {NAMED[words[-1]]}
    return None if not long else (long.pop() or "") if len(long) == 1 else ""


def _age_sentence(text: str) -> str | None:
    """What a free sentence says: ``in months``, ``(days)``; a unit that belongs to rounding says nothing."""
    text = text.lower()
    if re.search(r"\b(gestational|postmenstrual|post-menstrual|postconceptional|corrected age)\b", text):
        return ""
    long = {word: name for name, words in TIME_WORDS.items() for word in words if len(word) > 1}
    any_unit = "|".join(sorted(map(re.escape, long), key=len, reverse=True))
    patterns = (rf"\bin (?:\w+ )?({any_unit})\b", rf"[(\[]\s*(?:\w+ )?({any_unit})\s*[)\]]", rf"\b({any_unit}) old\b")
    strong = {long[found] for pattern in patterns for found in re.findall(pattern, text)}
    strong |= {LETTERS.get(letter, "") for letter in re.findall(r"[(\[]\s*([aymwdh])\s*[)\]]", text)}
    if strong:
        found = strong.pop() if len(strong) == 1 else ""
        return "" if found != "year" and ARITHMETIC.search(text) else found
    rest = re.sub(SPAN.format(units=any_unit), " ", text)
    if ROUNDING.search(rest):
        return None
    weak = {long[found] for found in re.findall(rf"\b({any_unit})\b", rest)}
    return None if not weak else weak.pop() if len(weak) == 1 and not ARITHMETIC.search(rest) else ""


def _size_words(text: str) -> str | None:
    if text.lower() in ("", "n/a", "na", "none", "null"):
        return None
    return _size_sentence(text) or ""


def _size_sentence(text: str) -> str | None:
    """A unit of volume amid other words."""
    text = text.lower().replace("μ", "µ")
    found = {SIZE_PHRASES[phrase] for phrase in CUBIC.findall(text)}
    found |= {name for word in re.split(r"[\s()\[\],;:]+", text) if (name := _word(word, SIZE_WORDS))}
    return None if not found else found.pop() if len(found) == 1 else ""
