"""Single columns of a table of participants, in one form: ages, sexes, head sizes, codes for missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.joins import some
from anatcl.base.spikes import spikes
from anatcl.base.words import does, nearest, plural
from anatcl.bids.units import PER_MM3, PER_YEAR, Unit, age_unit, size_unit
from anatcl.spec.bids import ABSENT, Options

AGE_RANGE = (0.0, 120.0)
HEAD_ML = (500.0, 3000.0)
SEXES = {
    "M": {"m", "male", "man", "boy"},
    "F": {"f", "female", "woman", "girl"},
}
HEAD_SIZE = re.compile(r"(?:.*[\W_])?e?(?:tiv|icv|sbtiv|ticv|intracranial.*)(?:[\W_].*)?", re.IGNORECASE)
UNITS = ("bids", "units")  # where a unit stands in the configuration
UNIT_CURE = "Write Units for it in the table's JSON file (year, month, week or day), or set bids: units in config."
SIZE_CURE = "Write Units for it in the table's JSON file (mm3, cm3, mL or L), or set bids: units in config."
# Older than anybody in years, but plausible for children in months or for anybody in days.
MANY_TOO_OLD = 0.05
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LIKE_A_NUMBER = re.compile(r"[<>~=≤≥]?\s*[+\-\u2212]?\d[\d\s.,/'’]*\s*[%+]?")
BEGINS_LIKE_ONE = re.compile(r"[<>~=≤≥]?\s*[+\-\u2212]?\d.*")  # 27 of 30, 5*; only where others are plain numbers
NO_NUMBER = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}.*|\d{1,2}:\d\d.*")  # dates and times

Rows = list[dict[str, str]]
Warn = Callable[[str, str], None]


def ages(rows: Rows, column: str, description: Mapping[str, Any], options: Options, warn: Warn) -> None:
    """Convert ages to years; values that cannot be ages count as missing, with a warning.

    Parameters
    ----------
    rows : list of dict
        Rows with the key ``age``, changed in place.
    column : str
        Name of the column in its table.
    description : mapping
        Its entry of the sidecar.
    options : Options
        ``units`` beats what the sidecar says.
    warn : callable
        Takes a sentence and a remedy.
    """
    unit = _unit("age", column, description, options, age_unit)
    if not unit.name:
        _refuse(rows, "age", f"the unit of {column} ({unit.given}) is not understood: its ages are unknown.", warn)
        return
    if not unit.given and (seen := _too_old(rows)):
        reason = f"{column} says no unit, and {seen} cannot be years (months or days?): its ages are unknown."
        _refuse(rows, "age", reason, warn)
        return
    if unit.divisor != 1.0:
        warn(f"ages in {unit.name}s ({unit.given}) were converted to years.", "")
    _convert_ages(rows, unit.divisor, warn)


def _unit(
    name: str,
    column: str,
    description: Mapping[str, Any],
    options: Options,
    read: Callable[[str, Mapping[str, Any]], Unit],
) -> Unit:
    """The configured unit of a column, else what its description and name say."""
    given = options.units.get(name) or options.units.get(column)
    unit = read(name if given else column, {"Units": given} if given else description)
    if given and not unit.name:
        known = PER_YEAR if name == "age" else PER_MM3
        raise InputError(
            f"units: {given!r} of the column {name!r} is not a known unit.", None, nearest(given, known), UNITS
        )
    return unit


def _refuse(rows: Rows, name: str, reason: str, warn: Warn, cure: str = UNIT_CURE) -> None:
    if any(row[name] for row in rows):
        warn(reason, cure)
    for row in rows:
        row[name] = ""


def _too_old(rows: Rows) -> str:
    """Ages beyond any year of life, as text, where they are too many and too varied to be slips or codes."""
    known = [n for row in rows if (n := _number(row["age"].removesuffix("+"))) is not None]
    old = [n for n in known if n > AGE_RANGE[1]]
    varied = len(set(old)) > 1 and len(set(old)) > 0.2 * len(old)
    if varied and len(old) > MANY_TOO_OLD * len(known) and max(old) < AGE_RANGE[1] * 366:
        return f"{len(old)} of {plural(len(known), 'value')} such as {old[0]:g}"
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text.replace("_", "?"))  # Python would read 3_0 as 30
    except ValueError:
        return None


def _convert_ages(rows: Rows, per_year: float, warn: Warn) -> None:
    bad: list[str] = []
    capped = False
    for row in rows:
        text = row["age"]
        if not text:
            continue
        capped |= text.endswith("+")
        years = _age(text, per_year)
        if years is None:
            bad.append(f"{row.get('participant_id') or row.get('session_id', '')} ({text})")
        row["age"] = years or ""
    if capped:
        warn("ages such as 89+ were read as that number.", "")
    if bad:
        low, high = AGE_RANGE
        reason = f"these are not ages from {low:g} to {high:g} years and count as missing: {some(bad)}."
        warn(reason, "Correct them; the scans stay in and are left out of tasks that need age.")


def _age(text: str, per_year: float) -> str | None:
    """Return an age in years as text, unchanged where it is plain; None where it is none."""
    plain = re.sub(r"^(\d+),(\d+)$", r"\1.\2", text.removesuffix("+").strip())
    number = _number(plain)
    if number is None or not AGE_RANGE[0] <= number / per_year <= AGE_RANGE[1]:
        return None
    if per_year == 1.0 and re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
        return plain
    return f"{number / per_year:.4f}".rstrip("0").rstrip(".")


def sizes(rows: Rows, name: str, column: str, description: Mapping[str, Any], options: Options, warn: Warn) -> None:
    """Bring head sizes to mm3, in place; a unit that is not understood, or no unit that fits, makes them unknown."""
    unit = _unit(name, column, description, options, size_unit)
    known = sorted(n for row in rows if (n := _number(row[name])) is not None)
    if not known:
        return
    middle = known[len(known) // 2]
    if not unit.given:
        fitting = [u for u in ("mm3", "ml", "l") if _is_a_head(middle / PER_MM3[u])]
        unit = Unit(fitting[0], PER_MM3[fitting[0]], "by their size, no unit is given") if fitting else unit
    if not unit.name or not _is_a_head(middle / unit.divisor):
        reason = f"the unit of {column} ({unit.given or 'none given'}) does not make its values (such as {middle:g}) "
        _refuse(rows, name, f"{reason}sizes of human heads: they are unknown.", warn, SIZE_CURE)
        return
    if unit.divisor != 1.0:
        warn(f"{column} in {unit.name} ({unit.given}) was converted to mm3.", "")
        for row in rows:
            number = _number(row[name])
            row[name] = row[name] if number is None else f"{number / unit.divisor:.1f}".removesuffix(".0")


def _is_a_head(cubic_mm: float) -> bool:
    return HEAD_ML[0] <= cubic_mm / 1000 <= HEAD_ML[1]


def sexes(rows: Rows, description: Mapping[str, Any], options: Options, warn: Warn) -> None:
    """Convert sexes to M and F: configured codes first, then those of the sidecar, then plain words."""
    levels = {str(k).lower(): _level(v) for k, v in _levels(description).items()}
    chosen = {k.lower(): v for k, v in options.sex_levels.items()}
    unknown: set[str] = set()
    for row in rows:
        text = row["sex"]
        code = re.sub(r"\.0+$", "", text.lower())
        sex = chosen.get(code) or levels.get(code) or _word(code)
        if text and not sex:
            unknown.add(text)
        row["sex"] = "" if sex in (None, ABSENT) else sex
    if unknown:
        reason = f"sex coded as {some(sorted(unknown))} is not known to be M or F and counts as missing."
        warn(reason, "Describe the codes as Levels in participants.json, or set sex_levels in config.")


def _levels(description: Mapping[str, Any]) -> dict[str, Any]:
    levels = description.get("Levels")
    return levels if isinstance(levels, dict) else {}


def _level(value: Any) -> str | None:
    """Read one entry of Levels: a text, or a mapping with a Description."""
    text = value.get("Description", "") if isinstance(value, dict) else value
    return _word(str(text).strip().lower())


def _word(text: str) -> str | None:
    return next((sex for sex, words in SEXES.items() if text in words), None)


def missing(rows: Rows, name: str, column: str, options: Options, warn: Warn) -> None:
    """Empty the cells that hold a configured code for missing; name values that look like one."""
    codes = {_code(c) for key in {name, column, "*"} for c in options.missing.get(key, ())}
    hits = [row for row in rows if row[name] and _code(row[name]) in codes]
    for row in hits:
        row[name] = ""
    if hits:
        what = does(
            len(hits),
            "is a code for missing (bids: missing) and counts",
            "are codes for missing (bids: missing) and count",
        )
        warn(f"{plural(len(hits), 'value')} of {column} {what} as such.", "")
    numbers = [n for row in rows if NUMBER.fullmatch(row[name]) and (n := _number(row[name])) is not None]
    found = spikes(numbers)
    if found and len(numbers) >= 0.5 * sum(bool(row[name]) for row in rows):
        listed = some([f"{value:g} ({does(count, 'once', f'{count} times')})" for value, count in found.items()])
        example = ", ".join(f"{value:g}" for value in found)
        what = "an age where it can be one" if name == "age" else "a number"
        warn(
            f"{column} holds {listed}, far from its other values: a code for missing? It counts as {what}.",
            f"If it is one, declare it: bids: {{missing: {{{name}: [{example}]}}}}.",
        )


def _code(text: object) -> str:
    number = _number(str(text).strip())
    return str(text).strip() if number is None else f"{number:g}"


def unparsed(rows: Rows, name: str, column: str, warn: Warn) -> None:
    """Name what looks like a number and is none: decimal commas, ``28/30``, ``<5``; and words amid numbers."""
    texts = [row[name] for row in rows if row[name]]
    strange = [t for t in texts if not NUMBER.fullmatch(t)]
    plain = len(texts) - len(strange)
    shape = BEGINS_LIKE_ONE if plain else LIKE_A_NUMBER
    likely = [t for t in strange if shape.fullmatch(t) and not NO_NUMBER.fullmatch(t)]
    of = f"of {plural(len(texts), 'value')} of {column}"
    if likely and len(strange) - len(likely) <= 0.2 * len(texts):
        what = does(len(likely), "is not a plain number", "are not plain numbers")
        reason = f"{len(likely)} {of} {what} (such as {likely[0]!r})"
        warn(f"{reason}: tasks take the column as text.", "Write plain numbers with a decimal point.")
    elif strange and plain >= max(2, len(strange)):
        what = does(len(strange), "is not a number", "are not numbers")
        reason = f"{len(strange)} {of} {what} (such as {strange[0]!r})"
        warn(f"{reason}: tasks leave {does(len(strange), 'it', 'them')} out.", "Write n/a where a value is missing.")
