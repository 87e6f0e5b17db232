"""From a public release's own tables to columns of the scans table, by rules in the cohort's YAML file.

A cohort file (``tasks/<cohort>.yaml``) has ``phenotypes``: a list of files, each read on its own and joined by
participant, or by scan where clinical visits are matched to scans. It also says what is verified and what is not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from anatcl.base.errors import InputError
from anatcl.base.joins import compare
from anatcl.base.words import does, plural
from anatcl.spec.task import SHIPPED, canonical

log = logging.getLogger(__name__)
FILE_KEYS = {"file", "participant", "id", "missing", "columns", "values", "labels", "visits", "long", "optional"}
UNITS = {"day": 1.0, "month": 365.25 / 12, "year": 365.25}


def load_cohort(source: str | Path) -> dict[str, Any]:
    """Read a cohort file: a path, or the name of a shipped one.

    Raises
    ------
    InputError
        No such file, or unknown keys in it.
    """
    for path in (Path(source), SHIPPED / f"{source}.yaml"):
        if path.is_file():
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            for entry in data.get("phenotypes", []):
                unknown = sorted(set(entry) - FILE_KEYS)
                if unknown:
                    raise InputError(f"unknown keys {unknown} of a phenotype file.", path, f"Known: {FILE_KEYS}.")
            return data
    known = sorted(p.stem for p in SHIPPED.glob("*.yaml") if "phenotypes:" in p.read_text(encoding="utf-8"))
    raise InputError(f"no cohort {source!r}: neither a file nor one of {known}.")


def add_phenotypes(scans: pd.DataFrame, cohort: dict[str, Any], folder: str | Path) -> pd.DataFrame:
    """Join a cohort's phenotypes to its scans; scans without a phenotype stay, with missing values.

    Parameters
    ----------
    scans : DataFrame
        Columns ``scan``, ``participant_id`` and perhaps ``session_id``. Columns that the release also gives are
        replaced.
    cohort : dict
        Content of a cohort file.
    folder : str or Path
        Where the release's tables lie.
    """
    for entry in cohort.get("phenotypes", []):
        path = Path(folder) / entry["file"]
        if entry.get("optional") and not path.is_file():
            continue
        made = read_entry(path, entry, scans)
        keys = ["scan"] if "scan" in made else ["participant_id"]
        found = compare(scans[keys[0]], made[keys[0]])
        if found.left and (found.example or not found.matched):
            log.warning("%s: %s", path, found.sentence("scan", "rows of the file"))
        scans = scans.drop(columns=[c for c in made if c in scans and c not in keys])
        scans = scans.merge(made, on=keys, how="left", validate="many_to_one")
    return scans


def participants(entries: list[dict[str, Any]], folder: str | Path) -> pd.DataFrame:
    """All participants of a release's first table, ``scan`` and ``participant_id`` alike, where there are no images."""
    first = next((e for e in entries if not e.get("optional")), None)
    if first is None:
        raise InputError("the cohort names no table of participants.", None, "Leave out --cohort.")
    plain = {k: v for k, v in first.items() if k != "visits"} | {"columns": {}, "labels": {}}
    found = read_entry(Path(folder) / first["file"], plain, pd.DataFrame())[["participant_id"]]
    return found.assign(scan=found["participant_id"])


def read_entry(path: Path, entry: dict[str, Any], scans: pd.DataFrame) -> pd.DataFrame:
    """Columns of one file, one row per participant, or per scan where visits are matched to scans."""
    if not path.is_file():
        raise InputError("the phenotype file does not exist.", path, "Download it from the release and keep its name.")
    table = _read(path, entry)
    if "long" in entry:
        table = _widen(table, entry["long"], path)
    table = _labelled(_renamed(table, entry, path), entry.get("labels", {}), path)
    wanted = [*entry.get("columns", {}), *entry.get("labels", {}), *entry.get("long", {}).get("scores", {})]
    if "visits" in entry:
        return _visits(table, entry["visits"], wanted, scans, path)
    table = table[["participant_id", *wanted]]
    differing = table.drop_duplicates()["participant_id"].duplicated()
    if differing.any():
        person = table.drop_duplicates().loc[differing, "participant_id"].iloc[0]
        raise InputError(f"{person} has several rows that differ.", path, "Give the cohort file a visits rule.")
    return table.drop_duplicates().reset_index(drop=True)


