"""Whether intervals cover and tests reject as often as they claim, in hundreds of simulated cohorts.

Coverage: the estimand of an interval is the mean score of the very models that were fitted, on 20,000 fresh people.
Paired test: two methods see the same people through equally informative features with independent noise, so that
neither is better. Chance: features that know nothing of the label, against shuffled labels.

Run from the root of the repository; the slow tests run the same functions with fixed settings::

    python -m benchmarks.calibration --kind regression --cohorts 400 [--out benchmarks/results/calibration.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from anatcl.base.provenance import hardware, versions
from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem, make_problem
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.probes.probe import Make
from anatcl.evaluate.statistics import bootstrap, compare, metrics, scores
from anatcl.evaluate.steps import control
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task

FRESH = 20_000
FOLDS = 5
METRICS = {
    "regression": ("mae", "r2", "pearson_r"),
    "binary": ("roc_auc", "balanced_accuracy", "average_precision"),
}


class World:
    """People whose age or disease depends on three hidden factors, which `d` noisy features show."""

    def __init__(self, rng: np.random.Generator, kind: str, d: int, signal: float) -> None:
        self.rng, self.kind, self.signal = rng, kind, signal
        self.mixing = rng.normal(size=(3, d)) / np.sqrt(3)

    def people(self, n: int, views: int = 2) -> tuple[list[np.ndarray], np.ndarray]:
        """Features of `n` people, (n, d) for each of `views` methods, and their labels (n,)."""
        hidden = self.rng.normal(size=(n, 3))
        latent = self.signal * hidden.sum(1) + self.rng.normal(size=n)
        y = 50 + 10 * latent if self.kind == "regression" else (latent > 0.5).astype(int)
        shown = hidden @ self.mixing
        return [shown + self.rng.normal(size=shown.shape) for _ in range(views)], y


def problem_of(kind: str, y: np.ndarray) -> Problem:
    """A task over people numbered from zero."""
    names = [f"sub-{i:05d}" for i in range(len(y))]
    spec = {"name": "y", "kind": kind, "target": "y"} | (
        {"positives": [1], "negatives": [0]} if kind == "binary" else {}
    )
    return make_problem(load_task(spec), pd.DataFrame({"scan": names, "participant_id": names, "y": y}))


def features_of(x: np.ndarray) -> Features:
    """One matrix for all folds."""
    return Features({-1: x}, np.ones(len(x), bool), [str(i) for i in range(x.shape[1])])


def dealt(problem: Problem, seed: int, folds: int = FOLDS) -> list[Split]:
    """Stratified folds."""
    design = load_design({"kind": "repeated", "folds": folds})
    return make_splits(design, problem, None, [-1], seed)[f"1x{folds}-fold"]


@contextmanager
def kept_models() -> Iterator[list[Any]]:
    """Collect the models that the protocol makes, in the order of the splits."""
    models: list[Any] = []
    every = protocol.every

    def keep(make: Make) -> Make:
        def made(n_features: int) -> Any:
            models.append(make(n_features))
            return models[-1]

        return made

    def keeping(problem: Problem, kind: str = "linear") -> Callable[[Split], Make]:
        made = every(problem, kind)
        return lambda split: keep(made(split))

    with mock.patch.object(protocol, "every", keeping):
        yield models


def true_scores(models: list[Any], kind: str, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Mean over the fitted models of their scores on fresh people."""
    w, found = np.ones((1, len(y))), []
    for model in models:
        if kind == "regression":
            pred = model.predict(x)[:, 0]
            found.append([metrics.mae(y, pred, w), metrics.r2(y, pred, w), metrics.pearson_r(y, pred, w)])
        else:
            decision = model.decision(x)
            score = decision[:, 1] - decision[:, 0]
            right = metrics.balanced_accuracy(y, decision.argmax(1), w)
            found.append([metrics.roc_auc(y, score, w), right, metrics.average_precision(y, score, w)])
    return dict(zip(METRICS[kind], np.mean(found, axis=0)[:, 0], strict=True))


