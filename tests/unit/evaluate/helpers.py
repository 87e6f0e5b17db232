"""Small problems with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem, make_problem
from anatcl.spec.task import load_task

AGE = {"name": "age", "kind": "regression", "target": "age"}
SICK = {"name": "sick", "kind": "binary", "target": "sick", "positives": [1], "negatives": [0]}


def make_cohort(rng: np.random.Generator, n: int, d: int = 6, signal: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    """A scans table of `n` people at three sites and their features, of which the first three carry age and disease."""
    x = rng.normal(size=(n, d))
    latent = signal * x[:, :3].sum(1) + rng.normal(size=n)
    table = pd.DataFrame(
        {
            "scan": [f"sub-{i:04d}/anat/sub-{i:04d}" for i in range(n)],
            "participant_id": [f"sub-{i:04d}" for i in range(n)],
            "age": 50 + 8 * latent,
            "sick": (latent > 0.3).astype(int),
            "sex": np.where(np.arange(n) % 2, "M", "F"),
            "site": np.array(["a", "b", "c"])[np.arange(n) % 3],
        }
    )
    return table, x


def make(table: pd.DataFrame, x: np.ndarray, spec: dict) -> tuple[Problem, Features]:
    """Problem and features of a task."""
    problem = make_problem(load_task(spec), table)
    where = pd.Index(table["scan"]).get_indexer(problem.rows["scan"])
    return problem, Features({-1: x}, np.ones(len(x), bool), [f"f{i}" for i in range(x.shape[1])]).take(where)