def _read(path: Path, entry: dict[str, Any]) -> pd.DataFrame:
    separator = "\t" if path.suffix in (".tsv", ".txt") else ","
    if path.suffix in (".xls", ".xlsx"):
        table = pd.read_excel(path, dtype=str)
    else:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    absent = {"", "n/a", "NA", "NaN", "nan"} | {canonical(v) for v in entry.get("missing", [])}
    return table.map(lambda v: np.nan if canonical(v) in absent else v)


def _renamed(table: pd.DataFrame, entry: dict[str, Any], path: Path) -> pd.DataFrame:
    """Participant identifiers and renamed columns beside the original ones; numbers become numbers."""
    columns = {name: _present(source, table) for name, source in entry.get("columns", {}).items()}
    needed = [entry["participant"], *columns.values()]
    missing = [c for c in needed if c not in table]
    if missing:
        raise InputError(f"the file lacks the columns {missing}.", path, f"It has {list(table.columns)[:30]}.")
    table = table.dropna(subset=[entry["participant"]])
    new = {"participant_id": table[entry["participant"]].map(lambda v: participant_id(v, entry.get("id", {})))}
    for name, column in columns.items():
        values = {canonical(k): v for k, v in entry.get("values", {}).get(name, {}).items()}
        text = table[column].map(canonical)
        new[name] = text.map(values) if values else _number(table[column])
    numbers = table.apply(_number)
    return numbers.drop(columns=[c for c in new if c in numbers]).assign(**new)


def _present(source: str | list[str], table: pd.DataFrame) -> str:
    """The first of several names that the table has (the first of all where it has none)."""
    names = [source] if isinstance(source, str) else source
    return next((n for n in names if n in table), names[0])


def _number(column: pd.Series) -> pd.Series:
    """The column as numbers if every known value is one, else as it is."""
    numbers = pd.to_numeric(column, errors="coerce")
    strange = column[numbers.isna() & column.notna()]
    if strange.empty:
        return numbers
    if len(strange) < 0.2 * column.notna().sum():
        share = f"{len(strange)} of {plural(int(column.notna().sum()), 'value')}"
        what = does(len(strange), "is not a number", "are not numbers")
        log.warning("column %s stays text: %s %s (such as %r)", column.name, share, what, strange.iloc[0])
    return column


def participant_id(value: str, rule: dict[str, str]) -> str:
    """BIDS identifier from a release's one: characters removed, then put into a template.

    ``{"template": "sub-{:07d}"}`` makes sub-0050002 of 50002; ``{"template": "sub-ADNI{}", "remove": "_"}`` makes
    sub-ADNI002S0295 of 002_S_0295.
    """
    text = str(value).strip()
    for character in rule.get("remove", ""):
        text = text.replace(character, "")
    template = rule.get("template", "sub-{}")
    return template.format(int(float(text))) if "d}" in template else template.format(text)


def _labelled(table: pd.DataFrame, labels: dict[str, list[dict[str, str]]], path: Path) -> pd.DataFrame:
    """New columns whose value is the name of the first query that a row fulfils."""
    for column, choices in labels.items():
        value: Any = pd.Series(np.nan, index=table.index, dtype=object)
        for choice in choices:
            try:
                hit: Any = table.eval(choice["query"])
            except Exception as error:  # pandas raises many kinds for a wrong expression
                raise InputError(f"the query {choice['query']!r} fails: {error}.", path) from error
            value = value.where(value.notna() | ~hit.astype(bool), choice["name"])
        table = table.assign(**{column: value})
    return table


def _widen(table: pd.DataFrame, rule: dict[str, Any], path: Path) -> pd.DataFrame:
    """One row per participant from a table of one answer per row: sums of answers, by scale.

    ``scores`` maps a new column to ``assessment`` and ``question``, regular expressions of the two columns. Of several
    visits the first that has answers counts. A scale is missing for who answered none of its questions.
    """
    keys = [rule["participant"]]
    value = pd.to_numeric(table[rule["value"]], errors="coerce")
    parts: list[Any] = [table[keys].drop_duplicates().set_index(keys[0])]
    for name, choice in rule["scores"].items():
        hit = table[rule["assessment"]].str.fullmatch(choice["assessment"], case=False, na=False)
        hit &= table[rule["question"]].str.fullmatch(choice.get("question", ".*"), case=False, na=False)
        answers = table[hit & value.notna()].assign(_value=value)
        if answers.empty:
            parts.append(pd.Series(dtype=float, name=name))
            continue
        first = answers.groupby(keys)[rule["visit"]].transform("min")
        answers = answers[answers[rule["visit"]] == first]
        parts.append(answers.groupby(keys)["_value"].sum().rename(name))
    return pd.concat(parts, axis=1).rename_axis(rule["participant"]).reset_index()


