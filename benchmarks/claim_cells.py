"""The cells of the claim's test: one encoder trained and asked, or one method scored. See `benchmarks.claim`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import atomic_path, read_json, read_tsv, write_json
from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features, aligned_embeddings, load_table, select_columns
from anatcl.evaluate.statistics import bootstrap, metrics
from anatcl.evaluate.statistics.bootstrap import Replicates
from anatcl.evaluate.statistics.scores import PAIRS
from anatcl.evaluate.steps import decode, perturbed
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.spec.names import PERTURBATIONS, REGIONAL, RIVALS, TISSUE, UNTRAINED
from anatcl.spec.task import Task, load_task

CLEAN = perturbed.CLEAN
TWIN = "-permuted"
# Anatomical methods: the losses and their weights, and the options that differ.
ANATOMICAL: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "anatcl-global": ({"anatcl-global": 1.0}, {}),
    "anatcl-local": ({"anatcl-local": 1.0}, {}),
    "anatcl-global-z": ({"anatcl-global": 1.0}, {"standardise": True}),
    "anatcl-local-z": ({"anatcl-local": 1.0}, {"standardise": True}),
    "anatcl-z": ({"anatcl-z": 1.0}, {}),
    "regress": ({"regress": 1.0}, {}),
    "y-aware-regress": ({"y-aware": 1.0, "regress": 1.0}, {}),
}
ATTEMPT = "regress-longer"
FEW, DRAWS = (16, 64, 256), 3
TABLES = (REGIONAL, TISSUE)
ADJUST = ("age", "sex", "tiv_mm3", "site")
TASKS = {
    "cortical": {"kind": "binary", "target": "diagnosis", "positives": ["patient"], "negatives": ["HC"]},
    "ventricular": {"kind": "binary", "target": "diagnosis", "positives": ["ventricular"], "negatives": ["HC"]},
    "age": {"kind": "regression", "target": "age", "query": "diagnosis == 'HC'"},
}


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is trained and drawn.

    Attributes
    ----------
    steps, batch : int
        Optimiser steps and people in a batch.
    encoder : str
        Network.
    seeds, untrained_seeds : int
        Seeds of trained and of untrained encoders.
    bootstrap : int
        Resamples.
    """

    steps: int = 150
    batch: int = 32
    encoder: str = "resnet-tiny"
    seeds: int = 3
    untrained_seeds: int = 5
    bootstrap: int = 1000


@dataclasses.dataclass(frozen=True)
class Cell:
    """One encoder: method, pooling, seed, and the fold whose people it must not see."""

    method: str
    pooling: str
    seed: int
    fold: int = 0

    def folder(self, root: Path) -> Path:
        """Where it lies."""
        return root / "encoders" / self.pooling / self.method / f"seed-{self.seed}" / f"fold-{self.fold}"

    def options(self, size: Size) -> tuple[str, dict[str, Any]]:
        """The method to train, by a name that the options know, and the options."""
        told: dict[str, Any] = {
            "encoder": size.encoder,
            "batch_size": size.batch,
            "max_steps": size.steps,
            "epochs": 100_000,
            "learning_rate": 1e-3,
            "pooling": self.pooling,
            "seed": self.seed,
        }
        name = self.method.removesuffix(TWIN)
        told |= {"permuted": True} if self.method.endswith(TWIN) else {}
        if name == ATTEMPT:  # a cosine ends with the last epoch, so that epochs are counted by the caller
            told |= {"optimiser": "adamw", "weight_decay": 0.05, "schedule": "cosine", "max_steps": 6 * size.steps}
            return "regress", told
        if name not in ANATOMICAL:
            return name, told
        parts, more = ANATOMICAL[name]
        if list(parts) == [next(iter(parts))] and next(iter(parts.values())) == 1.0:
            return next(iter(parts)), told | more
        return name, told | more | {"joint": {name: parts}}


