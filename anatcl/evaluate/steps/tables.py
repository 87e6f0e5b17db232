"""Tables without images: from tables of features and of participants to scores, intervals and tests.

What `anatcl.evaluate.steps.table` does from a file of settings, for tables as other programs write them: they are read,
given our names of columns and joined with the people, and every row that finds no partner is named.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.base.spikes import spikes
from anatcl.base.words import nearest
from anatcl.evaluate.data import people as persons
from anatcl.evaluate.data import phenotypes
from anatcl.evaluate.data.features import REGION
from anatcl.evaluate.data.people import COLUMNS, NO_FEATURES, NO_ROW, Match
from anatcl.evaluate.data.roi_tables import RoiTable, read_roi_table
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.table import Source, TableSpec, evaluate_table
from anatcl.spec.layout import EXCLUDED
from anatcl.spec.names import CONFOUNDS, DEMOGRAPHIC, GUESS, REGIONAL, TISSUE, VOLUMES
from anatcl.spec.task import Task, load_task, shipped_tasks

log = logging.getLogger(__name__)
USUAL = ("age", "sex")
STAGE = "evaluate tables"


@dataclasses.dataclass(frozen=True)
class Given:
    """What a user gives.

    Parameters
    ----------
    features : sequence of str
        Files, or ``NAME=FILE``. Regional measures without a name are joined to the method ``regional-measures``; other
        tables are methods of their file's name; tables of one name are joined.
    people : str
        Table of participants; with `cohort` the release's own, or the folder of its tables.
    tasks : sequence of str
        Shipped names, files, JSON, or columns of the people's table; age and sex, where known, when empty.
    protocols : sequence of str
        See `anatcl.spec.protocol.Design`.
    subgroups : sequence of str
        Columns.
    id_column, people_id_column : str
        Columns of identifiers.
    columns, sexes : mapping
        See `anatcl.evaluate.data.people.read_people`.
    cohort : str
        Cohort file, or a shipped name.
    folds : str
        Folds table.
    seed, bootstrap, shuffles : int
        See `anatcl.evaluate.steps.task.Settings`.
    confounds : sequence of str
        Columns of the people's table that count as confounds beside site, age, sex and head size (motion).
    """

    features: Sequence[str]
    people: str
    tasks: Sequence[str] = ()
    protocols: Sequence[Any] = ("repeated",)
    subgroups: Sequence[str] = ("sex", "age", "site")
    id_column: str = ""
    people_id_column: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sexes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cohort: str = ""
    folds: str = ""
    seed: int = 0
    bootstrap: int = 1500
    shuffles: int = -1
    confounds: Sequence[str] = ()


def run_tables(given: Given, out_dir: str | Path) -> None:
    """Write ``join.tsv``, ``excluded.tsv``, ``scans.tsv``, ``features/*.tsv`` and ``evaluate/`` into `out_dir`.

    Raises
    ------
    InputError
        A file cannot be read, a table of features has no participant in common with the table of participants, or a
        task asks for a column that the people's table lacks.
    """
    out = Path(out_dir)
    people = _people(given)
    methods = _methods(given)
    matches = {id(t): persons.match(t, people) for tables in methods.values() for t in tables}
    report = _report(methods, matches, people)
    write_tsv(out / "join.tsv", report)
    write_tsv(out / "excluded.tsv", _excluded(report, out / "join.tsv"))
    made = {name: _joined(name, [(t, matches[id(t)]) for t in tables], people) for name, tables in methods.items()}
    scans = _scans(made, people)
    tasks = _tasks(given.tasks, scans)
    _say_codes(scans, tasks)
    write_tsv(out / "scans.tsv", scans, FLOATS)
    for name, table in made.items():
        write_tsv(out / "features" / f"{name}.tsv", table, FLOATS)
    spec = TableSpec(
        scans=str(out / "scans.tsv"),
        tasks=[task.model_dump(mode="json", exclude_defaults=True) for task in tasks],
        methods=_sources(made, scans, out / "features"),
        folds=given.folds,
        protocols=[json.loads(p) if str(p).lstrip().startswith("{") else p for p in given.protocols],
        subgroups=[c for c in given.subgroups if c in scans],
        seed=given.seed,
        bootstrap=given.bootstrap,
        shuffles=given.shuffles,
        confounds=list(given.confounds),
    )
    evaluate_table(spec, out / "evaluate")


def _people(given: Given) -> pd.DataFrame:
    """The people, by the rules of a cohort where one is named."""
    if not given.cohort:
        return persons.read_people(given.people, given.people_id_column, given.columns, given.sexes)
    cohort = phenotypes.load_cohort(given.cohort)
    entries, place = cohort.get("phenotypes", []), Path(given.people)
    if not place.is_dir():
        named = [e for e in entries if e["file"] == place.name] or entries[:1]
        entries, place = [{**e, "file": place.name} for e in named], place.parent
    everybody = phenotypes.participants(entries, place)
    return phenotypes.add_phenotypes(everybody, {"phenotypes": entries}, place).drop(columns="scan")


def _methods(given: Given) -> dict[str, list[RoiTable]]:
    """Tables of features by the method that they belong to."""
    found: dict[str, list[RoiTable]] = {}
    for told in given.features:
        name, _, file = told.rpartition("=")
        if name and ("/" in name or Path(told).exists()):
            name, file = "", told
        table = read_roi_table(file, given.id_column)
        stem = Path(file).stem
        found.setdefault(name or (REGIONAL if table.anatomical else stem), []).append(table)
    reserved = sorted(set(found) & {CONFOUNDS, DEMOGRAPHIC, GUESS, TISSUE})
    if reserved:
        raise InputError(
            f"the method {reserved[0]!r} is one of the workflow's own.", None, "Give these features another name."
        )
    return found


def _joined(name: str, tables: list[tuple[RoiTable, Match]], people: pd.DataFrame) -> pd.DataFrame:
    """Tables of one method side by side, a row per participant and session."""
    parts: list[pd.DataFrame] = []
    for table, match in tables:
        keep = match.person >= 0
        key = pd.MultiIndex.from_arrays([match.person[keep], match.session[keep]], names=["person", "session"])
        if key.has_duplicates:
            rows = table.identifiers[keep][key.duplicated(keep=False)][:2]
            raise InputError(
                f"the rows {' and '.join(rows)} are of one participant.",
                table.file,
                "Keep one of them, or add a column session_id.",
            )
        parts.append(_new_columns(name, table, parts, table.values[keep].set_axis(key)))
    joined = pd.concat(parts, axis=1).sort_index()
    person = joined.index.get_level_values("person").to_numpy()
    names = people["participant_id"].astype(str).to_numpy()[person]
    session = joined.index.get_level_values("session").to_numpy(str)
    scan = [f"{p}_{s}" if s else p for p, s in zip(names, session, strict=True)]
    known = pd.Series(session, dtype=object).mask(session == "")
    lead = pd.DataFrame({"scan": scan, "participant_id": names, "session_id": known, "_person": person})
    return pd.concat([lead, joined.reset_index(drop=True)], axis=1)


def _new_columns(name: str, table: RoiTable, before: list[pd.DataFrame], values: pd.DataFrame) -> pd.DataFrame:
    """Columns that the tables before lack; a column that stands in several must say the same (the head size does)."""
    for other in before:
        both = [c for c in values if c in other]
        rows = values.index.intersection(other.index)
        for column in both:
            a, b = values[column].loc[rows].astype(float), other[column].loc[rows].astype(float)
            if not np.allclose(a, b, rtol=1e-4, equal_nan=True):
                raise InputError(
                    f"the column {column} has other values in another table of the method {name}.",
                    table.file,
                    "Give the tables as methods of their own: NAME=FILE.",
                )
        values = values.drop(columns=both)
    return values


def _scans(made: dict[str, pd.DataFrame], people: pd.DataFrame) -> pd.DataFrame:
    """Everybody with features, with the people's columns and the head's size where it was measured."""
    keys = ["scan", "participant_id", "session_id", "_person"]
    scans = pd.concat([t[keys] for t in made.values()]).drop_duplicates("scan").sort_values("scan")
    rest = people.drop(columns=[c for c in keys if c in people])
    scans = scans.merge(rest, left_on="_person", right_index=True, how="left").drop(columns="_person")
    for table in made.values():
        table.drop(columns="_person", inplace=True)
        for column in [c for c in VOLUMES if c in table and c not in scans]:
            scans = scans.merge(table[["scan", column]], on="scan", how="left")
    return scans.reset_index(drop=True)


def _say_codes(scans: pd.DataFrame, tasks: list[Task]) -> None:
    """Warn of numbers that look like codes for missing, in the columns that tasks read as numbers."""
    read = {c for task in tasks for c in (*task.covariates, *([task.target] if task.kind == "regression" else []))}
    for column in scans[[c for c in scans if c in read | {"age"}]].select_dtypes("number"):
        if codes := spikes(scans[column].dropna().astype(float)):
            listed = ", ".join(f"{code:g}" for code in codes)
            log.warning(
                "%s: %s look like codes for missing and are read as numbers: write n/a for them", column, listed
            )


def _sources(made: dict[str, pd.DataFrame], scans: pd.DataFrame, folder: Path) -> dict[str, Source]:
    """Methods of the table: what was given, tissue volumes where measured, and the rivals that need no measures."""
    found = {}
    for name, table in made.items():
        columns = "all"
        if name == REGIONAL and any(REGION.fullmatch(str(c)) for c in table):
            columns = REGIONAL
        found[name] = Source(features=str(folder / f"{name}.tsv"), columns=columns)
        if {"gm_mm3", "wm_mm3"} <= set(table):
            found.setdefault(TISSUE, Source(features=str(folder / f"{name}.tsv"), columns=TISSUE))
    if any(c in scans and scans[c].notna().any() for c in ("age", "sex", "tiv_mm3")):
        found[DEMOGRAPHIC] = Source(columns=DEMOGRAPHIC)
    return found | {CONFOUNDS: Source(columns=CONFOUNDS), GUESS: Source()}


def _tasks(told: Sequence[str], scans: pd.DataFrame) -> list[Task]:
    """The tasks, each of whose columns exists."""
    known = [c for c in USUAL if c in scans and scans[c].notna().any()]
    if not told and not known:
        raise InputError("the table of participants has neither age nor sex.", None, "Name tasks with --tasks.")
    tasks = [_task(text, scans) for text in told or known]
    for task in tasks:
        for column in (task.target, task.group, *task.covariates):
            if column not in scans:
                remedy = f"{nearest(column, list(map(str, scans.columns)))} Name it with --columns {column}=NAME."
                raise InputError(f"task {task.name}: the table of participants has no column {column!r}.", None, remedy)
    return tasks


def _task(text: str, scans: pd.DataFrame) -> Task:
    """A task as the workflow takes it, or the prediction of a column."""
    written = str(text).lstrip().startswith("{") or Path(str(text)).is_file() or text in shipped_tasks()
    if written or text not in scans:
        return load_task(text)
    numbers = pd.api.types.is_numeric_dtype(scans[text]) and scans[text].nunique() > 2
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
    return load_task({"name": name, "kind": "regression" if numbers else "multiclass", "target": text})


def _report(methods: dict[str, list[RoiTable]], matches: dict[int, Match], people: pd.DataFrame) -> pd.DataFrame:
    """Every row of every table with its person, then the people without features in any table."""
    names = people["participant_id"].astype(str).to_numpy()
    parts, seen = [], set()
    for table in (t for tables in methods.values() for t in tables):
        match = matches[id(table)]
        hit = match.person >= 0
        seen |= set(match.person[hit].tolist())
        person = np.where(hit, names[match.person], "n/a")
        parts.append(pd.DataFrame({"table": table.file.name, "identifier": table.identifiers, "participant_id": person,
                                   "session_id": np.where(match.session == "", "n/a", match.session),
                                   "match": match.how}))  # fmt: skip
        _say(table, match, len(people))
    alone = [n for i, n in enumerate(names) if i not in seen]
    rest = pd.DataFrame({"table": "people", "identifier": alone, "participant_id": alone, "match": NO_FEATURES})
    if alone:
        log.warning("%d of %d participants have no features: %s ...", len(alone), len(names), ", ".join(alone[:5]))
    return pd.concat([*parts, rest], ignore_index=True)[COLUMNS]


def _say(table: RoiTable, match: Match, n_people: int) -> None:
    hit = match.person >= 0
    words = pd.Series(match.how).value_counts().sort_index()
    counts = ", ".join(f"{count} {word}" for word, count in words.items())
    log.info(
        "%s: %d rows, %d columns; of %d participants: %s",
        table.file,
        len(hit),
        len(table.values.columns),
        n_people,
        counts,
    )
    if not hit.all():
        lost = table.identifiers[~hit]
        log.warning("%s: %d rows are %s: %s ...", table.file, len(lost), NO_ROW, ", ".join(lost[:5]))


def _excluded(report: pd.DataFrame, file: Path) -> pd.DataFrame:
    """What found no partner, in the form of the workflow's exclusions, for the page."""
    lost = report[report["match"].isin([NO_ROW, NO_FEATURES])]
    return pd.DataFrame(
        {
            "scan": lost["identifier"],
            "participant_id": lost["participant_id"],
            "stage": STAGE,
            "reason": lost["table"] + ": " + lost["match"],
            "file": str(file),
            "remedy": "Correct the name, or add the row to the other table.",
        },
        columns=list(EXCLUDED),
    )
