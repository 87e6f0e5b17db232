"""Ages, sexes, sites and other columns of participants and sessions, in one form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.joins import some
from anatcl.base.pointers import refuse_pointer, refuse_unfetched
from anatcl.base.words import nearest
from anatcl.bids import values
from anatcl.bids.tables import Table, read_table
from anatcl.spec.bids import Options

# Columns that every index has, and the names under which they are known without being configured.
ALIASES = {
    "participant_id": ("participant_id",),
    "session_id": ("session_id",),
    "age": ("age", "age_at_scan", "age_years"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id"),
}
Key = tuple[str, str]  # participant_id, session_id ("" where a row holds for every session)


@dataclasses.dataclass
class Phenotypes:
    """What is known of participants and sessions.

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


def read(
    root: Path, sessions: Iterable[tuple[str, Table]], options: Options, tables: Sequence[Path] | None = None
) -> Phenotypes:
    """Read the tables of participants, ``sessions.tsv`` and the given ``sub-*_sessions.tsv`` tables.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    sessions : iterable of (participant, table)
    options : Options
    tables : sequence of Path, optional
        Tables of people that are there; default ``participants.tsv``, if it is.

    Raises
    ------
    InputError
        A table cannot be read, lacks its identifiers, contradicts itself, or lacks a column that `options` names.
    """
    found = Phenotypes()
    sidecar = _sidecar(root / "participants.json", found)
    seen: set[str] = set()
    people = root / "participants.tsv"
    tables = [path for path in (people,) if path.is_file()] if tables is None else tables
    for file in tables:
        seen |= _add(found, read_table(file), options, sidecar)
    if not tables:
        refuse_unfetched(people)
        found.warn(people, "there is no such table: age, sex and site of all participants are unknown.")
    sidecar = sidecar | _sidecar(root / "sessions.json", found)
    visits = root / "sessions.tsv"
    refuse_unfetched(visits)
    if visits.is_file():
        seen |= _add(found, read_table(visits), options, sidecar)
    for participant, table in sessions:
        try:
            own = sidecar | _sidecar(table.file.with_suffix(".json"), found)
            seen |= _add(found, table, options, own, participant)
        except InputError as error:  # one participant's table costs that participant's values, not the cohort
            found.warn(table.file, f"the table is ignored: {error.reason}", error.remedy)
    absent = [name for name in options.columns.values() if name not in seen]
    if absent and seen:
        reason = f"columns names {absent[0]!r}, which no table has."
        raise InputError(reason, people, nearest(absent[0], seen), ("bids", "columns"))
    if seen:
        _columns_exist(options, seen | {*found.columns})
    found.columns += [name for name in ("age", "sex", "site") if name not in found.columns]
    return found


def _columns_exist(options: Options, known: set[str]) -> None:
    """Raise where units or codes for missing are given for a column that no table has."""
    for key in ("units", "missing"):
        for name in sorted({*getattr(options, key)} - known - {"*"}):
            reason = f"{key} names the column {name!r}, which no table has."
            raise InputError(reason, None, nearest(name, known), ("bids", key))


def _sidecar(path: Path, found: Phenotypes) -> dict[str, Any]:
    if not path.is_file() and not path.is_symlink():
        return {}
    try:
        raw = path.read_bytes()
        refuse_pointer(path, raw[:512], len(raw))
        content = json.loads(raw.decode("utf-8-sig"))
    except InputError as error:
        found.warn(path, f"{error.reason} It is ignored.", error.remedy)
        return {}
    except (OSError, ValueError) as error:
        found.warn(path, f"it cannot be read and is ignored ({error}).", "Correct it (a JSON validator shows where).")
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
    for old, new in names.items():
        if new not in ("participant_id", "session_id"):
            _values(found, table.file, rows, (old, new), _description(sidecar, old), options)
    known = [name for name in names.values() if name not in ("participant_id", "session_id")]
    found.columns += [name for name in known if name not in found.columns]
    _merge(found, table.file, rows, participant)
    return set(names)


def _values(
    found: Phenotypes,
    file: Path,
    rows: values.Rows,
    column: tuple[str, str],
    description: Mapping[str, Any],
    options: Options,
) -> None:
    """Bring one column into our form; `column` is its name in the file and its name here."""
    old, new = column

    def warn(text: str, cure: str) -> None:
        found.warn(file, text, cure)

    values.missing(rows, new, old, options, warn)
    if new == "age":
        values.ages(rows, old, description, options, warn)
    elif new == "sex":
        values.sexes(rows, description, options, warn)
    else:
        if values.HEAD_SIZE.fullmatch(new) or values.HEAD_SIZE.fullmatch(old):
            values.sizes(rows, new, old, description, options, warn)
        values.unparsed(rows, new, old, warn)


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
    """A column's entry of the sidecar; that of its name in other case where there is none of its very name."""
    alike = {str(key).strip().lower(): value for key, value in sidecar.items()}
    found = sidecar.get(column, alike.get(column.lower()))
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
