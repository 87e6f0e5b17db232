"""Ages, sexes, sites and whatever else is written of people and sessions, brought into one form."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.bids.tables import Table, read_table
from anatcl.spec.bids import Options

AGE_RANGE = (0.0, 120.0)
# Columns that every index has, and the names under which they are known without being configured.
ALIASES = {
    "participant_id": ("participant_id",),
    "session_id": ("session_id",),
    "age": ("age", "age_at_scan", "age_years"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id"),
}
SEXES = {
    "M": {"m", "male", "man", "boy"},
    "F": {"f", "female", "woman", "girl"},
}
UNITS = {"year": 1.0, "yr": 1.0, "y": 1.0, "month": 12.0, "week": 52.1775, "day": 365.25}  # per year

Key = tuple[str, str]  # participant_id, session_id ("" where a row holds for every session)


@dataclasses.dataclass
class Phenotypes:
    """What is known of people and sessions.

    Attributes
    ----------
    columns : list of str
        In the order of the tables; age, sex and site are always there.
    rows : dict of (participant_id, session_id) to dict of str to str
        Missing values are empty strings.
    warnings : list of dict
        ``about`` (a file), ``warning``, ``remedy``.
    """

    columns: list[str] = dataclasses.field(default_factory=list)
    rows: dict[Key, dict[str, str]] = dataclasses.field(default_factory=dict)
    warnings: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def of(self, participant: str, session: str = "") -> dict[str, str]:
        """Return the values of a session: its own, else its participant's."""
        person, visit = self.rows.get((participant, ""), {}), self.rows.get((participant, session), {})
        return {name: visit.get(name) or person.get(name, "") for name in self.columns}

    def warn(self, about: Path | str, warning: str, remedy: str = "") -> None:
        """Keep a sentence for the log and for ``run.json``."""
        self.warnings.append({"about": str(about), "warning": warning, "remedy": remedy})


def read(root: Path, sessions: Iterable[tuple[str, Table]], options: Options) -> Phenotypes:
    """Read ``participants.tsv``, ``sessions.tsv`` and the given ``sub-*_sessions.tsv`` tables.

    Raises
    ------
    InputError
        A table cannot be read, lacks its identifiers, contradicts itself, or lacks a column that `options` names.
    """
    found = Phenotypes()
    sidecar = _sidecar(root / "participants.json", found)
    seen: set[str] = set()
    people = root / "participants.tsv"
    if people.is_file():
        seen |= _add(found, read_table(people), options, sidecar)
    else:
        found.warn(people, "there is no such table: age, sex and site of everybody are unknown.")
    visits = root / "sessions.tsv"
    if visits.is_file():
        seen |= _add(found, read_table(visits), options, sidecar)
    for participant, table in sessions:
        try:
            seen |= _add(found, table, options, sidecar, participant)
        except InputError as error:  # one participant's table costs that participant's values, not the cohort
            found.warn(table.file, f"the table is ignored: {error.reason}", error.remedy)
    absent = [name for name in options.columns.values() if name not in seen]
    if absent and seen:
        raise InputError(f"columns names {absent[0]!r}, which no table has.", people, nearest(absent[0], seen))
    found.columns += [name for name in ("age", "sex", "site") if name not in found.columns]
    return found


def _sidecar(path: Path, found: Phenotypes) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        found.warn(path, f"it cannot be read and is ignored ({error}).", "Correct it (a JSON validator says where).")
        return {}
    return content if isinstance(content, dict) else {}


def _add(
    found: Phenotypes, table: Table, options: Options, sidecar: Mapping[str, Any], participant: str = ""
) -> set[str]:
    """Add a table's rows; return the names of its columns as they are in the file."""
    names = _rename(table, options)
    for warning in table.warnings:
        found.warn(table.file, warning, "Save it with tabs, in UTF-8, to be sure.")
    required = "session_id" if participant else "participant_id"
    if required not in names.values():
        remedy = f"Name its column of identifiers {required}, or set columns: {{{required}: <its name>}}."
        raise InputError(f"the table has no column {required} (it has: {', '.join(names)}).", table.file, remedy)
    rows = [{names[k]: v for k, v in row.items()} for row in table.rows]
    values = [name for name in names.values() if name not in ("participant_id", "session_id")]
    back = {new: old for old, new in names.items()}
    if "age" in values:
        _ages(rows, table.file, _description(sidecar, back["age"]), found)
    if "sex" in values:
        _sexes(rows, table.file, _description(sidecar, back["sex"]), options, found)
    found.columns += [name for name in values if name not in found.columns]
    _merge(found, table.file, rows, participant)
    return set(names)


