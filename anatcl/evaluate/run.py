"""The steps that the workflow calls: files in, files out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate import protocol, scores
from anatcl.evaluate.features import TISSUES, Features, load_embeddings, load_table, no_features
from anatcl.evaluate.split import fixed_folds, fold_column
from anatcl.evaluate.task import Problem, Refused, Task, load_task, make_problem

log = logging.getLogger(__name__)
FLOATS = "%.8g"


def run_task(
    task: str | dict[str, Any],
    method: str,
    scans: str | Path,
    folds: str | Path,
    out_predictions: str | Path,
    out_scores: str | Path,
    *,
    embeddings_dir: str | Path | None = None,
    features: str | Path | None = None,
    feature_set: str = "all",
    measures: str | Path | None = None,
    site_column: str = "site",
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> None:
    """Probe one method on one task and write its predictions and scores.

    A task that the cohort cannot answer leaves no predictions and one row ``metric = skipped`` with counts and reason.
    See ``python -m anatcl evaluate task --help`` for the parameters.
    """
    wanted = load_task(task)
    table = scans_table(scans, measures)
    given = load_features(table, embeddings_dir, features, feature_set)
    rows: list[dict[str, Any]]
    try:
        problem, given = join(wanted, table, given)
        splits = list(fixed_folds(fold_column(problem.rows["participant_id"], read_tsv(folds))))
        if len(splits) < 2:
            raise Refused("all participants are in one fold.", problem)
        predictions = protocol.cross_validate(problem, given, splits, seed)
        rows = scores.score_rows(predictions, wanted.kind, wanted.metrics, n_bootstrap, seed)
    except Refused as refusal:
        log.warning("%s, %s skipped: %s", method, wanted.name, refusal.reason)
        problem, splits, predictions = refusal.problem, [], pd.DataFrame(columns=protocol.COLUMNS)
        rows = [{"metric": scores.SKIPPED, "flags": refusal.reason}]
    name = f"{len(splits)}-fold" if splits else "n/a"
    common = {"method": method, "task": wanted.name, "kind": wanted.kind, "protocol": name}
    counts = {**scores.describe(problem, site_column), "folds": len(splits), "seed": seed}
    defaults = {"value": np.nan, "low": np.nan, "high": np.nan, "flags": flags(problem)}
    found = pd.DataFrame([defaults | row | common | counts for row in rows], columns=scores.COLUMNS)
    predictions = predictions.assign(method=method, task=wanted.name, protocol=name)
    order = [*protocol.COLUMNS, *(c for c in predictions if c not in protocol.COLUMNS)]
    write_tsv(out_predictions, predictions[order], FLOATS)
    write_tsv(out_scores, found, FLOATS)


def scans_table(scans: str | Path, measures: str | Path | None) -> pd.DataFrame:
    """The scans with their phenotypes and, where measured, their global volumes (mm3)."""
    table = read_tsv(scans)
    missing = {"scan", "participant_id"} - set(table.columns)
    if missing:
        raise InputError(f"the scans table lacks the columns {sorted(missing)}.", file=scans)
    if measures is None:
        return table
    volumes = read_tsv(measures)
    columns = [c for c in TISSUES if c in volumes and c not in table]
    return table.merge(volumes[["scan", *columns]], on="scan", how="left", validate="one_to_one")


def load_features(
    table: pd.DataFrame, embeddings_dir: str | Path | None, features: str | Path | None, feature_set: str
) -> Features:
    """Features of a method: embeddings, a table, or none."""
    if embeddings_dir and features:
        raise InputError("a method has embeddings or a feature table, not both.")
    if embeddings_dir:
        return load_embeddings(embeddings_dir, table["scan"])
    return load_table(features, feature_set, table) if features else no_features(len(table))


def join(task: Task, table: pd.DataFrame, features: Features) -> tuple[Problem, Features]:
    """The problem of a task and the features of its rows, in its order."""
    problem = make_problem(task, table, features.present)
    where = pd.Index(table["scan"]).get_indexer(problem.rows["scan"])
    return problem, features.take(where)


def flags(problem: Problem) -> str:
    """Warnings that belong beside every figure of a problem."""
    people = len(set(problem.groups))
    return f"small: {people} participants" if people < scores.SMALL else ""


def gather(
    inputs: list[str | Path],
    predictions: list[str | Path],
    out: str | Path,
    *,
    comparisons: str | Path | None = None,
    skipped: str | Path | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> None:
    """Write the scores of all methods and tasks, the paired tests between methods, and the refused tasks."""
    table, refused = scores.concatenate(inputs)
    kinds = dict(zip(table["task"], table["kind"], strict=True))
    found = scores.compare_all([read_tsv(f) for f in predictions], kinds, n_bootstrap, seed)
    beside = Path(out).parent
    write_tsv(comparisons or beside / "comparisons.tsv", found, FLOATS)
    write_tsv(skipped or beside / "skipped.tsv", refused, FLOATS)
    write_tsv(out, table, FLOATS)
