"""A participants' table made elsewhere, and its join with tables of features: nothing is lost without being named."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.joins import compare
from anatcl.base.words import nearest
from anatcl.evaluate.data import identity
from anatcl.evaluate.data.roi_tables import RoiTable, identifier_column, plain, read_text_table
from anatcl.spec.task import canonical

KNOWN = ("age", "sex", "site", "diagnosis", "session_id")
# BIDS entities of a name such as sub-01_ses-2, and FreeSurfer's mark of a longitudinal run.
ENTITIES = re.compile(r"(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?(?:_.*)?")
LONGITUDINAL = re.compile(r"\.(long|cross)\..*$")
COLUMNS = ["table", "identifier", "participant_id", "session_id", "match"]
NO_ROW, NO_FEATURES = "not among the participants", "without features"


def read_people(
    path: str | Path,
    id_column: str = "",
    columns: Mapping[str, str] | None = None,
    sexes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a table of participants.

    Parameters
    ----------
    path : path
        Table of any separator, a row per participant (or per session).
    id_column : str
        Column of identifiers, see `anatcl.evaluate.data.roi_tables.identifier_column`.
    columns : mapping, optional
        Our names to those of the table: ``{"age": "AGE_AT_SCAN"}``. `KNOWN` names are found
        whatever their case.
    sexes : mapping, optional
        Values of the sex: ``{"1": "M", "2": "F"}``. Codes are not guessed.
    """
    table = read_text_table(path)
    table = table.rename(columns={identifier_column(table, path, id_column): "participant_id"})
    for ours, theirs in (columns or {}).items():
        if theirs not in table:
            raise InputError(f"there is no column {theirs!r}.", path, nearest(theirs, list(map(str, table.columns))))
        table[ours] = table[theirs]
    for name in KNOWN:
        alike = [c for c in table if plain(c) == plain(name)]
        if name not in table and len(alike) == 1:
            table = table.rename(columns={alike[0]: name})
    table = table[table["participant_id"].notna()].reset_index(drop=True)
    for column in [c for c in table if c not in ("participant_id", "session_id")]:
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().sum() == table[column].notna().sum():
            table[column] = numbers
    if sexes and "sex" in table:
        levels = {canonical(k): v for k, v in sexes.items()}
        table["sex"] = table["sex"].map(lambda v: levels.get(canonical(v), v))
    _once(table, path)
    return table


def _once(table: pd.DataFrame, path: str | Path) -> None:
    keys = [c for c in ("participant_id", "session_id") if c in table]
    if table.duplicated(keys).any():
        twice = table.loc[table.duplicated(keys), "participant_id"].iloc[0]
        raise InputError(
            f"{twice} occurs in the table of participants more than once.",
            path,
            "Keep one row per participant, or add a column session_id.",
        )


@dataclasses.dataclass(frozen=True)
class Match:
    """Rows of a table of features with the people they belong to.

    Attributes
    ----------
    person : ndarray of int, shape (n,)
        Row of the table of participants; -1 for nobody's.
    session : ndarray of str, shape (n,)
        Session of each row, ``ses-1`` or empty.
    how : ndarray of str, shape (n,)
        ``as written``, ``whatever the spelling``, ``by <column>``, or why not.
    """

    person: np.ndarray
    session: np.ndarray
    how: np.ndarray


def match(features: RoiTable, people: pd.DataFrame) -> Match:
    """Find the participant of each row of features.

    Names are compared as they are; then without FreeSurfer's and BIDS' additions (``sub-01_ses-2.long.sub-01``); then
    whatever their prefix ``sub-``, leading zeros, case, blanks and signs, where a spelling is one person's only. Where
    nobody is found, the other columns of text are tried (``FILE_ID`` of ABIDE).

    Raises
    ------
    InputError
        Nobody of the table is among the people.
    """
    names = [_parts(name) for name in features.identifiers]
    sessions = np.array([given or found for (_, _, found), given in zip(names, features.sessions, strict=True)], str)
    columns = ["participant_id", *(str(c) for c in people if c != "participant_id" and _names_people(people[c]))]
    for column in columns:
        person, how = _by_column(names, sessions, people, column)
        if (person >= 0).any():
            return Match(person, sessions, how)
    found = compare(features.identifiers, people["participant_id"].astype(str))
    raise InputError(
        f"none of the {len(names)} rows matches one of the {len(people)} participants "
        f"({features.identifiers[0]!r} here, {str(people['participant_id'].iloc[0])!r} there).{found.hint()}",
        features.file,
        "Name the column of identifiers with --id-column (features) or --people-id-column.",
    )


def _names_people(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and bool(column.notna().all()) and column.is_unique


def _parts(name: str) -> tuple[str, str, str]:
    """Name as it stands, its participant, its session."""
    bare = LONGITUDINAL.sub("", name)
    found = ENTITIES.fullmatch(bare)
    return (name, found[1], found[2] or "") if found else (name, bare, "")


def _by_column(
    names: list[tuple[str, str, str]], sessions: np.ndarray, people: pd.DataFrame, column: str
) -> tuple[np.ndarray, np.ndarray]:
    """Person of each row by the names in one column, and how it was found."""
    theirs = people[column].astype(str).str.strip()
    their_session = people["session_id"].fillna("") if "session_id" in people else pd.Series("", index=people.index)
    exact, alike = _index(theirs, their_session), _unique(theirs, their_session, names)
    suffix = "" if column == "participant_id" else f", by {column}"
    person, how = np.full(len(names), -1), np.full(len(names), NO_ROW, dtype=object)
    for i, (whole, bare, _) in enumerate(names):
        for table, keys, word in (
            (exact, (whole, bare), "as written"),
            (alike, tuple(map(identity.normal, (whole, bare))), "whatever the spelling"),
        ):
            hit = next((table[k] for key in keys for k in ((key, _plain(sessions[i])), (key, "")) if k in table), -1)
            if hit >= 0:
                person[i], how[i] = hit, word + suffix
                break
    return person, how.astype(str)


def _plain(session: str) -> str:
    return identity.normal(str(session).removeprefix("ses-")) if session else ""


def _index(names: pd.Series, sessions: pd.Series) -> dict[tuple[str, str], int]:
    table = {(name, _plain(session)): i for i, (name, session) in enumerate(zip(names, sessions, strict=True))}
    once = {name for name, count in names.value_counts().items() if count == 1}
    return {(name, ""): row for (name, _), row in table.items() if name in once} | table


def _unique(
    names: pd.Series, sessions: pd.Series, ours: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str], int]:
    """Spellings that are one person's only, on both sides."""
    of_spelling: dict[str, set[str]] = {}
    for name in names:
        of_spelling.setdefault(identity.normal(name), set()).add(name)
    here: dict[str, set[str]] = {}
    for _, bare, _ in ours:
        here.setdefault(identity.normal(bare), set()).add(bare)
    single = {s for s, found in of_spelling.items() if len(found) == 1 and len(here.get(s, ())) <= 1}
    table = _index(names.map(identity.normal), sessions)
    return {key: row for key, row in table.items() if key[0] in single}
