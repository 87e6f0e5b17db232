"""Minutes for the full evaluation table, and ours beside plain scikit-learn, in one run.

The full table: every shipped task of the public cohorts at its cohort's real size (200 to 1,100 people, OpenBHB
3,984), 11 methods of 512 features and four rivals, 5 outer and 3 inner folds, 5 penalties, 1,000 resamples, shuffled
control, leak check, paired tests between all methods, and the start of one process per method and task, on two cores.
One method is measured for each kind and size of task; the rest is multiplication (`extrapolated` in the output).

The rival does the same work with scikit-learn's own parts: StandardScaler and Ridge or LogisticRegression in a
GridSearchCV inside each outer fold, a refit with shuffled labels, and a loop of metrics over resamples.

Run from the root of the repository, with one thread per process as in the workflow::

    python -m benchmarks.evaluate [--quick] [--out benchmarks/results/evaluate.json]

The last line is one JSON object: ``minutes`` (extrapolated), ``peak_mb``, ``ratio`` (rival seconds / our seconds).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import functools
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.provenance import hardware, peak_memory_mb, versions
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.statistics import compare
from anatcl.evaluate.steps import control
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.spec.task import load_task

log = logging.getLogger("benchmarks.evaluate")
METHODS, RIVALS, FEATURES, RIVAL_FEATURES, CORES = 11, 4, 512, 140, 2
SITES = 60
# Kind, people and number of tasks of that size: every task that is shipped for a cohort, as a test checks.
# Sizes of clinical tasks are rounded: a release's number of usable people depends on its date.
FULL = [
    ("regression", 3984, 1), ("binary", 3984, 1), ("multiclass", 3984, 1),  # OpenBHB
    ("regression", 560, 1), ("binary", 560, 1), ("multiclass", 560, 1),  # IXI
    ("binary", 700, 5), ("binary", 1100, 4), ("binary", 450, 4),  # diagnoses
    ("regression", 550, 1), ("multiclass", 1100, 1),  # age of ABIDE's controls, its sites
    ("regression", 1400, 2),  # brain age of ADNI and OASIS-3
    ("regression", 200, 6), ("binary", 200, 6), ("regression", 950, 5), ("binary", 950, 4),  # scores, binarised too
]  # fmt: skip


def cohort(kind: str, n: int, d: int, seed: int = 0) -> tuple[pd.DataFrame, Features, pd.DataFrame]:
    """A scans table, correlated features with some signal, and folds."""
    rng = np.random.default_rng([seed, n, d])
    hidden = rng.normal(size=(n, 40))
    x = hidden @ rng.normal(size=(40, d)) + 2 * rng.normal(size=(n, d))
    latent = hidden[:, :4].sum(1) + 2 * rng.normal(size=n)
    names = [f"sub-{i:05d}" for i in range(n)]
    ranks = latent.argsort().argsort()
    sites = SITES if n > 3000 else 3
    y = {"regression": 50 + 6 * latent, "binary": (ranks > 0.6 * n).astype(int), "multiclass": ranks * sites // n}[kind]
    table = pd.DataFrame({"scan": names, "participant_id": names, "y": y})
    folds = pd.DataFrame({"participant_id": names, "fold": rng.permutation(n) % 5})
    matrices = {k: x.astype(np.float32).astype(float) for k in range(5)}
    return table, Features(matrices, np.ones(n, bool), [str(i) for i in range(d)]), folds


def one_method(kind: str, n: int, d: int) -> tuple[float, pd.DataFrame]:
    """Seconds for one method and task, and its predictions."""
    table, features, folds = cohort(kind, n, d)
    task = load_task(
        {"name": "y", "kind": kind, "target": "y"} | ({"positives": [1], "negatives": [0]} if kind == "binary" else {})
    )
    start = time.process_time()
    predictions, _ = evaluate_task(task, "m", table, features, folds, Settings())
    return time.process_time() - start, predictions


def paired_tests(kind: str, predictions: pd.DataFrame) -> float:
    """Seconds for the tests between all methods of one task."""
    rng = np.random.default_rng(1)
    tables = []
    for i in range(METHODS + RIVALS):
        table = predictions.assign(method=f"m{i:02d}")
        for column in {"score", "y_pred"} & set(table):
            if column == "score" or kind == "regression":
                table[column] += rng.normal(0, 0.3, len(table))
        tables.append(table)
    start = time.process_time()
    compare.compare_all(tables, {"y": kind}, 1000, 0)
    return time.process_time() - start


def plain(kind: str, n: int, d: int) -> float:
    """Seconds of the same work by scikit-learn's own parts."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, mean_absolute_error, r2_score
    from sklearn.metrics import roc_auc_score as auc
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from anatcl.evaluate.probes.linear import LOGISTIC_C, RIDGE_PENALTIES

    table, features, folds = cohort(kind, n, d)
    x, y, fold = features.of(0), table["y"].to_numpy(), folds["fold"].to_numpy()
    groups, rng = table["participant_id"].to_numpy(), np.random.default_rng(0)
    if kind == "regression":
        model, grid = Ridge(), {"ridge__alpha": RIDGE_PENALTIES}
        metrics = [mean_absolute_error, r2_score, lambda a, b: np.corrcoef(a, b)[0, 1]]
    else:
        model = LogisticRegression(class_weight="balanced", tol=1e-6, max_iter=1000)
        grid = {"logisticregression__C": LOGISTIC_C}
        metrics = [auc, average_precision_score, lambda a, b: balanced_accuracy_score(a, b > 0.5)]
    start = time.process_time()
    for repeat in range(1 + control.shuffle_count(n)):
        label = y if repeat == 0 else rng.permutation(y)
        predicted = np.empty(n)
        for k in range(5):
            train, test = fold != k, fold == k
            search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=GroupKFold(3))
            search.fit(x[train], label[train], groups=groups[train])
            new = search.predict(x[test]) if kind == "regression" else search.predict_proba(x[test])[:, 1]
            predicted[test] = new
        if repeat == 0:
            for _ in range(1000):
                rows = rng.integers(0, n, n)
                _ = [metric(label[rows], predicted[rows]) for metric in metrics]
    return time.process_time() - start