def one_cohort(seed: int, kind: str, n: int, d: int, signal: float, n_bootstrap: int) -> list[dict[str, Any]]:
    """Intervals of two equally good methods with their true scores, and the paired tests between them."""
    world = World(np.random.default_rng(seed), kind, d, signal)
    x, y = world.people(n)
    fresh_x, fresh_y = world.people(FRESH)
    problem = problem_of(kind, y)
    splits = dealt(problem, seed)
    names, counts = bootstrap.draw(problem.rows["participant_id"].to_numpy(str), n_bootstrap, seed)
    found, missing, rows = [], [], []
    for method in (0, 1):
        with kept_models() as models:
            outcome = protocol.cross_validate(problem, features_of(x[method]), splits, seed)
        truth = true_scores(models, kind, fresh_x[method], fresh_y)
        values = bootstrap.replicate(outcome.predictions, lambda run, w: metrics.evaluate(run, kind, w), names, counts)
        found.append(values)
        missing.append(outcome.missing_variance)
        for m in METRICS[kind]:
            found_m = bootstrap.Replicates(values[m])
            plain, wide = (
                scores.estimate(m, found_m, outcome.predictions, kind, lacking) for lacking in (0.0, missing[-1][m])
            )
            row = {"metric": m, "value": values[m][0], "truth": truth[m], "missing": missing[-1][m]}
            inside = {name: low <= truth[m] <= high for name, (low, high) in (("plain", plain), ("covered", wide))}
            rows.append(row | inside | {"variance": values[m][1:].var()})
    for m in METRICS[kind]:
        both = found[0][m] - found[1][m]
        effective = units.effective_n(outcome.predictions, kind, m)
        test = compare.paired(bootstrap.Replicates(both), effective, FOLDS, missing[0][m] + missing[1][m])
        row = {"metric": m, "p": test["p"], "difference": test["difference"], "difference_variance": both[1:].var()}
        rows.append(row)
    return rows


def run(kind: str, n: int, d: int, signal: float, cohorts: int, n_bootstrap: int = 400) -> dict[str, dict[str, float]]:
    """Coverage, bias in standard deviations, and rejection rate of each metric."""
    table = pd.DataFrame([row for seed in range(cohorts) for row in one_cohort(seed, kind, n, d, signal, n_bootstrap)])
    found = {}
    for m, part in table.groupby("metric", sort=False):
        one, two = part.dropna(subset=["value"]), part.dropna(subset=["difference"])
        error = one["value"] - one["truth"]
        found[str(m)] = {
            "coverage": float(one["covered"].astype(float).mean()),
            "coverage_without_pairs": float(one["plain"].astype(float).mean()),
            "bias_in_sd": float(error.mean() / error.std()),
            "variance_ratio": float(error.var() / (one["variance"] + one["missing"]).mean()),
            "rejected": float((two["p"] < 0.05).mean()),
            "difference_variance_ratio": float(two["difference"].var() / two["difference_variance"].mean()),
        }
    return found


def chance(kind: str, n: int, cohorts: int, shuffles: int = 19) -> float:
    """Share of cohorts without any effect in which shuffled labels are beaten at the 5 % level."""
    rejected = []
    for seed in range(cohorts):
        rng = np.random.default_rng([seed, 5])
        (x,), y = World(rng, kind, 4, 0.0).people(n, views=1)
        problem = problem_of(kind, y)
        outcome = protocol.cross_validate(problem, features_of(x), dealt(problem, seed, 4), seed, shuffles=shuffles)
        metric = control.METRIC[kind]
        value = metrics.evaluate(outcome.predictions, kind, np.ones((1, n)))[metric][0]
        rejected.append(control.permutation_p(value, control.shuffled_scores(outcome, kind)) <= 0.05)
    return float(np.mean(rejected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="regression", choices=sorted(METRICS))
    parser.add_argument("--n", type=int, default=150, help="people")
    parser.add_argument("--d", type=int, default=20, help="features")
    parser.add_argument("--signal", type=float, default=0.5, help="size of the effect, 0 for none")
    parser.add_argument("--cohorts", type=int, default=100)
    parser.add_argument("--chance", action="store_true", help="only the test against shuffled labels")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file, to which a record is added")
    args = parser.parse_args()
    if args.chance:
        found: Any = {"rejected": chance(args.kind, args.n, args.cohorts)}
    else:
        found = run(args.kind, args.n, args.d, args.signal, args.cohorts)
    print(json.dumps(found))
    if args.out:
        records = json.loads(args.out.read_text()) if args.out.exists() else []
        settings = {k: v for k, v in vars(args).items() if k != "out"}
        records.append({"settings": settings, "found": found, "hardware": hardware(), "versions": versions()})
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
