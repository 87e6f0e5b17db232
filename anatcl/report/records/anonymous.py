"""A copy of a run's tables without names, exact ages, paths and pictures: the data of a page that can be shared.

The page is made of this copy alone, so that what is not here cannot be on it.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, write_json, write_text, write_tsv
from anatcl.report.records import results
from anatcl.report.records.results import Sources
from anatcl.report.tables.build import build_table
from anatcl.spec import layout

YEARS = 5  # ages are rounded to this
OLDEST = 90  # and those above it are not told apart
KEPT = ("scan", "participant_id", "age", "sex", "site", "diagnosis")
OF_RUN = ("device", "seed", "seconds", "peak_memory_mb", "versions", "hardware")
EVALUATED = ("comparisons", "audit", "confounds", "added", "subgroups", "skipped")
# A path in a text: what begins like one, or is a file in a folder. Addresses of the web and DOIs are none.
PATH = re.compile(
    r"(?<![\w:/.])(?:~|\.{1,2})?/(?:[^\s/`'\",;)]+/)*([^\s/`'\",;)]+)|(?<![\w:/.])(?:[\w.-]+/)+([\w-]+\.\w+)"
)
DECODED = "decode.tsv"
RANDOM = random.SystemRandom()


@dataclasses.dataclass(frozen=True)
class Names:
    """New names of scans, participants and sites, given at random."""

    scans: Mapping[str, str]
    people: Mapping[str, str]
    sites: Mapping[str, str]

    def text(self, value: Any) -> Any:
        """A text with the names of sites replaced and paths cut down to file names; other values as they are."""
        if not isinstance(value, str):
            return value
        for site, name in self.sites.items():
            if value == site or len(site) > 1:
                value = re.sub(rf"(?<!\w){re.escape(site)}(?!\w)", name, value)
        return without_paths(value)


def without_paths(text: str) -> str:
    """A text whose paths are cut down to the names of their files."""
    return PATH.sub(lambda match: match[1] or match[2], text)


def new_names(scans: pd.DataFrame) -> Names:
    """Names that say nothing of the old ones, not even their order."""
    people = scans["participant_id"].astype(str).drop_duplicates().tolist()
    RANDOM.shuffle(people)
    named = {name: f"person-{number:05d}" for number, name in enumerate(people, 1)}
    rows = scans["scan"].astype(str).tolist()
    RANDOM.shuffle(rows)
    stems = {scan: f"scan-{number:05d}" for number, scan in enumerate(rows, 1)}
    sites = list(scans["site"].dropna().astype(str).value_counts().index) if "site" in scans else []
    return Names(stems, named, {site: f"site {number}" for number, site in enumerate(sites, 1)})


def rounded(ages: pd.Series) -> pd.Series:
    """Ages to the nearest `YEARS` years, none above `OLDEST`."""
    years = pd.to_numeric(ages, errors="coerce")
    return ((years / YEARS).round() * YEARS).clip(upper=OLDEST)


def copy_run(run: Path, out: Path) -> tuple[Sources, Names]:
    """Write the copy of a finished run.

    Parameters
    ----------
    run : Path
        Folder of the run, which has ``results``.
    out : Path
        Empty folder for the copy.

    Returns
    -------
    sources : Sources
        What the page is made of.
    names : Names
        Old names and new ones.
    """
    scans = results.table(run / layout.INDEX / "scans.tsv")
    names = new_names(scans)
    _write(out / "bids" / "scans.tsv", _people(scans, names))
    _write(out / "measures" / "measures.tsv", _people(results.table(run / layout.MEASURES_TABLE), names, every=True))
    _copy(run / layout.MEASURES / "reliability.tsv", out / "measures" / "reliability.tsv", names)
    _copy(run / layout.REPORT / "benchmark.tsv", out / "report" / "benchmark.tsv", names)
    for name in EVALUATED:
        _copy(run / layout.EVALUATE / f"{name}.tsv", out / "evaluate" / f"{name}.tsv", names, drop=("overlap",))
    for file in held_tables(run / layout.EVALUATE):
        _copy(file, out / "evaluate" / file.relative_to(run / layout.EVALUATE), names)
    _copy(run / layout.REPORT / "runtime.tsv", out / "report" / "runtime.tsv", names)
    _copy(run / layout.PRETRAIN / "models.tsv", out / "pretrain" / "models.tsv", names, drop=("path", "folder"))
    _exclusions(run, out)
    _predictions(run, out, names)
    _embeddings(run, out, names)
    _trainings(run, out)
    _description(run, out)
    text = results.text(run / layout.REPORT / "methods.md")
    write_text(out / "report" / "methods.md", "\n".join(names.text(line) for line in text.split("\n")))
    maps = run / layout.INTERPRETATION
    return _sources(run, out, maps if maps.is_dir() else None), names


def _sources(run: Path, out: Path, maps: Path | None) -> Sources:
    return Sources(
        benchmark=out / "report" / "benchmark.tsv",
        tables=run / layout.REPORT / "tables",
        scans=out / "bids" / "scans.tsv",
        measures=out / "measures" / "measures.tsv",
        reliability=out / "measures" / "reliability.tsv",
        evaluate=out / "evaluate",
        pretrain=out / "pretrain",
        excluded=out / "report" / "excluded.tsv",
        runtime=out / "report" / "runtime.tsv",
        methods=out / "report" / "methods.md",
        interpretation=maps,
        config=out / "results" / "config.json",
        decoded=[str(file) for file in held_tables(out / "evaluate") if file.name == DECODED],
        perturbed=[str(file) for file in held_tables(out / "evaluate") if file.name != DECODED],
    )


def held_tables(folder: Path) -> list[Path]:
    """Tables of what each method holds of the measures, and of its scores on changed scans."""
    return [*sorted(folder.glob(f"*/{DECODED}")), *sorted(folder.glob("*/*_perturbed.tsv"))]


def _write(path: Path, table: pd.DataFrame) -> None:
    if len(table.columns):
        write_tsv(path, table, float_format=None)


def _copy(source: Path, target: Path, names: Names, drop: tuple[str, ...] = ()) -> None:
    """Copy a table with its texts made clean, and its date."""
    table = results.table(source).drop(columns=list(drop), errors="ignore")
    if len(table.columns):
        for column in table.select_dtypes(exclude="number"):
            table[column] = table[column].map(names.text)
        _write(target, table)
        os.utime(target, (source.stat().st_mtime,) * 2)


def _people(table: pd.DataFrame, names: Names, every: bool = False) -> pd.DataFrame:
    """Rows of scans under new names, in a new order, with rounded ages and without texts that a person wrote."""
    if "scan" not in table:
        return pd.DataFrame()
    numbers = list(table.select_dtypes("number").columns) if every else []
    trust = ["thickness_trust"] if "thickness_trust" in table else []
    kept = list(dict.fromkeys([*(c for c in KEPT if c in table), *numbers, *trust]))
    found = table[kept].copy()
    found["scan"] = table["scan"].map(names.scans)
    found["participant_id"] = table["participant_id"].astype(str).map(names.people)
    if "age" in found:
        found["age"] = rounded(found["age"])
    if "site" in found:
        found["site"] = found["site"].map(names.sites)
    return found.dropna(subset=["scan"]).sort_values("scan").reset_index(drop=True)


def _exclusions(run: Path, out: Path) -> None:
    """How many scans each stage left out; reasons quote tables and headers."""
    table = results.table(run / layout.REPORT / "excluded.tsv")
    rows = [{"scan": f"left-out-{n}", "stage": stage} for n, stage in enumerate(table.get("stage", ()), 1)]
    found = pd.DataFrame(rows, columns=["scan", "stage"])
    _write(out / "report" / "excluded.tsv", found.assign(participant_id="", reason="", remedy=""))


def _predictions(run: Path, out: Path, names: Names) -> None:
    """Predictions of classes, and of age with rounded ages; what else is predicted is on no drawing."""
    scores = results.scores(run / layout.REPORT / "benchmark.tsv")
    ages = build_table(scores, "brain_age").tasks if len(scores) else []
    for (method, task), table in results.predictions(run / layout.EVALUATE).items():
        classes = {"score", "prob"} <= set(table)
        if not classes and task not in ages:
            continue
        found = table.drop(columns=[c for c in ("participant_id", "session_id") if c in table])
        found["scan"] = found["scan"].astype(str).map(names.scans)
        if task in ages:
            found["y_true"] = rounded(found["y_true"])
        kept = [c for c in ("scan", "protocol", "fold", "y_true", "y_pred", "score", "prob") if c in found]
        found = found[kept].dropna(subset=["scan"]).sort_values("scan", kind="stable")
        _write(out / "evaluate" / method / f"{task}_predictions.tsv", found)


def _embeddings(run: Path, out: Path, names: Names) -> None:
    for method, found in results.embeddings(run / layout.EVALUATE).items():
        stems = np.array([names.scans.get(str(scan), "") for scan in found.scan])
        order = [at for at in np.argsort(stems, kind="stable") if stems[at]]
        folder = out / "evaluate" / method / f"fold-{found.fold}"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "embeddings.npz", scan=stems[order], embedding=found.values[order])


def _trainings(run: Path, out: Path) -> None:
    """Histories, run records without their parameters, and the perplexities."""
    for folder in (layout.PRETRAIN, layout.EVALUATE):
        for record in results.run_records(run / folder):
            kept = {name: record[name] for name in OF_RUN if name in record}
            seed = (record.get("parameters") or {}).get("seed", "")
            write_json(out / record["path"] / "run.json", {"seed": seed} | kept)
    for method, folds in results.histories(run / layout.PRETRAIN).items():
        for fold, table in folds.items():
            _write(out / "pretrain" / method / f"fold-{fold}" / "history.tsv", table)
    for path in (run / layout.PRETRAIN).glob("*/fold-*/model.json"):
        kept = {"weights_perplexity": read_json(path).get("weights_perplexity") or {}}
        write_json(out / "pretrain" / path.relative_to(run / layout.PRETRAIN), kept)


def _description(run: Path, out: Path) -> None:
    """Name of the dataset, where it has one: the name of its folder may be anybody's."""
    config = read_json(run / layout.SAVED) if (run / layout.SAVED).is_file() else {}
    file = run / str(config.get("bids_dir", "")) / "dataset_description.json"
    name = read_json(file).get("Name") if config.get("bids_dir") and file.is_file() else None
    write_json(out / "bids_dir" / "dataset_description.json", {"Name": name or "not named"})
    write_json(out / "results" / "config.json", {"bids_dir": "bids_dir"})


def leaks(text: str, scans: pd.DataFrame, folders: list[Path]) -> list[str]:
    """Names and paths that a page shows although it must not; pictures and files inside it are not searched.

    Parameters
    ----------
    text : str
        The page.
    scans : DataFrame
        The index of the run.
    folders : list of Path
        Folders whose paths must not be shown.
    """
    shown = re.sub(r"data:[\w/+-]+;base64,[\w+/=]*", "", text)
    words = set(re.findall(r"sub-[A-Za-z0-9+]+", shown))
    found = sorted(words & set(scans["participant_id"].astype(str)))
    paths = [str(folder) for folder in folders] + (scans["path"].astype(str).tolist() if "path" in scans else [])
    return found + [path for path in paths if len(path) > 3 and path in shown]