def _visits(
    table: pd.DataFrame, rule: dict[str, Any], wanted: Iterable[str], scans: pd.DataFrame, path: Path
) -> pd.DataFrame:
    """Reduce visits to one row per participant (first visit), or match the nearest visit to each scan.

    Keys of the rule: ``time`` (column), ``unit`` (day, month or year), ``pick`` (``first`` or ``nearest``),
    ``scan_time`` (regular expression whose group is the scan's time in the session's name), ``within`` (largest
    distance), and ``conversion`` (see `conversion`).
    """
    table = table.assign(_time=pd.to_numeric(table[rule["time"]], errors="coerce") * UNITS[rule.get("unit", "day")])
    table = table.dropna(subset=["_time"]).sort_values(["participant_id", "_time"], kind="stable")
    wanted = list(wanted)
    if "conversion" in rule:
        made = conversion(table, rule["conversion"], UNITS[rule.get("unit", "day")])
        table = table.merge(made, on="participant_id", how="left")
        wanted.append(rule["conversion"]["name"])
    if rule.get("pick", "first") == "first":
        known = table.dropna(subset=wanted, how="all")
        return known.groupby("participant_id", as_index=False)[wanted].first()
    return _nearest(table, rule, wanted, scans, path)


def _nearest(
    table: pd.DataFrame, rule: dict[str, Any], wanted: list[str], scans: pd.DataFrame, path: Path
) -> pd.DataFrame:
    if "session_id" not in scans:
        raise InputError("visits are matched to scans by session, but the scans table has no session_id.", path)
    found = scans["session_id"].astype(str).str.extract(re.compile(rule["scan_time"]))[0]
    when = pd.to_numeric(found, errors="coerce") * UNITS[rule.get("unit", "day")]
    left = scans[["scan", "participant_id"]].assign(_time=when.astype(float)).dropna().sort_values("_time")
    right = table.dropna(subset=[c for c in wanted if c in table], how="all").sort_values("_time")
    made = pd.merge_asof(
        left,
        right[["participant_id", "_time", *wanted]],
        on="_time",
        by="participant_id",
        direction="nearest",
        tolerance=rule.get("within", np.inf) * UNITS[rule.get("unit", "day")] if "within" in rule else None,
    )
    return made[["scan", *wanted]]


def conversion(visits: pd.DataFrame, rule: dict[str, Any], unit: float) -> pd.DataFrame:
    """Which participants convert, by a rule over visits.

    A participant counts whose first visit with a diagnosis is in ``from``. ``converted``: a later visit within
    ``window`` is in ``to``. ``stable``: no visit at all is in ``to``, and the last one is at or after ``window``. Who
    is followed for too short a time, or converts later, is neither.

    Parameters
    ----------
    visits : DataFrame
        ``participant_id``, ``_time`` (days), and the column of the diagnosis.
    rule : dict
        ``name`` of the new column, ``column``, ``from``, ``to``, ``window``, ``stable``, ``converted`` (labels).
    unit : float
        Days in the unit of ``window``.
    """
    known = visits.dropna(subset=[rule["column"]]).sort_values(["participant_id", "_time"], kind="stable")
    start, end = set(map(canonical, rule["from"])), set(map(canonical, rule["to"]))
    rows = []
    for person, part in known.groupby("participant_id", sort=True):
        diagnosis, time = part[rule["column"]].map(canonical).to_numpy(), part["_time"].to_numpy()
        time = time - time[0]
        if diagnosis[0] not in start:
            continue
        hit = np.isin(diagnosis, list(end))
        window = rule["window"] * unit
        if (hit & (time <= window)).any():
            rows.append((person, rule["converted"]))
        elif not hit.any() and time[-1] >= window:
            rows.append((person, rule["stable"]))
    return pd.DataFrame(rows, columns=["participant_id", rule["name"]])
