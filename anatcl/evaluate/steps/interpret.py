"""Attribution maps from files to files: of an encoder in template space, and of the measures baseline by region.

What is interpreted is the very probe that the tables hold for the fold.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_tsv, write_tsv
from anatcl.evaluate.data.features import Features, load_embeddings_of, load_table
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes import cross_validation
from anatcl.evaluate.probes.attribution import integrated_gradients, linear_attributions, spread
from anatcl.evaluate.probes.probe import Probe, Readout, maker
from anatcl.evaluate.steps.inputs import join, scans_table
from anatcl.spec.protocol import load_design
from anatcl.spec.task import Task, load_task

log = logging.getLogger(__name__)
# An attribution that misses the predicted difference by more than this share needs more steps.
LARGEST_GAP = 0.1
MEASURES = ("thickness", "thicknessstd", "volume", "area")
REGION_COLUMNS = ["region", "attribution", *MEASURES, "people", "unit"]


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Files that the evaluation of a task reads, and its seed: they give the tables' probes again.

    Parameters
    ----------
    scans : path
        scans.tsv.
    folds : path
        folds.tsv.
    measures : path, optional
        measures.tsv: its global volumes join the scans.
    site_column : str
        Column of the site where the task names none.
    seed : int
        Of the inner folds.
    """

    scans: str | Path
    folds: str | Path
    measures: str | Path | None = None
    site_column: str = "site"
    seed: int = 0

    def task(self, task: str | dict[str, Any]) -> Task:
        """The task, which must have one direction."""
        wanted = load_task(task).at(self.site_column)
        if wanted.kind == "multiclass":
            raise InputError(
                f"task {wanted.name} is multiclass: no map.", remedy="Interpret a binary task or a regression."
            )
        return wanted

    def table(self) -> pd.DataFrame:
        """The scans with their global volumes."""
        return scans_table(self.scans, self.measures)


@dataclasses.dataclass(frozen=True)
class Fold:
    """A task's rows in one fold of pretraining, and the probe that the tables have for it.

    Parameters
    ----------
    problem : Problem of n rows
    x : ndarray of shape (n, d)
        Raw features.
    split : Split
        Rows that the probe was fitted on, and rows that it never saw.
    probe : Probe
    """

    problem: Problem
    x: np.ndarray
    split: Split
    probe: Probe

    @property
    def unit(self) -> str:
        """Unit of the prediction."""
        task = self.problem.task
        return "log odds" if task.kind == "binary" else task.unit or ("years" if task.target == "age" else "")

    def readout(self, rows: np.ndarray) -> Readout:
        """The prediction for some rows as a linear function of their raw features."""
        return self.probe.readout(self.x[rows], self.problem.rows.iloc[rows])


def folds_of(
    task: Task, table: pd.DataFrame, features: Features, folds: pd.DataFrame, seed: int
) -> tuple[Problem, Features, dict[int, Split]]:
    """The task's rows with their features, and its splits by pretraining fold, as the evaluation has them.

    Raises
    ------
    Refused
        The cohort cannot answer the task.
    """
    problem, features = join(task, table, features)
    ((_, splits),) = make_splits(load_design("folds"), problem, folds, list(features.matrices), seed).items()
    return problem, features, {split.fold: split for split in splits}


