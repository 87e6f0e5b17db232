"""The tables that a task is evaluated on: scans with what is known of them, and features."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.evaluate.data.features import Features, demographics, load_embeddings, load_table, no_features
from anatcl.evaluate.data.problem import Problem, make_problem
from anatcl.spec.names import DEMOGRAPHIC, QUALITY, VOLUMES
from anatcl.spec.task import Task


def scans_table(scans: str | Path, measures: str | Path | None, quality: str | Path | None = None) -> pd.DataFrame:
    """The scans with their phenotypes and, where measured, their global volumes (mm3) and image-quality metrics."""
    table = read_tsv(scans)
    missing = {"scan", "participant_id"} - set(table.columns)
    if missing:
        raise InputError(f"the scans table lacks the columns {sorted(missing)}.", file=scans)
    _once(table, scans)
    for file, names in ((measures, VOLUMES), (quality, QUALITY)):
        if file is not None:
            more = read_tsv(file)
            _once(more, file)
            columns = [c for c in names if c in more and c not in table]
            table = table.merge(more[["scan", *columns]], on="scan", how="left", validate="one_to_one")
    return table


def _once(table: pd.DataFrame, file: str | Path) -> None:
    twice = table["scan"][table["scan"].duplicated()]
    if len(twice):
        raise InputError(f"the scan {twice.iloc[0]} occurs in the table more than once.", file, "Keep one row of it.")


def load_features(
    table: pd.DataFrame,
    embeddings_dir: str | Path | None,
    features: str | Path | None,
    feature_set: str,
    target: str,
    used: Collection[str] = (),
    seeds: int | None = None,
) -> Features:
    """Features of a method: embeddings, a table (see `load_table`), age + sex + TIV less the target, or none."""
    if feature_set == DEMOGRAPHIC:
        return demographics(table, target)
    if embeddings_dir and features:
        raise InputError("a method has embeddings or a feature table, not both.")
    if embeddings_dir:
        return load_embeddings(embeddings_dir, table["scan"], seeds)
    return load_table(features, feature_set, table, used) if features else no_features(len(table))


def join(task: Task, table: pd.DataFrame, features: Features) -> tuple[Problem, Features]:
    """The problem of a task and the features of its rows, in its order."""
    problem = make_problem(task, table, features.present)
    where = pd.Index(table["scan"]).get_indexer(problem.rows["scan"])
    return problem, features.take(where)