def start_up() -> float:
    """Seconds of processor time for one process to read its flags and import the library."""
    code = "import resource, anatcl.evaluate.run; print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


class Notes:
    """Figures measured so far, kept in a file so that an interrupted run goes on where it was."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.known: dict[str, Any] = {}
        if file and file.exists():
            self.known = dict(json.loads(line) for line in file.read_text().splitlines())

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The figure of that name, measured if it is not known."""
        if name not in self.known:
            self.known[name] = measure()
            log.info("%s: %s", name, self.known[name])
            if self.file:
                with self.file.open("a") as stream:
                    stream.write(json.dumps([name, self.known[name]]) + "\n")
        return self.known[name]


def unit(kind: str, n: int, quick: bool) -> dict[str, float]:
    """Seconds of one method, of one rival with fewer features, and of all paired tests of one task; peak memory."""
    wide, predictions = one_method(kind, n, FEATURES)
    narrow = one_method(kind, n, RIVAL_FEATURES)[0] if not quick else wide * RIVAL_FEATURES / FEATURES
    found = {"method_s": wide, "rival_features_s": narrow, "paired_tests_s": paired_tests(kind, predictions)}
    return {k: round(v, 2) for k, v in found.items()} | {"peak_mb": peak_memory_mb()}


def measure(quick: bool, notes: Notes) -> dict[str, Any]:
    """All units, the extrapolation, and the rival."""
    units, seconds = [], 0.0
    for kind, n, tasks in FULL:
        found = notes.get(f"{kind} {n}", functools.partial(unit, kind, n, quick))
        units.append({"kind": kind, "people": n, "tasks": tasks, **found})
        one_task = METHODS * found["method_s"] + RIVALS * found["rival_features_s"] + found["paired_tests_s"]
        seconds += tasks * one_task
    jobs = sum(t for _, _, t in FULL) * (METHODS + RIVALS)
    begin = notes.get("start-up", start_up)
    compared = [("regression", 950), ("binary", 450 if quick else 950)]
    ours = {k: next(u["method_s"] for u in units if (u["kind"], u["people"]) == (k, n)) for k, n in compared}
    rival = {k: notes.get(f"scikit-learn {k} {n}", functools.partial(plain, k, n, FEATURES)) for k, n in compared}
    return {
        "minutes": round((seconds + jobs * begin) / 60 / CORES, 2),
        "peak_mb": max(u["peak_mb"] for u in units),
        "ratio": round(sum(rival.values()) / sum(ours.values()), 2),
        "extrapolated": f"{jobs} jobs from {len(units)} measured sizes; start-up {begin:.2f} s each; {CORES} cores",
        "units": units,
        "ratio_by_kind": {k: round(rival[k] / ours[k], 2) for k in ours},
        "compared_people": dict(compared),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do not measure the narrow rivals; a smaller comparison")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file of the full results")
    parser.add_argument("--notes", type=Path, metavar="FILE", help="figures so far, to go on after an interruption")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = measure(args.quick, Notes(args.notes))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        record = {**found, "quick": args.quick, "hardware": hardware(), "versions": versions()}
        args.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({k: found[k] for k in ("minutes", "peak_mb", "ratio")}))


if __name__ == "__main__":
    main()
