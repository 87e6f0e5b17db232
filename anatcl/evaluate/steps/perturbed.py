"""Robustness: probes of clean scans, embeddings of changed scans, and how far the score moves."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features, aligned_embeddings, load_embeddings, seed_folders
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes import cross_validation
from anatcl.evaluate.statistics import bootstrap, compare, metrics
from anatcl.evaluate.statistics.bootstrap import Replicates
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.inputs import join, scans_table
from anatcl.spec.protocol import load_design
from anatcl.spec.task import Task, load_task

log = logging.getLogger(__name__)
CLEAN = "clean"
COLUMNS = ["method", "task", "perturbation", "metric", "clean", "value", "change", "low", "high", "p", "n",
           "n_participants", "flags"]  # fmt: skip


def run_perturbed(
    task: str | dict[str, Any],
    method: str,
    clean_dir: str | Path,
    perturbed_dirs: Mapping[str, str | Path],
    scans: str | Path,
    folds: str | Path,
    out: str | Path,
    *,
    measures: str | Path | None = None,
    site_column: str = "site",
    seeds: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> None:
    """Write how the scores of one method on one task change when the tested scans are changed.

    Parameters
    ----------
    task, method, scans, folds, measures, site_column, seeds, n_bootstrap, seed
        As of `anatcl.evaluate.steps.task.run_task`.
    clean_dir : path
        Embeddings of the method.
    perturbed_dirs : mapping of str to path
        By perturbation: ``fold-{k}/embeddings.npz`` and ``seed-{s}/fold-{k}/embeddings.npz`` of the same encoders on
        the changed scans of the people of fold k.
    out : path
        Table to write, `COLUMNS`: one row per perturbation.
    """
    wanted = load_task(task).at(site_column)
    table = scans_table(scans, measures)
    clean = load_embeddings(clean_dir, table["scan"], seeds)
    changed = {kind: load_changed(folder, clean, table["scan"]) for kind, folder in perturbed_dirs.items()}
    write_tsv(out, perturbed_rows(wanted, method, table, clean, changed, read_tsv(folds), n_bootstrap, seed), FLOATS)


def load_changed(folder: str | Path, clean: Features, scans: pd.Series) -> Features:
    """Embeddings of changed scans, the same encoders as `clean`; NaN for whom an encoder was not asked."""
    places = seed_folders(Path(folder))
    if len(places) < 1 + len(clean.other_seeds):
        raise InputError(
            f"{len(places)} seeds of changed scans, {1 + len(clean.other_seeds)} of clean ones.",
            folder,
            "Embed the changed scans with every seed, or give --seeds.",
        )
    first, *others = [
        Features(
            {k: aligned_embeddings(place / f"fold-{k}" / "embeddings.npz", scans) for k in one.matrices},
            one.present,
            one.names,
        )
        for place, one in zip(places, [clean, *clean.other_seeds], strict=False)
    ]
    return dataclasses.replace(first, other_seeds=tuple(others))


def perturbed_rows(
    task: Task,
    method: str,
    table: pd.DataFrame,
    clean: Features,
    changed: Mapping[str, Features],
    folds: pd.DataFrame,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Rows of `run_perturbed`."""
    try:
        replicates, first = perturbed_replicates(task, table, clean, changed, folds, n_bootstrap, seed)
    except Refused as refusal:
        log.warning("%s, %s: %s", method, task.name, refusal.reason)
        refused = {"method": method, "task": task.name, "flags": refusal.reason}
        return pd.DataFrame([refused], columns=COLUMNS)
    metric, n = metric_of(task), units.effective_n(first, task.kind, metric_of(task))
    counts = {"n": first["scan"].nunique(), "n_participants": first["participant_id"].nunique()}
    about = {"method": method, "task": task.name, "metric": metric, **counts, "flags": ""}
    rows = []
    for kind in changed:
        found = change(replicates[CLEAN], replicates[kind])
        test = compare.paired(found, n, first["fold"].nunique())
        values = {"clean": replicates[CLEAN].values[0], "value": replicates[kind].values[0]}
        moved = {"change": test["difference"], "low": test["low"], "high": test["high"], "p": test["p"]}
        rows.append(about | {"perturbation": kind} | values | moved)
    return pd.DataFrame(rows, columns=COLUMNS)


def metric_of(task: Task) -> str:
    """The metric whose change is reported."""
    return compare.COMPARED[task.kind][0]


def perturbed_replicates(
    task: Task,
    table: pd.DataFrame,
    clean: Features,
    changed: Mapping[str, Features],
    folds: pd.DataFrame,
    n_bootstrap: int,
    seed: int,
) -> tuple[dict[str, Replicates], pd.DataFrame]:
    """Replicates of the score on clean scans and on each kind of changed ones, and a run's predictions.

    Equal people give equal resamples, so that replicates of different methods can be subtracted.

    Raises
    ------
    Refused
        The cohort cannot answer the task.
    """
    problem, clean = join(task, table, clean)
    where = pd.Index(table["scan"]).get_indexer(problem.rows["scan"])
    others = {kind: found.take(where) for kind, found in changed.items()}
    ((name, splits),) = make_splits(load_design("folds"), problem, folds, list(clean.matrices), seed).items()
    cross_validation.check_answerable(problem, splits)
    members = [[one, *(o.other_seeds[i - 1] if i else o for o in others.values())] for i, one in enumerate(_all(clean))]
    tables = [_predicted(problem, variants, splits, seed) for variants in members]
    found = {}
    for i, kind in enumerate([CLEAN, *others]):
        parts = [t[i].assign(seed_id=str(s)) if len(tables) > 1 else t[i] for s, t in enumerate(tables)]
        labelled = units.label(pd.concat(parts, ignore_index=True), problem, name, "site")
        people, counts = bootstrap.draw(units.of(labelled), n_bootstrap, seed)
        found[kind] = bootstrap.replicate_draws(
            labelled, lambda run, w: metrics.evaluate(run, task.kind, w, (metric_of(task),)), people, counts
        )[metric_of(task)]
    return found, units.label(tables[0][0], problem, name, "site")


def _all(features: Features) -> list[Features]:
    return [features, *features.other_seeds]


def _predicted(problem: Problem, variants: Sequence[Features], splits: list[Split], seed: int) -> list[pd.DataFrame]:
    """Predictions of all folds by variant."""
    parts = [cross_validation.predict_variants(problem, variants, split, seed) for split in splits]
    return [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]


def change(clean: Replicates, changed: Replicates) -> Replicates:
    """Changed less clean, person by person and seed by seed.

    The encoder is the same in both, so that its seed is no source of chance between them.
    """
    draws = {level: changed.draws[level] - clean.draws[level] for level in clean.draws}
    return Replicates(changed.values - clean.values, draws, clean.pool)
