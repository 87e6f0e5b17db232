"""Attribution maps from files to files: of an encoder in template space, and of the measures baseline by region."""

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
from anatcl.evaluate.data.problem import Problem, Refused, make_problem
from anatcl.evaluate.probes.attribution import Readout, fit_readout, integrated_gradients, linear_attributions, spread
from anatcl.measures.age_effects import MEASURES, regional
from anatcl.spec.task import load_task

log = logging.getLogger(__name__)
# An attribution that misses the predicted difference by more than this share needs more steps.
LARGEST_GAP = 0.1
REGION_COLUMNS = ["region", "attribution", "thickness", "volume", "area", "people", "unit"]


@dataclasses.dataclass(frozen=True)
class Part:
    """The rows of a task, in those that the probe is fitted on and those that it never sees.

    Parameters
    ----------
    problem : Problem
        n rows with their labels.
    tested : ndarray of shape (n,), bool
        Rows of the fold's people.
    """

    problem: Problem
    tested: np.ndarray

    def readout(self, features: np.ndarray, seed: int) -> Readout:
        """The evaluation's probe, fitted on the rows that are not tested; `features` (n, d) has a row for each."""
        problem, train = self.problem, ~self.tested
        unit = problem.task.unit or ("years" if problem.task.target == "age" else "")
        return fit_readout(features[train], problem.y[train], problem.groups[train], problem.task.kind, unit, seed)


def problem_of(task: str, rows: pd.DataFrame, folds: str | Path, fold: int) -> Part:
    """The task's rows and which of them the fold tests.

    Raises
    ------
    InputError
        The task is multiclass (it has no single direction).
    Refused
        The cohort or the fold cannot answer the task.
    """
    wanted = load_task(task)
    if wanted.kind == "multiclass":
        raise InputError(
            f"task {wanted.name} is multiclass: no map.", remedy="Interpret a binary task or a regression."
        )
    problem = make_problem(wanted, rows)
    table = read_tsv(folds).drop_duplicates("participant_id").set_index("participant_id")["fold"]
    tested = problem.rows["participant_id"].map(table).to_numpy() == fold
    if not tested.any() or tested.all():
        raise Refused(f"fold {fold} holds none or all of the people of task {wanted.name}.", problem)
    if wanted.kind == "binary" and len(np.unique(problem.y[~tested])) < 2:
        raise Refused(f"outside fold {fold}, all people of task {wanted.name} are of one class.", problem)
    return Part(problem, tested)


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
    task: str,
    arrays: str | Path,
    encoder: str | Path,
    embeddings: str | Path,
    folds: str | Path,
    out: str | Path,
    *,
    effort: Effort | None = None,
    seed: int = 0,
) -> None:
    """Write the mean absolute attribution over people whom neither encoder nor probe has seen.

    The file holds ``attribution`` (unit of the prediction per cm3) and ``average`` (mean training volume), both
    (X, Y, Z), ``affine``, ``people``, ``unit``, and ``gap`` (share of the predicted differences that they miss);
    or only ``skipped``, the reason, where the cohort cannot answer the task.
    """
    from anatcl.pretrain.arrays import open_arrays
    from anatcl.pretrain.bundle import load_encoder

    effort = effort or Effort()
    packed = open_arrays(arrays)
    model, about = load_encoder(encoder, packed)
    try:
        part = problem_of(task, packed.rows, folds, int(about["fold"]))
    except Refused as refusal:
        log.warning("no map: %s", refusal.reason)
        _save(out, skipped=refusal.reason)
        return
    scans = part.problem.rows["scan"]
    place = pd.Index(packed.rows["scan"]).get_indexer(scans)
    with np.load(embeddings, allow_pickle=False) as found:
        features = found["embedding"][pd.Index(found["scan"]).get_indexer(scans)].astype(float)
    readout = part.readout(features, seed)
    average = mean_volume(packed, place[~part.tested])
    tested = place[part.tested]
    chosen = tested[np.linspace(0, len(tested) - 1, min(effort.people, len(tested))).round().astype(int)]
    density, gap = _mean_attribution(model, readout, packed, average, chosen, effort)
    affine = np.asarray(packed.meta["affine"], float)
    _save(out, attribution=density, average=average, affine=affine, people=len(chosen), unit=readout.unit, gap=gap)


