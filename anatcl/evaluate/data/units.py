"""Units of independence: one unit for folds, resamples, tests, counts and warnings.

The unit of a task is the value of its column `group` (a participant, a family, a household). Where whole sites are left
out the answer is for new sites, so that the site of the tested row is the unit. Every predictions table carries the
unit of its rows; nothing that comes after asks the task again.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.words import plural
from anatcl.evaluate.data.problem import Problem

UNIT, SITE, SEED = "unit_id", "site_id", "seed_id"
# What else is known of a tested row, for scores within sites and with the age held.
PLACE, AGE = "site", "age"
# Columns of a predictions table that tell apart fits of the same protocol.
RUN = ("repeat", "encoder", SEED)

FEW_SHOT = re.compile(r"few-shot-(\d+)")
# Units, and units of the smallest class, below which no test between methods is offered.
TESTABLE, TESTABLE_CLASS = 10, 25


def label(predictions: pd.DataFrame, problem: Problem, protocol: str, site_column: str) -> pd.DataFrame:
    """Predictions with their protocol and their units.

    Parameters
    ----------
    predictions : DataFrame
        Column ``scan``.
    problem : Problem
        Whose rows were tested.
    protocol : str
        Name in the tables.
    site_column : str
        Column that the protocol leaves out by, where it does.
    """
    where = pd.Index(problem.rows["scan"]).get_indexer(predictions["scan"])
    made = predictions.assign(protocol=protocol, **{UNIT: problem.groups[where]}, **_known(problem, where))
    if by_site(protocol):
        site = problem.rows[site_column].astype(str).to_numpy()[where]
        made = made.assign(**{UNIT: site, SITE: site})
    return made


def _known(problem: Problem, where: np.ndarray) -> dict[str, np.ndarray]:
    """Site and age of each row, where there are several sites, and where the target is not the age itself."""
    task, rows, found = problem.task, problem.rows, {}
    if task.site in rows and task.site != task.target and rows[task.site].nunique() > 1:
        found[PLACE] = rows[task.site].fillna("n/a").astype(str).to_numpy()[where]
    if task.kind == "regression" and task.target != "age" and "age" in rows:
        age = pd.to_numeric(rows["age"], errors="coerce")
        if age.nunique() > 1:
            found[AGE] = age.to_numpy(float)[where]
    return found


def by_site(protocol: str) -> bool:
    """Whether whole sites are left out."""
    return protocol.startswith("leave-")


def of(table: pd.DataFrame) -> np.ndarray:
    """Unit of each row, text, shape (n,); the participant in tables that name no unit."""
    return table[UNIT if UNIT in table else "participant_id"].to_numpy(str)


def sites(table: pd.DataFrame) -> np.ndarray | None:
    """Site of each row, text, where whole sites were left out, else None."""
    left_out = SITE in table and bool(table[SITE].notna().all()) and len(table) > 0
    return table[SITE].to_numpy(str) if left_out else None


def runs(table: pd.DataFrame) -> list[str]:
    """Columns that tell apart the fits of a table."""
    return [c for c in RUN if c in table and (c != SEED or table[c].notna().all())]


def drawn(table: pd.DataFrame) -> list[str]:
    """Columns whose values are a random sample of possible fits: the few participants drawn, the seed of an encoder."""
    protocol = str(table["protocol"].iloc[0]) if "protocol" in table and len(table) else ""
    few = protocol.startswith("few-shot-") and not protocol.startswith("few-shot-all")
    return [c for c in runs(table) if c == SEED or (c == "repeat" and few)]


def pool_share(table: pd.DataFrame) -> float:
    """Variance between training pools, as a multiple of that between draws from one pool; 0 except for few-shot.

    A draw of m people out of a pool of n (of each of k folds) is scored as the mean of k models. The mean over all
    draws still depends on the pool: to first order (Hoeffding 1948) by m / n of the variance of a single model, which
    draws from one pool show but for the share m / n. Two folds' pools have k - 2 of k - 1 parts in common.
    """
    size = FEW_SHOT.match(str(table["protocol"].iloc[0])) if "protocol" in table and len(table) else None
    if size is None:
        return 0.0
    folds = table["fold"].nunique()
    part = min(int(size[1]) / max(count(table) * (1 - 1 / max(folds, 2)), 1), 0.9)
    return max(folds - 1, 1) * part / (1 - part)


def count(table: pd.DataFrame) -> int:
    """Number of units in a table."""
    return len(np.unique(of(table)))


def per_class(table: pd.DataFrame) -> np.ndarray:
    """Number of units that hold each class, shape (classes,)."""
    pairs = pd.DataFrame({"y": table["y_true"].to_numpy(), "unit": of(table)}).drop_duplicates()
    return pairs["y"].value_counts(sort=False).sort_index().to_numpy()


def effective_n(table: pd.DataFrame, kind: str, metric: str = "") -> float:
    """How many units decide the precision of a score.

    Of a regression it is their number. A rate per class has the variance ``sum_c v / n_c``, of which Satterthwaite's
    degrees of freedom plus one are taken: 5 cases among 500 people count as 5, two classes of 100 as 199. Average
    precision is a mean over cases alone, of which the smaller class is taken.
    """
    if kind == "regression":
        return float(count(table))
    n = per_class(table).astype(float)
    if len(n) < 2 or n.min() < 2:
        return 1.0
    if metric.startswith("average_precision"):
        return float(n.min())
    return float(min(1 + (1 / n).sum() ** 2 / (1 / n**2 / (n - 1)).sum(), 2 * count(table) - 1))


def smallest(table: pd.DataFrame, kind: str) -> int:
    """Units of the smaller class; of a regression all units."""
    return count(table) if kind == "regression" else int(per_class(table).min(initial=count(table)))


def untestable(table: pd.DataFrame, kind: str) -> str:
    """Why methods are not compared on these rows, empty where they are.

    Below these numbers equal methods differ too often in simulated cohorts (docs/statistics.md).
    """
    if kind == "regression" or sites(table) is not None:
        number = count(table)
        return "" if number >= TESTABLE else plural(number, "independent unit")
    number = smallest(table, kind)
    return "" if number >= TESTABLE_CLASS else plural(number, "independent unit in the smallest class")


def describe(task: Any, table: pd.DataFrame) -> str:
    """What one unit is, for a sentence."""
    if sites(table) is not None:
        return "site"
    return "participant" if task.group == "participant_id" else f"unit ({task.group})"
