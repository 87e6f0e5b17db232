"""Two classes, drawn: ROC curves, calibration curves and the confusion matrix at the threshold of the tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from anatcl.report.drawing.figures import Drawn
from anatcl.report.drawing.svg import CATEGORIES, Panel
from anatcl.report.tables import vocabulary as words

BINS = 10
NEEDED = {"y_true", "y_pred", "score", "prob", "protocol"}


@dataclasses.dataclass(frozen=True)
class Classes:
    """One binary task under its first protocol.

    Parameters
    ----------
    task, protocol : str
    legend : list of (str, str)
        Colour and method.
    drawn : list of Drawn
        ROC and calibration curves of all methods.
    counts : list of (method, true positive, false negative, false positive, true negative)
        People at the threshold, mean over repetitions, rounded.
    """

    task: str
    protocol: str
    legend: list[tuple[str, str]]
    drawn: list[Drawn]
    counts: list[tuple[str, int, int, int, int]]


def classes(predictions: dict[tuple[str, str], pd.DataFrame]) -> list[Classes]:
    """One drawing of each binary task; nothing where there is none."""
    found = {pair: table for pair, table in predictions.items() if set(table) >= NEEDED and len(table)}
    return [
        _task(task, {m: t for (m, name), t in found.items() if name == task}) for task in sorted({t for _, t in found})
    ]


def _task(task: str, tables: dict[str, pd.DataFrame]) -> Classes:
    methods = words.order_methods(tables)
    protocol = str(tables[methods[0]]["protocol"].iloc[0])
    parts = {m: tables[m][tables[m]["protocol"] == protocol] for m in methods}
    parts = {m: t for m, t in parts.items() if len(t)}
    colours = {m: f"c{i % CATEGORIES}" for i, m in enumerate(parts)}
    roc = Panel((0, 1), (0, 1), 260, 260, "1 − specificity", "Sensitivity")
    calibration = Panel((0, 1), (0, 1), 260, 260, "Predicted probability", "Share of cases")
    lines = [roc.line(*roc_curve(t["y_true"], t["score"]), colours[m]) for m, t in parts.items()]
    bins = [calibration.line(*calibration_curve(t["y_true"], t["prob"]), colours[m]) for m, t in parts.items()]
    names = ", ".join(words.method_label(m) for m in parts)
    drawn = [
        Drawn(
            "ROC",
            roc.draw(f"ROC curves for {task}: {names}", roc.line((0, 1), (0, 1), "identity"), *lines),
            "folds pooled",
        ),
        Drawn(
            "Calibration",
            calibration.draw(f"Calibration for {task}: {names}", calibration.line((0, 1), (0, 1), "identity"), *bins),
            "bins of equal numbers of participants",
        ),
    ]
    legend = [(colours[m], words.method_label(m)) for m in parts]
    return Classes(task, protocol, legend, drawn, [(words.method_label(m), *confusion(t)) for m, t in parts.items()])


def roc_curve(y: pd.Series, score: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), a point for each distinct score."""
    order = np.argsort(-score.to_numpy(float), kind="stable")
    hits, ranked = (y.to_numpy(float) == 1)[order], score.to_numpy(float)[order]
    last = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return np.r_[0, false / max((~hits).sum(), 1)], np.r_[0, true / max(hits.sum(), 1)]


def calibration_curve(y: pd.Series, prob: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability and share of cases in bins of equal numbers."""
    order = np.argsort(prob.to_numpy(float), kind="stable")
    parts = [part for part in np.array_split(order, min(BINS, max(len(order) // 5, 1))) if len(part)]
    case, p = y.to_numpy(float) == 1, prob.to_numpy(float)
    return np.array([p[i].mean() for i in parts]), np.array([case[i].mean() for i in parts])


def confusion(table: pd.DataFrame) -> tuple[int, int, int, int]:
    """True positives, false negatives, false positives, true negatives; the mean over repetitions."""
    case, told = table["y_true"].to_numpy() == 1, table["y_pred"].to_numpy() == 1
    runs = len(table) / max(table["scan"].nunique(), 1)
    counts = [case & told, case & ~told, ~case & told, ~case & ~told]
    return tuple(round(float(c.sum()) / runs) for c in counts)  # type: ignore[return-value]
