"""A task joined with a cohort: the rows that take part and their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.queries import fits_query
from anatcl.base.words import does, plural
from anatcl.spec.task import Task, canonical


@dataclasses.dataclass
class Problem:
    """A task joined with a cohort: the rows that take part and their labels.

    Attributes
    ----------
    task : Task
        The task.
    rows : DataFrame of n rows
        Rows of the scans table that take part, sorted by scan, index 0..n-1.
    y : ndarray of shape (n,)
        float64 values (regression) or int64 class codes; code 1 is the positive class of a binary task.
    classes : tuple of str
        Names of the codes.
    n_dropped : int
        Rows left out because the target is missing, is none of the classes, or lacks features.
    trainable : ndarray of shape (n,), bool
        False where a row is only tested.
    score : ndarray of shape (n,), optional
        What a task with the threshold ``median`` halves; `y` is then above the median of all, for dealing folds alone.
    """

    task: Task
    rows: pd.DataFrame
    y: np.ndarray
    classes: tuple[str, ...]
    n_dropped: int
    trainable: np.ndarray
    score: np.ndarray | None = None

    def within(self, train: np.ndarray) -> Problem:
        """The problem as training rows see it: a score is halved at their median, not at that of those tested."""
        if self.score is None:
            return self
        return dataclasses.replace(self, y=(self.score > np.median(self.score[train])).astype(np.int64))

    @property
    def groups(self) -> np.ndarray:
        """Group of each row, text, shape (n,)."""
        return self.rows[self.task.group].astype(str).to_numpy()


class Refused(InputError):
    """A task that this cohort cannot answer; the reason has the counts."""

    def __init__(self, reason: str, problem: Problem) -> None:
        super().__init__(reason)
        self.problem = problem


def make_problem(task: Task, table: pd.DataFrame, has_features: np.ndarray | None = None) -> Problem:
    """Select the rows that take part in a task and make their labels.

    Parameters
    ----------
    task : Task
        The task.
    table : DataFrame of N rows
        Scans with phenotypes, a column ``scan``.
    has_features : ndarray of shape (N,), optional
        False where a scan has no features; such rows count as dropped.

    Raises
    ------
    Refused
        Too few cases, one class, or a constant target.
    InputError
        A column does not exist, or the query is wrong.
    """
    for column in (task.target, task.group, *([task.site] if task.harmonise else [])):
        if column not in table:
            empty = Problem(task, table.iloc[:0], np.empty(0), (), 0, np.empty(0, bool))
            raise Refused(f"no column {column!r} in the scans table.", empty)
    table = table.assign(_usable=True if has_features is None else has_features)
    table = _selected(task, table, task.query).sort_values("scan").reset_index(drop=True)
    y, classes = _regression(task, table) if task.kind == "regression" else _classification(task, table)
    keep = table["_usable"].to_numpy(bool) & np.isfinite(y) & table[task.group].notna().to_numpy()
    if task.harmonise:  # who has no site cannot be harmonised, and "no site" is none
        keep &= table[task.site].notna().to_numpy()
    n_dropped = int((~keep).sum())
    if task.per_participant == "first":
        keep &= ~table["participant_id"].where(keep).duplicated().to_numpy()
    rows = table[keep].drop(columns="_usable").reset_index(drop=True)
    labels = y[keep] if task.kind == "regression" else y[keep].astype(np.int64)
    trainable = rows.index.isin(_selected(task, rows, task.train_query).index)
    halved = _regression(task, rows)[0] if task.kind == "binary" and task.threshold == "median" else None
    problem = Problem(task, rows, labels, classes, n_dropped, trainable, halved)
    _refuse(problem, _unreadable(task, table))
    return problem


def _selected(task: Task, table: pd.DataFrame, query: str) -> pd.DataFrame:
    if not query:
        return table
    return table[fits_query(table, query, f"task {task.name}")]


def _regression(task: Task, table: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    y = pd.to_numeric(table[task.target], errors="coerce").to_numpy(float)
    return np.where(np.isfinite(y), y, np.nan), ()


def _classification(task: Task, table: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    if task.kind == "binary":
        return _binary(task, table), ("negative", "positive")
    values = table[task.target].map(canonical)
    counts = table[values != ""].groupby(values[values != ""])[task.group].nunique()
    allowed = [c for c in (task.classes or sorted(counts.index)) if counts.get(c, 0) >= task.min_per_class]
    codes = {name: float(code) for code, name in enumerate(allowed)}
    return values.map(codes).to_numpy(float), tuple(allowed)


def _binary(task: Task, table: pd.DataFrame) -> np.ndarray:
    if task.threshold is None:
        return in_groups(table[task.target], task.positives, task.negatives)
    score, _ = _regression(task, table)
    known = score[np.isfinite(score) & table["_usable"].to_numpy(bool)]
    limit = float(np.median(known)) if task.threshold == "median" and len(known) else float(task.threshold or 0)
    return np.where(np.isfinite(score), score > limit, np.nan)


def in_groups(values: pd.Series, positives: Iterable[Any], negatives: Iterable[Any]) -> np.ndarray:
    """1 where a value is among the positives, 0 among the negatives, else NaN; shape (n,)."""
    text = values.map(canonical)
    hits = [text.isin([canonical(v) for v in group]) for group in (positives, negatives)]
    return np.select(hits, [1.0, 0.0], np.nan)


def _unreadable(task: Task, table: pd.DataFrame) -> str:
    """Which values of a numeric target are none, as a sentence after a blank."""
    if task.kind != "regression" and task.threshold is None:
        return ""
    known = table[task.target].dropna()
    strange = known[pd.to_numeric(known, errors="coerce").isna()]
    if strange.empty:
        return ""
    what = does(len(strange), "is not a number", "are not numbers")
    of = f"{len(strange)} of {plural(len(known), 'value')} of {task.target}"
    return f" {of} {what} (such as {strange.iloc[0]!r})."


def _refuse(problem: Problem, unreadable: str = "") -> None:
    """Raise `Refused` where the cohort is too small, or has one class or a constant target."""
    task, groups = problem.task, problem.groups
    total = len(set(groups))
    if task.kind == "regression":
        if total < task.min_participants:
            reason = f"{plural(total, 'participant with a target')}, {task.min_participants} needed."
            raise Refused(reason + unreadable, problem)
        if np.ptp(problem.y) == 0:
            raise Refused(f"the target is constant ({problem.y[0]:g}) in {plural(total, 'participant')}.", problem)
        return
    per_class = {name: len(set(groups[problem.y == code])) for code, name in enumerate(problem.classes)}
    counts = ", ".join(f"{name}: {n}" for name, n in per_class.items()) or "none"
    if len(per_class) < 2 or min(per_class.values()) == 0:
        among = plural(total, "participant")
        raise Refused(f"fewer than two classes among {among} (participants per class: {counts}).", problem)
    if min(per_class.values()) < task.min_per_class:
        raise Refused(f"participants per class {counts}; {task.min_per_class} needed in each.", problem)
