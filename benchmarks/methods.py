r"""Pretraining methods on one cohort, probed frozen, with intervals.

`simulate --arrays` makes 4 mm grey-matter maps and measures of 400 people (444 scans), whose truth is known; every
method trains a small encoder for the same bounded number of steps without the people of each of five folds; ridge and
logistic probes on the frozen embeddings, fitted on the other folds, predict age and diagnosis of the fold. Beside the
scores stand the paired differences from `untrained` and how sharp each kernel is. Volumes are averaged over blocks of
`--block` voxels first, so that the whole takes minutes on one core. Finished encoders are kept: an interrupted run goes
on. `--arrays` takes a real cohort's packed arrays instead (with `--measures`, `--tasks`).

Run from the root of the repository::

    python -m benchmarks.methods --folder scratch/methods [--out benchmarks/results/methods]

writes ``<out>.json`` and ``<out>.md``; the last line of the output is one JSON object. A finished workflow's scans,
here at 2 mm::

    python -m anatcl pretrain pack --scans results/bids/scans.tsv --measures results/measures/measures.tsv \
        --maps-dir results/preprocess --template MNI152NLin2009aSym --voxel-mm 2 --out-dir scratch/ixi/arrays
    python -m benchmarks.methods --folder scratch/ixi --arrays scratch/ixi/arrays \
        --measures results/measures/measures.tsv --tasks age sex --block 1 --batch 16 --steps 100 \
        --threads 2 --methods anatcl-global y-aware age-regression
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, read_tsv, write_json, write_text, write_tsv
from anatcl.base.provenance import hardware, peak_memory_mb, versions
from anatcl.evaluate.data.features import Features, load_embeddings, load_table
from anatcl.evaluate.statistics import compare
from anatcl.evaluate.steps.embed import embed
from anatcl.evaluate.steps.task import Settings, evaluate_task, scans_table
from anatcl.pretrain.arrays import PackedArrays, array_meta, open_arrays, write_arrays
from anatcl.pretrain.folds import make_folds
from anatcl.pretrain.methods import METHODS
from anatcl.pretrain.train import Inputs, train
from anatcl.spec.task import load_task
from anatcl.spec.training import Options

log = logging.getLogger("benchmarks.methods")
METRICS = {"regression": ("mae", -1, 2), "binary": ("roc_auc", 1, 3)}  # metric, sign of better, digits
FOLDS, SEED = 5, 0
PAIRS = (("anatcl-z", "anatcl-global"), ("anatcl-z", "anatcl-local"), ("anatcl-global", "anatcl-local"))


def cohort(args: argparse.Namespace) -> None:
    """Take or simulate a cohort, average over blocks of voxels, deal the folds; sets where its parts are."""
    if not args.arrays:
        from anatcl.simulate.arrays import simulate_arrays

        args.arrays = args.folder / "simulated"
        args.measures = args.arrays / "measures.tsv"
        simulate_arrays(args.arrays, args.people, SEED, severity=args.severity)
    found = open_arrays(args.arrays)
    if args.block == 1:
        args.packed = args.arrays
    elif not ((packed := args.folder / "arrays") / "arrays.json").is_file():
        shape = [n // args.block for n in found.shape]
        affine = np.array(found.meta["affine"], dtype=float)
        affine[:3, 3] += (args.block - 1) / 2 * affine[:3, :3].sum(1)
        affine[:3, :3] *= args.block
        meta = array_meta(tuple(shape), affine, "vbm", [[0, n] for n in shape])
        write_arrays(packed, (blocks(found.true(i), args.block) for i in range(len(found.rows))), found.rows, meta)
    write_tsv(args.folder / "folds.tsv", make_folds(found.rows, FOLDS, SEED))


def blocks(volume: np.ndarray, block: int) -> np.ndarray:
    """Means over cubes of `block` voxels, (X, Y, Z) to (X // block, ...); a rest at the end is cut off."""
    x, y, z = (n // block for n in volume.shape)
    cut = volume[: x * block, : y * block, : z * block]
    return cut.reshape(x, block, y, block, z, block).mean((1, 3, 5))


def pretrain(args: argparse.Namespace, method: str, fold: int, options: Options) -> float:
    """Train and embed unless that is done; return CPU seconds."""
    out = args.folder / method / f"fold-{fold}"
    done = out / "seconds.json"
    if done.is_file():
        return float(read_json(done))
    start = time.process_time()
    inputs = Inputs(args.packed, args.folder / "folds.tsv", fold, method, out, args.measures)
    train(inputs, options, "cpu", "fp32", threads=args.threads)
    embed(args.packed, out, out / "embeddings.npz", device="cpu", threads=args.threads)
    (out / "last.ckpt").unlink(missing_ok=True)
    write_json(done, round(time.process_time() - start, 1))
    return float(read_json(done))


def features(args: argparse.Namespace, table: pd.DataFrame, methods: list[str]) -> dict[str, Features]:
    """What the probes see, by method; the rivals that need no encoder too."""
    found = {m: load_embeddings(args.folder / m, table["scan"]) for m in methods}
    found["regional-measures"] = load_table(args.measures, "regional-measures", table)
    found["voxels"] = voxels(open_arrays(args.packed))
    return found


def voxels(arrays: PackedArrays) -> Features:
    """The packed volumes themselves, by their principal components (unsupervised): what a linear probe can reach."""
    flat = np.stack([arrays.true(i).ravel() for i in range(len(arrays.rows))])
    flat = flat - flat.mean(0)
    left, values, _ = np.linalg.svd(flat, full_matrices=False)
    scores = (left * values)[:, :200]
    return Features({-1: scores.astype(float)}, np.ones(len(flat), bool), [f"pc{i}" for i in range(scores.shape[1])])


def score(args: argparse.Namespace, methods: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of all methods and the paired comparisons of each task."""
    table = scans_table(args.packed / "rows.tsv", args.measures)
    folds = read_tsv(args.folder / "folds.tsv")
    given = features(args, table, methods)
    scores, predictions = [], []
    for task in map(load_task, args.tasks):
        for method, what in given.items():
            settings = Settings(seed=SEED, shuffles=0, pretrained=args.folder / method if method in methods else None)
            found, rows = evaluate_task(task, method, table, what, folds, settings)
            predictions.append(found)
            scores.append(rows)
            log.info("probed %s on %s", method, task.name)
    kinds = {name: load_task(name).kind for name in args.tasks}
    return pd.concat(scores), compare.compare_all(predictions, kinds, 1000, SEED)


def against(comparisons: pd.DataFrame, task: str, a: str, b: str) -> dict[str, float]:
    """Difference a - b in the task's metric, with interval and p."""
    metric = METRICS[load_task(task).kind][0]
    rows = comparisons[(comparisons["task"] == task) & (comparisons["metric"] == metric)]
    one = rows[(rows["method_a"] == a) & (rows["method_b"] == b)]
    sign = 1 if len(one) else -1
    row = (one if len(one) else rows[(rows["method_a"] == b) & (rows["method_b"] == a)]).iloc[0]
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return {"difference": sign * row["difference"], "low": low, "high": high, "p": row["p"], "p_holm": row["p_holm"]}


def kernel_gradient(args: argparse.Namespace, method: str) -> dict[str, float]:
    """How much of the anatomical term's gradient depends on who is who.

    Batches of 32 from the training part of fold 0, random embeddings: the share is the norm of the difference between
    the gradient under the method's weights and under equal weights, relative to the latter's norm.
    """
    import torch

    from anatcl.losses.base import soft_info_nce
    from anatcl.pretrain.cohort import covariates, load_cohort, training_part
    from anatcl.pretrain.labels import imputed
    from anatcl.pretrain.methods import find_method

    loss = find_method(method).loss(Options())  # type: ignore[misc]
    whole = load_cohort(open_arrays(args.packed), args.measures)
    part = imputed(training_part(whole, read_tsv(args.folder / "folds.tsv"), 0, loss.needs))
    raw = {"age": part.age, "measures": part.measures, "covariates": covariates(part)}
    targets = loss.fit({k: torch.from_numpy(v) for k, v in raw.items()})
    random = torch.Generator().manual_seed(SEED)
    shares = []
    for _ in range(20):
        ids = torch.randperm(len(part), generator=random)[:32]
        w = loss.weights({k: t[ids] for k, t in targets.items()})["anatomy"].double()
        z = torch.nn.functional.normalize(torch.randn(32, 128, generator=random, dtype=torch.float64), dim=1)
        z.requires_grad_()
        gradients = []
        for weights in (w, torch.ones_like(w)):
            value = soft_info_nce(z, {"w": weights}, 0.1, copies=2)["w"]
            gradients.append(torch.autograd.grad(value, z)[0])
        shares.append(float((gradients[0] - gradients[1]).norm() / gradients[1].norm()))
    return {"gradient_share": float(np.mean(shares))}


def summary(
    args: argparse.Namespace, methods: list[str], scores: pd.DataFrame, comparisons: pd.DataFrame
) -> list[dict[str, Any]]:
    """One row per method."""
    rows = []
    for method in dict.fromkeys(scores["method"]):
        row: dict[str, Any] = {"method": method}
        for task in args.tasks:
            metric, sign, _ = METRICS[load_task(task).kind]
            one = scores[(scores["method"] == method) & (scores["task"] == task) & (scores["metric"] == metric)].iloc[0]
            row[task] = {k: float(one[k]) for k in ("value", "low", "high")}
            if method != "untrained":
                found = against(comparisons, task, method, "untrained")
                better = bool(sign * found["difference"] > 0)
                row[task] |= {"from_untrained": found, "better": better, "clearly": bool(better and found["p"] < 0.05)}
        if method in methods:
            row |= about_training(args, method)
        rows.append(row)
    return rows


def about_training(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """Kernels, first and last loss and CPU seconds of a method, over the folds."""
    folders = sorted((args.folder / method).glob("fold-*"))
    models = [read_json(f / "model.json") for f in folders]
    kernels = {k: [m["weights_perplexity"][k] for m in models] for k in models[0]["weights_perplexity"]}
    found: dict[str, Any] = {"perplexity": {k: float(np.mean(v)) for k, v in kernels.items()}}
    found["cpu_seconds_per_fold"] = float(np.mean([read_json(f / "seconds.json") for f in folders]))
    losses = [read_tsv(f / "history.tsv")["loss"] for f in folders]
    if all(len(loss) for loss in losses):
        found["loss"] = [float(np.mean([loss.iloc[i] for loss in losses])) for i in (0, -1)]
    return found | (kernel_gradient(args, method) if method.startswith("anatcl-") else {})


def interval(found: dict[str, float], digits: int) -> str:
    """Value and interval as text."""
    key = "value" if "value" in found else "difference"
    return f"{found[key]:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def markdown(rows: list[dict[str, Any]], tasks: list[str], comparisons: pd.DataFrame, about: str) -> str:
    """The table, and the comparison of the AnatCL kernels."""
    kinds = {t: METRICS[load_task(t).kind] for t in tasks}
    heads = [h for t, (metric, *_) in kinds.items() for h in (f"{t}: {metric}", "from untrained")]
    lines = [about, "", "| method | " + " | ".join([*heads, "first and last loss", "perplexity of weights"]) + " |"]
    lines += ["|---" * (len(heads) + 3) + "|"]
    for row in rows:
        cells = [row["method"]]
        for task, (*_, digits) in kinds.items():
            cells.append(interval(row[task], digits))
            found = row[task].get("from_untrained")
            cells.append(interval(found, digits) + (" *" if row[task]["clearly"] else "") if found else "")
        cells.append(" ".join(f"{v:.2f}" for v in row.get("loss", [])))
        cells.append(", ".join(f"{k} {v:.4f}" for k, v in row.get("perplexity", {}).items()))
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "`*`: better than `untrained`, p < 0.05 (paired, not corrected for the number of methods).", ""]
    shares = {r["method"]: r["gradient_share"] for r in rows if "gradient_share" in r}
    if shares:
        words = ", ".join(f"{m} {v:.4f}" for m, v in shares.items())
        lines += ["Share of the anatomical term's gradient that depends on who is who (0: equal weights do the same): "]
        lines[-1] += words + "."
    pairs = [p for p in PAIRS if set(p) <= {r["method"] for r in rows}]
    if pairs:
        lines += ["", "| pair | " + " | ".join(f"{t}: {kinds[t][0]} | p" for t in tasks) + " |"]
        lines += ["|---" * (1 + 2 * len(tasks)) + "|"]
    for a, b in pairs:
        cells = [f"{a} - {b}"]
        for task, (*_, digits) in kinds.items():
            found = against(comparisons, task, a, b)
            cells += [interval(found, digits), f"{found['p']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="working folder; finished encoders in it are used")
    parser.add_argument("--arrays", type=Path, help="packed arrays of a real cohort, instead of simulated people")
    parser.add_argument("--measures", type=Path, help="measures.tsv of that cohort")
    parser.add_argument("--tasks", nargs="+", default=["age", "diagnosis"], help="regression and binary tasks")
    parser.add_argument("--people", type=int, default=400, help="simulated people")
    parser.add_argument("--severity", type=float, default=0.18, help="of simulated patients, 0 to 1")
    parser.add_argument("--block", type=int, default=2, help="voxels averaged along each axis")
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of each encoder")
    parser.add_argument("--batch", type=int, default=32, help="subjects in a batch")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--encoder", default="resnet-tiny")
    parser.add_argument("--options", default="{}", help="JSON of further options of the training")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="which methods (untrained always)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="name of the result files, without suffix")
    args = parser.parse_args()
    args.packed = args.folder / "arrays"
    return args


def main() -> None:
    """Train, probe, write."""
    args = arguments()
    given = ("tasks", "block", "steps", "batch", "learning_rate", "encoder", "options")
    simulated = () if args.arrays else ("people", "severity")
    words = {n: getattr(args, n) for n in (*simulated, *given)}
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    methods = ["untrained", *(m for m in args.methods if m != "untrained")]
    cohort(args)
    settings = {"encoder": args.encoder, "epochs": 10**6, "batch_size": args.batch, "max_steps": args.steps}
    options = Options.parse(settings | {"learning_rate": args.learning_rate} | json.loads(args.options))
    seconds = 0.0
    for fold in range(FOLDS):
        for method in methods:
            spent = pretrain(args, method, fold, options)
            seconds += spent
            log.info("%s, fold %d: %.0f CPU seconds", method, fold, spent)
    scores, comparisons = score(args, methods)
    rows = summary(args, methods, scores, comparisons)
    packed = open_arrays(args.packed)
    shape, people = "x".join(map(str, packed.shape)), packed.rows["participant_id"].nunique()
    scans = f"{people} people, {len(packed.rows)} scans"
    about = (
        f"`python -m benchmarks.methods` with {json.dumps(words)}: {scans} of {shape} "
        f"voxels of {packed.meta['voxel_mm']:g} mm, {FOLDS} folds, {args.steps} steps of {args.batch} subjects, "
        f"{seconds / 60:.0f} minutes of processor time for pretraining. 95 % intervals by participant; differences are "
        "paired. Rivals without an encoder: regional measures, and the principal components of the voxels."
    )
    text = markdown(rows, args.tasks, comparisons, about)
    result = {"options": words, "cpu_minutes": round(seconds / 60, 1), "rows": rows, "peak_mb": peak_memory_mb()}
    if args.out:
        write_json(args.out.with_suffix(".json"), {**result, "hardware": hardware(), "versions": versions()})
        write_text(args.out.with_suffix(".md"), text)
    print(text)
    better = {task: [r["method"] for r in rows if r[task].get("better")] for task in args.tasks}
    print(json.dumps({"cpu_minutes": result["cpu_minutes"], "better_than_untrained": better}))


if __name__ == "__main__":
    main()