def _rename(table: Table, options: Options) -> dict[str, str]:
    """Map the table's column names to ours: configured names first, then known ones in any case."""
    chosen = {old: new for new, old in options.columns.items() if old in table.columns}
    lower = {name.lower(): name for name in reversed(table.columns)}
    for new, aliases in ALIASES.items():
        old = next((lower[alias] for alias in aliases if alias in lower), None)
        if old and old not in chosen and new not in chosen.values():
            chosen[old] = new
    return {name: chosen.get(name) or _free(name, set(chosen.values())) for name in table.columns}


def _free(name: str, taken: set[str]) -> str:
    """A column that would hide one of ours keeps its content under another name."""
    from anatcl.spec.layout import RAW

    return f"participants_{name}" if name in {"scan", "path", *RAW, *taken} else name


def _description(sidecar: Mapping[str, Any], column: str) -> dict[str, Any]:
    found = sidecar.get(column)
    return found if isinstance(found, dict) else {}


def _merge(found: Phenotypes, file: Path, rows: list[dict[str, str]], participant: str) -> None:
    """Put rows under their keys; the same row twice is one row, two that differ are an error."""
    here: dict[Key, dict[str, str]] = {}
    twice: set[str] = set()
    merged: set[str] = set()
    for row in rows:
        person = participant or _prefixed("sub-", row.pop("participant_id"))
        row.pop("participant_id", None)
        key = (person, _prefixed("ses-", row.pop("session_id", "")))
        if not person or (participant and not key[1]):
            found.warn(file, "a row without identifier is ignored.", "Complete or remove it.")
        elif key not in here:
            here[key] = row
        else:
            (merged if here[key] == row else twice).add(" ".join(key).strip())
    if twice:
        reason = f"{some(sorted(twice))} has several rows that differ."
        raise InputError(reason, file, "Keep one row each, or give each row its session_id.")
    if merged:
        found.warn(file, f"{some(sorted(merged))} has several equal rows; one was kept.", "Remove the copies.")
    for key, row in here.items():
        found.rows[key] = found.rows.get(key, {}) | {k: v for k, v in row.items() if v}


def _prefixed(prefix: str, label: str) -> str:
    return f"{prefix}{label.removeprefix(prefix)}" if label else ""


def some(names: list[str], limit: int = 5) -> str:
    """Join names, and count those beyond the first few."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _ages(rows: list[dict[str, str]], file: Path, description: dict[str, Any], found: Phenotypes) -> None:
    """Bring ages to years; what cannot be an age is missing, and said."""
    unit = str(description.get("Units", "year")).strip().lower()
    per_year = UNITS.get(unit.removesuffix("s"), 1.0)
    if per_year != 1.0:
        found.warn(file, f"ages in {unit} (participants.json) were converted to years.")
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
        found.warn(file, "ages such as 89+ were read as that number.")
    if bad:
        low, high = AGE_RANGE
        reason = f"these are no ages from {low:g} to {high:g} years and count as missing: {some(bad)}."
        found.warn(file, reason, "Correct them; the scans stay in and are left out of tasks that need age.")


def _age(text: str, per_year: float) -> str | None:
    """Return an age in years as text, unchanged where it is plain; None where it is none."""
    plain = re.sub(r"^(\d+),(\d+)$", r"\1.\2", text.removesuffix("+").strip())
    try:
        years = float(plain.replace("_", "?")) / per_year  # Python would read 3_0 as 30
    except ValueError:
        return None
    if not AGE_RANGE[0] <= years <= AGE_RANGE[1]:
        return None
    return (
        plain
        if per_year == 1.0 and re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain)
        else f"{years:.4f}".rstrip("0").rstrip(".")
    )


def _sexes(
    rows: list[dict[str, str]], file: Path, description: dict[str, Any], options: Options, found: Phenotypes
) -> None:
    """Bring sexes to M and F: configured codes first, then those of participants.json, then plain words."""
    levels = {str(k).lower(): _level(v) for k, v in _levels(description).items()}
    chosen = {k.lower(): v for k, v in options.sex_levels.items()}
    unknown: set[str] = set()
    for row in rows:
        text = row["sex"]
        code = re.sub(r"\.0+$", "", text.lower())
        sex = chosen.get(code) or levels.get(code) or _word(code)
        if text and not sex:
            unknown.add(text)
        row["sex"] = "" if sex in (None, "n/a") else sex
    if unknown:
        reason = f"sex coded as {some(sorted(unknown))} is not known to be M or F and counts as missing."
        found.warn(file, reason, "Describe the codes as Levels in participants.json, or set sex_levels in config.")


def _levels(description: dict[str, Any]) -> dict[str, Any]:
    levels = description.get("Levels")
    return levels if isinstance(levels, dict) else {}


def _level(value: Any) -> str | None:
    """Read one entry of Levels: a text, or a mapping with a Description."""
    text = value.get("Description", "") if isinstance(value, dict) else value
    return _word(str(text).strip().lower())


def _word(text: str) -> str | None:
    return next((sex for sex, words in SEXES.items() if text in words), None)