def _mean_attribution(
    model: Any, readout: Readout, packed: Any, average: np.ndarray, chosen: np.ndarray, effort: Effort
) -> tuple[np.ndarray, np.float64]:
    """Mean absolute attribution of some packed volumes, unit per cm3, and the mean gap."""
    from anatcl.pretrain.device import applied, resolve

    with applied(resolve(effort.device, precision="fp32", threads=effort.threads)) as place:
        return _attributed(model, readout, packed, average, chosen, effort, place.device)


def _attributed(
    model: Any, readout: Readout, packed: Any, average: np.ndarray, chosen: np.ndarray, effort: Effort, where: Any
) -> tuple[np.ndarray, np.float64]:
    import torch

    model = model.to(where)
    weights, centre = (
        torch.from_numpy(readout.weights.astype(np.float32)).to(where),
        torch.from_numpy(average).to(where),
    )
    affine, total, gaps = np.asarray(packed.meta["affine"], float), np.zeros_like(average), []
    for index in tqdm(chosen, desc="attributions", disable=None):
        x = torch.from_numpy(packed.true(int(index))).to(where)
        found = integrated_gradients(model.embed, x, centre, weights, effort.steps)
        gaps.append(_gap(model, x, centre, weights, found))
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


def interpret_measures(
    task: str, scans: str | Path, measures: str | Path, folds: str | Path, out: str | Path, *, seed: int = 0
) -> None:
    """Write the mean absolute attribution of each region in the measures baseline, over all folds' tested people.

    Columns ``region``, ``attribution`` (unit of the prediction; thickness, volume and area of a region together),
    ``thickness``, ``volume``, ``area`` (each alone), ``people``, ``unit``; no rows where no fold can answer the task.
    """
    table = read_tsv(measures)
    rows = read_tsv(scans).merge(table[["scan"]], on="scan")
    names, columns = _region_columns(table)
    values = table.set_index("scan")[columns].apply(pd.to_numeric, errors="coerce")
    found, unit = [], ""
    for fold in sorted(read_tsv(folds)["fold"].unique()):
        try:
            part = problem_of(task, rows, folds, int(fold))
        except Refused as refusal:
            log.warning("fold %d left out: %s", fold, refusal.reason)
            continue
        x = values.loc[part.problem.rows["scan"]].to_numpy(float)
        average = np.nanmean(x[~part.tested], axis=0)
        x = np.where(np.isfinite(x), x, average)
        readout = part.readout(x, seed)
        found.append(linear_attributions(readout, x[part.tested], average))
        unit = readout.unit
    write_tsv(out, _by_region(np.vstack(found), names, unit) if found else pd.DataFrame(columns=REGION_COLUMNS))


def _region_columns(table: pd.DataFrame) -> tuple[list[tuple[str, str]], list[str]]:
    """(measure, region) pairs of the cortical measures that are there, and their columns."""
    pairs = [(measure, str(region)) for measure in MEASURES for region in regional(table, measure)]
    return pairs, [f"{measure}_{region}" for measure, region in pairs]


def _by_region(attributions: np.ndarray, names: list[tuple[str, str]], unit: str) -> pd.DataFrame:
    each = pd.DataFrame(attributions, columns=pd.MultiIndex.from_tuples(names, names=["measure", "region"]))
    whole = each.T.groupby(level="region").sum().T.abs().mean()
    parts = each.abs().mean().unstack("measure").reindex(columns=list(MEASURES))
    table = pd.concat([whole.rename("attribution"), parts], axis=1).rename_axis("region").reset_index()
    return table.assign(people=len(each), unit=unit).sort_values("region", kind="stable")
