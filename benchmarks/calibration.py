"""Do intervals cover and tests reject as often as they claim? Slow: hundreds of simulated cohorts.

The estimand of an interval is the mean score of the very models that were fitted, on 20,000 fresh people. The paired
test compares two methods that see the same people through equally noisy, unrelated features: neither is better.
Run it as a script: ``python -m benchmarks.calibration --help``.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import pandas as pd

from anatcl.evaluate import bootstrap, compare, metrics, protocol
from anatcl.evaluate.design import load_design, make_splits
from anatcl.evaluate.features import Features
from anatcl.evaluate.task import Problem, load_task, make_problem

FRESH = 20_000
METRICS = {
    "regression": ("mae", "r2", "pearson_r"),
    "binary": ("roc_auc", "balanced_accuracy", "average_precision"),
}


class World:
    """People whose age or disease depends on three hidden factors, which `d` noisy features show."""

    def __init__(self, rng: np.random.Generator, kind: str, d: int, signal: float) -> None:
        self.rng, self.kind, self.signal = rng, kind, signal
        self.mixing = [rng.normal(size=(3, d)) / np.sqrt(3) for _ in range(2)]  # one per method

    def people(self, n: int) -> tuple[list[np.ndarray], np.ndarray]:
        hidden = self.rng.normal(size=(n, 3))
        latent = self.signal * hidden.sum(1) + self.rng.normal(size=n)
        y = 50 + 10 * latent if self.kind == "regression" else (latent > 0.5).astype(int)
        return [hidden @ m + self.rng.normal(size=(n, m.shape[1])) for m in self.mixing], y


def problem_of(kind: str, y: np.ndarray) -> Problem:
    names = [f"sub-{i:05d}" for i in range(len(y))]
    spec = {"name": "y", "kind": kind, "target": "y", "positives": [1], "negatives": [0]}
    return make_problem(load_task(spec), pd.DataFrame({"scan": names, "participant_id": names, "y": y}))


def features_of(x: np.ndarray) -> Features:
    return Features({-1: x}, np.ones(len(x), bool), [str(i) for i in range(x.shape[1])])


def one_cohort(seed: int, kind: str, n: int, d: int, signal: float, n_bootstrap: int) -> dict:
    """Coverage of each metric, and p values of the paired test, in one cohort."""
    world = World(np.random.default_rng(seed), kind, d, signal)
    x, y = world.people(n)
    fresh_x, fresh_y = world.people(FRESH)
    problem, design = problem_of(kind, y), load_design({"kind": "repeated", "folds": 5})
    splits = make_splits(design, problem, None, [-1], seed)["1x5-fold"]
    names, counts = bootstrap.draw(problem.rows["participant_id"].to_numpy(str), n_bootstrap, seed)
    found, covered = [], {}
    for method in (0, 1):
        outcome = protocol.cross_validate(problem, features_of(x[method]), splits, seed)
        values = bootstrap.replicate(outcome.predictions, lambda run, w: metrics.evaluate(run, kind, w), names, counts)
        found.append(values)
        truth = fresh_scores(problem, x[method], splits, seed, fresh_x[method], fresh_y)
        for metric in METRICS[kind]:
            low, high = bootstrap.interval(values[metric], outcome.missing_variance[metric])
            covered.setdefault(metric, []).append(low <= truth[metric] <= high)
    p = {m: compare.difference(found[0][m] - found[1][m], n, 5)["p"] for m in METRICS[kind]}
    return {"covered": covered, "p": p}


def fresh_scores(problem, x, splits, seed, fresh_x, fresh_y) -> dict[str, float]:
    """Mean over the fitted models of their score on fresh people."""
    everybody = problem_of(problem.task.kind, np.concatenate([problem.y, fresh_y]))
    both, new = features_of(np.vstack([x, fresh_x])), np.arange(len(x), len(x) + len(fresh_x))
    each = []
    for split in splits:
        fitted = type(split)(split.train, new, split.fold, split.repeat)
        table = protocol.predict_split(everybody, both, fitted, seed)
        each.append(metrics.evaluate(table, problem.task.kind, np.ones((1, len(table)))))
    return {m: float(np.mean([e[m][0] for e in each])) for m in each[0]}


def run(kind: str, n: int, d: int, signal: float, cohorts: int, n_bootstrap: int = 400) -> dict[str, dict[str, float]]:
    """Coverage and rejection rate of each metric."""
    found = [one_cohort(seed, kind, n, d, signal, n_bootstrap) for seed in range(cohorts)]
    return {
        m: {
            "coverage": float(np.mean([f["covered"][m] for f in found])),
            "rejected": float(np.mean([f["p"][m] < 0.05 for f in found])),
        }
        for m in METRICS[kind]
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="regression", choices=sorted(METRICS))
    parser.add_argument("--n", type=int, default=150, help="people")
    parser.add_argument("--d", type=int, default=20, help="features")
    parser.add_argument("--signal", type=float, default=0.5, help="size of the effect, 0 for none")
    parser.add_argument("--cohorts", type=int, default=100)
    given = parser.parse_args()
    print(json.dumps(run(given.kind, given.n, given.d, given.signal, given.cohorts)))