def train_cell(
    root: Path, cell: Cell, size: Size, threads: int = 1, perturb: bool = True, everybody: bool = False
) -> None:
    """Train one encoder and embed the people whom it has not seen (or all): their scans as they are, and changed."""
    from anatcl.evaluate.steps.embed import embed
    from anatcl.evaluate.steps.rivals import run_rival
    from anatcl.pretrain.train import Inputs, train
    from anatcl.spec.training import Options

    out, folds, measures, arrays = cell.folder(root), root / "folds.tsv", root / "measures.tsv", root / "arrays"
    kinds, start = ["", *(PERTURBATIONS if perturb else ())], time.process_time()
    if cell.method in RIVALS:
        for kind in kinds:
            to = out / f"{kind or CLEAN}.npz"
            run_rival(arrays, folds, cell.fold, cell.method, to, out / "model.json", measures, kind)
    else:
        method, told = cell.options(size)
        if told.get("schedule") == "cosine":
            people = read_tsv(folds)
            batches = -(-int((people["fold"] != cell.fold).sum()) // size.batch)
            told["epochs"] = max(told["max_steps"] // batches, 1)
        inputs = Inputs(arrays, folds, cell.fold, method, out, measures)
        train(inputs, Options.parse(told), "cpu", "fp32", threads=threads)
        for kind in kinds:
            to = out / f"{kind or CLEAN}.npz"
            whom = {} if everybody else {"folds": folds, "fold": cell.fold}
            embed(arrays, out, to, device="cpu", threads=threads, perturb=kind, **whom)
        (out / "last.ckpt").unlink(missing_ok=True)
    write_json(out / "seconds.json", round(time.process_time() - start, 1))


def features_of(root: Path, method: str, pooling: str, kind: str, table: pd.DataFrame, seeds: list[int]) -> Features:
    """Features of tested people, all seeds that are there, by fold; one fold serves everybody."""
    if method in TABLES:
        return load_table(root / "measures.tsv", method, table)
    made = []
    for seed in seeds:
        folder = Cell(method, pooling, seed).folder(root).parent
        files = sorted(folder.glob(f"fold-*/{kind}.npz"))
        parts = {int(f.parent.name.removeprefix("fold-")): aligned_embeddings(f, table["scan"]) for f in files}
        matrices = {-1: parts[0]} if len(parts) == 1 else parts
        width = parts[0].shape[1]
        made.append(Features(matrices, np.ones(len(table), bool), [f"e{i:03d}" for i in range(width)]))
    return dataclasses.replace(made[0], other_seeds=tuple(made[1:]))


def tasks() -> dict[str, Task]:
    """The tasks of data A."""
    groups = {"cortical": "diagnosis", "ventricular": "diagnosis", "age": "brain_age"}
    return {name: load_task({"name": name, "table": groups[name], **told}) for name, told in TASKS.items()}


@dataclasses.dataclass(frozen=True)
class Found:
    """One number of one method with what its comparisons need.

    Attributes
    ----------
    replicates : Replicates
        In the sample and in each resample.
    n : float
        Effective number of units.
    folds : int
        Number of folds.
    lacking : float
        Variance that the bootstrap lacks; NaN where not known.
    """

    replicates: Replicates
    n: float
    folds: int
    lacking: float = float("nan")


def score_cell(root: Path, method: str, pooling: str, seeds: list[int], size: Size) -> None:
    """Every endpoint of one method, its seeds together; written as ``scores/{pooling}/{method}.npz`` and ``.json``."""
    table = read_tsv(root / "tested.tsv")
    clean = features_of(root, method, pooling, CLEAN, table, seeds)
    found: dict[str, Found] = {}
    found["decode"], parts = decoded(root, table, clean, size)
    detail: dict[str, Any] = {"decode": parts, "seeds": len(seeds)}
    if method in TABLES:
        found.pop("decode") if method == REGIONAL else None
        changed: dict[str, Features] = {}
    else:
        changed = {k: features_of(root, method, pooling, k, table, seeds) for k in PERTURBATIONS}
    quarters = read_tsv(root / "quarters.tsv")
    for name, task in tasks().items():
        if task.kind == "binary":
            found[f"auc-{name}"] = site_out(task, method, table, clean, size)
            few = few_labels(task, method, table, clean, quarters, size)
            found[f"few-{name}"] = mean_of(list(few.values()))
            detail[f"few-{name}"] = {str(n): f.replicates.values[0] for n, f in few.items()}
        replicates, first = perturbed.perturbed_replicates(task, table, clean, changed, quarters, size.bootstrap, 0)
        n, folds = units.effective_n(first, task.kind, perturbed.metric_of(task)), first["fold"].nunique()
        if task.kind == "regression":
            found[name] = Found(replicates[CLEAN], n, folds)
        elif changed:
            moves = {k: Found(perturbed.change(replicates[CLEAN], replicates[k]), n, folds) for k in changed}
            found[f"robust-{name}"] = mean_of(list(moves.values()))
            detail[f"robust-{name}"] = {k: m.replicates.values[0] for k, m in moves.items()}
    save(root / "scores" / pooling / method, found, detail)


def decoded(root: Path, table: pd.DataFrame, features: Features, size: Size) -> tuple[Found, dict[str, Any]]:
    """Mean R2 over the cortical measures, and by kind and region."""
    values = read_tsv(root / "decoded.tsv").set_index("scan")
    columns = [c for c in select_columns(values, "all") if "_" in c]
    adjust = [name for name in ADJUST if name in table and table[name].nunique() > 1]
    got = decode.decode(table, features, values[columns].reindex(table["scan"]), read_tsv(root / "people.tsv"), adjust)
    every = np.ones(len(got.columns), bool)
    replicates = decode.replicates(got, every, size.bootstrap, 0)
    point = decode.r2_replicates(got, 0, 0)[:, 0].mean(0)
    return Found(replicates, len(set(got.people)), got.folds), dict(zip(got.columns, point.tolist(), strict=True))


def site_out(task: Task, method: str, table: pd.DataFrame, features: Features, size: Size) -> Found:
    """The main metric with whole sites left out."""
    settings = Settings("leave-site-out", shuffles=0, n_bootstrap=0)
    rows, scores = evaluate_task(task, method, table, features, None, settings)
    return judged(task, rows, scores, size)


def few_labels(
    task: Task, method: str, table: pd.DataFrame, features: Features, quarters: pd.DataFrame, size: Size
) -> dict[int, Found]:
    """The main metric with few labelled people, by their number."""
    design = {"kind": "few-shot", "sizes": list(FEW), "repeats": DRAWS}
    settings = Settings(design, shuffles=0, n_bootstrap=0)
    rows, scores = evaluate_task(task, method, table, features, quarters, settings)
    wanted = {n: f"few-shot-{n}" for n in FEW}
    return {
        n: judged(task, rows[rows["protocol"] == p], scores[scores["protocol"] == p], size)
        for n, p in wanted.items()
        if (rows["protocol"] == p).any()
    }


def judged(task: Task, rows: pd.DataFrame, scores: pd.DataFrame, size: Size) -> Found:
    """Replicates of the main metric of one protocol's predictions."""
    metric = metrics.PRIMARY[task.kind]
    rows = rows.dropna(axis=1, how="all")
    people, counts = bootstrap.draw(units.of(rows), size.bootstrap, 0)
    replicates = bootstrap.replicate_draws(
        rows, lambda run, w: metrics.evaluate(run, task.kind, w, (metric,)), people, counts
    )[metric]
    lacking = scores[scores["metric"] == metric][PAIRS]
    n = units.effective_n(rows, task.kind, metric)
    return Found(replicates, n, rows["fold"].nunique(), float(lacking.iloc[0]) if len(lacking) else np.nan)


def mean_of(found: list[Found]) -> Found:
    """The mean of several numbers of the same people and fits."""
    levels = found[0].replicates.draws
    draws = {level: np.mean([f.replicates.draws[level] for f in found], axis=0) for level in levels}
    values = np.mean([f.replicates.values for f in found], axis=0)
    pool = float(np.mean([f.replicates.pool for f in found]))
    lacking = float(np.mean([f.lacking for f in found]))
    return Found(Replicates(values, draws, pool), min(f.n for f in found), found[0].folds, lacking)


def save(path: Path, found: Mapping[str, Found], detail: Mapping[str, Any]) -> None:
    """Write what was found; the JSON file last."""
    arrays, about = {}, {}
    for name, one in found.items():
        arrays[name] = one.replicates.values
        arrays |= {f"{name} {level}": d for level, d in one.replicates.draws.items()}
        about[name] = {"n": one.n, "folds": one.folds, "lacking": one.lacking, "pool": one.replicates.pool,
                       "levels": list(one.replicates.draws)}  # fmt: skip
    with atomic_path(path.with_suffix(".npz")) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({"found": about, "detail": detail}, indent=1), encoding="utf-8")


def load(path: Path) -> tuple[dict[str, Found], dict[str, Any]]:
    """What `save` wrote."""
    about = read_json(path.with_suffix(".json"))
    found = {}
    with np.load(path.with_suffix(".npz")) as arrays:
        for name, one in about["found"].items():
            draws = {level: arrays[f"{name} {level}"] for level in one["levels"]}
            replicates = Replicates(arrays[name], draws, one["pool"])
            found[name] = Found(replicates, one["n"], one["folds"], one["lacking"])
    return found, about["detail"]


def untrained(method: str) -> bool:
    """Whether nothing is learnt."""
    return method == UNTRAINED