def fit_fold(problem: Problem, features: Features, split: Split, seed: int) -> Fold:
    """Fit the probe of one fold again.

    Raises
    ------
    Refused
        The fold's training part cannot answer the task.
    """
    cross_validation.check_answerable(problem, [split])
    x = features.of(split.fold)
    probe = cross_validation.fit_probe(problem, x, problem.within(split.train).y, split, seed, maker(problem.task))
    return Fold(problem, x, split, probe)


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much work a map may be.

    Parameters
    ----------
    people : int
        Tested scans to average over, evenly spaced in the table.
    steps : int
        Points on the path from the average to a person.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads : int
        Processor threads.
    """

    people: int = 24
    steps: int = 16
    device: str = "auto"
    threads: int = 1


def interpret_encoder(
    task: str | dict[str, Any],
    cohort: Cohort,
    arrays: str | Path,
    encoder: str | Path,
    embeddings: str | Path,
    out: str | Path,
    effort: Effort | None = None,
) -> None:
    """Write the mean absolute attribution over participants whom neither encoder nor probe has seen.

    The file holds ``attribution`` (unit of the prediction per cm3) and ``average`` (mean training volume), both
    (X, Y, Z), ``affine``, ``people``, ``unit``, and ``gap`` (share of the predicted differences that they miss);
    or only ``skipped``, the reason, where the cohort cannot answer the task.
    """
    from anatcl.pretrain.arrays import open_arrays
    from anatcl.pretrain.bundle import load_encoder

    packed, table, wanted = open_arrays(arrays), cohort.table(), cohort.task(task)
    model, about = load_encoder(encoder, packed)
    try:
        features = load_embeddings_of(embeddings, table["scan"])
        problem, features, splits = folds_of(wanted, table, features, read_tsv(cohort.folds), cohort.seed)
        if int(about["fold"]) not in splits:
            raise Refused(f"fold {about['fold']} tests no participant of task {wanted.name}.", problem)
        fold = fit_fold(problem, features, splits[int(about["fold"])], cohort.seed)
    except Refused as refusal:
        log.warning("no map: %s", refusal.reason)
        _save(out, skipped=refusal.reason)
        return
    place = pd.Index(packed.rows["scan"]).get_indexer(fold.problem.rows["scan"])
    average = mean_volume(packed, place[fold.split.train])
    effort = effort or Effort()
    tested = fold.split.test
    chosen = tested[np.linspace(0, len(tested) - 1, min(effort.people, len(tested))).round().astype(int)]
    weights = fold.readout(chosen).weights
    density, gap = _mean_attribution(model, weights, packed, average, place[chosen], effort)
    affine = np.asarray(packed.meta["affine"], float)
    _save(out, attribution=density, average=average, affine=affine, people=len(chosen), unit=fold.unit, gap=gap)


def _mean_attribution(
    model: Any, weights: np.ndarray, packed: Any, average: np.ndarray, chosen: np.ndarray, effort: Effort
) -> tuple[np.ndarray, np.float64]:
    """Mean absolute attribution of some packed volumes, each by its own weights, unit per cm3, and the mean gap."""
    from anatcl.pretrain.device import applied, resolve

    with applied(resolve(effort.device, precision="fp32", threads=effort.threads)) as place:
        return _attributed(model, weights, packed, average, chosen, effort.steps, place.device)


def _attributed(
    model: Any, weights: np.ndarray, packed: Any, average: np.ndarray, chosen: np.ndarray, steps: int, where: Any
) -> tuple[np.ndarray, np.float64]:
    import torch

    model, centre = model.to(where), torch.from_numpy(average).to(where)
    affine, total, gaps = np.asarray(packed.meta["affine"], float), np.zeros_like(average), []
    for index, own in tqdm(list(zip(chosen, weights, strict=True)), desc="attributions", disable=None):
        x = torch.from_numpy(packed.true(int(index))).to(where)
        w = torch.from_numpy(own.astype(np.float32)).to(where)
        found = integrated_gradients(model.embed, x, centre, w, steps)
        gaps.append(_gap(model, x, centre, w, found))
        total += np.abs(spread(found.cpu().numpy(), affine))
    missed, moved = np.sum(gaps, axis=0)
    gap = missed / max(moved, 1e-6)
    if gap > LARGEST_GAP:
        log.warning("attributions miss the predicted differences by %.0f %%: use more steps.", 100 * gap)
    density = total / len(chosen) / abs(np.linalg.det(affine[:3, :3])) * 1000
    return density.astype(np.float32), np.float64(gap)


def _save(out: str | Path, **arrays: Any) -> None:
    with atomic_path(out) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)


def mean_volume(packed: Any, rows: np.ndarray) -> np.ndarray:
    """Mean of some packed volumes, float32, without holding them all in memory."""
    total = np.zeros(packed.shape, np.float64)
    for index in rows:
        total += packed.true(int(index))
    return (total / len(rows)).astype(np.float32)


def _gap(model: Any, x: Any, average: Any, weights: Any, attribution: Any) -> tuple[float, float]:
    """How far attributions are from adding up to the predicted difference from the average, and that difference."""
    import torch

    with torch.inference_mode():
        ends = model.embed(torch.stack([average, x])[:, None]) @ weights
    difference = float(ends[1] - ends[0])
    return abs(float(attribution.sum()) - difference), abs(difference)


def interpret_measures(task: str | dict[str, Any], cohort: Cohort, out: str | Path) -> None:
    """Write the mean absolute attribution of each region in the measures baseline, over all folds' tested participants.

    Columns ``region``, ``attribution`` (unit of the prediction; all measures of a region together), ``thickness``,
    ``thicknessstd``, ``volume``, ``area`` (each alone), ``people``, ``unit``; no rows where no fold can answer the
    task.
    """
    if cohort.measures is None:
        raise InputError("the measures baseline needs the measures.", remedy="Give --measures.")
    table = cohort.table()
    features = load_table(cohort.measures, "regional-measures", table)
    found, unit = [], ""
    try:
        problem, features, splits = folds_of(cohort.task(task), table, features, read_tsv(cohort.folds), cohort.seed)
    except Refused as refusal:
        log.warning("no regions: %s", refusal.reason)
        splits = {}
    for number, split in splits.items():
        try:
            fold = fit_fold(problem, features, split, cohort.seed)
        except Refused as refusal:
            log.warning("fold %d left out: %s", number, refusal.reason)
            continue
        average = column_means(fold.x[split.train])
        found.append(linear_attributions(fold.readout(split.test), fold.x[split.test], average))
        unit = fold.unit
    rows = _by_region(np.vstack(found), features.names, unit) if found else pd.DataFrame(columns=REGION_COLUMNS)
    write_tsv(out, rows)


def column_means(x: np.ndarray) -> np.ndarray:
    """Means (d,) of the values that are known; NaN where none is."""
    known = np.isfinite(x)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, x, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def _by_region(attributions: np.ndarray, columns: list[str], unit: str) -> pd.DataFrame:
    names = [tuple(column.split("_", 1)) for column in columns]
    each = pd.DataFrame(attributions, columns=pd.MultiIndex.from_tuples(names, names=["measure", "region"]))
    whole = each.T.groupby(level="region").sum().T.abs().mean()
    parts = each.abs().mean().unstack("measure").reindex(columns=list(MEASURES))
    table = pd.concat([whole.rename("attribution"), parts], axis=1).rename_axis("region").reset_index()
    return table.assign(people=len(each), unit=unit).sort_values("region", kind="stable")
