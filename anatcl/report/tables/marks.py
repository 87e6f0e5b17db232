"""Marks of scores, by the paired tests of the evaluation.

``best``
    The best value of its task and protocol, and better than every other method.
``above``
    A trained method better than every baseline that was run.

"Better" means: the better value, and a Holm-corrected paired test below `LEVEL`. Only the metric that was tested can
carry a mark.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from anatcl.report.tables import vocabulary as words

LEVEL = 0.05


def mark(scores: pd.DataFrame, comparisons: pd.DataFrame) -> pd.Series:
    """Marks of each row of the long table, parted by spaces.

    Parameters
    ----------
    scores : DataFrame
        Long table with ``method, task, protocol, metric, value``.
    comparisons : DataFrame
        ``task, protocol, metric, method_a, method_b, p_holm``.
    """
    marks = [""] * len(scores)
    places = pd.Series(range(len(scores)), index=scores.index)
    for (task, protocol, metric), tests in comparisons.groupby(["task", "protocol", "metric"]):
        here = (scores["task"] == task) & (scores["protocol"] == protocol) & (scores["metric"] == metric)
        rows = scores[here]
        better = _better(dict(zip(rows["method"], rows["value"], strict=True)), str(metric), tests)
        for place, method in zip(places[here], rows["method"], strict=True):
            marks[place] = " ".join(_marks(str(method), list(rows["method"]), better))
    return pd.Series(marks, index=scores.index, dtype=object)


def _better(values: dict[str, float], metric: str, tests: pd.DataFrame) -> Callable[[str, str], bool]:
    """A function that says whether a method is better than another."""
    if "note" in tests:  # the difference to one initialisation is not that to the untrained encoder
        tests = tests[tests["note"].fillna("") == ""]
    pairs = zip(tests["method_a"], tests["method_b"], tests["p_holm"], strict=True)
    p = {frozenset((str(a), str(b))): float(value) for a, b, value in pairs}
    loss = words.metric_of(metric).loss

    def better(one: str, other: str) -> bool:
        return loss(values[one]) < loss(values[other]) and p.get(frozenset((one, other)), 1.0) < LEVEL

    return better


def _marks(method: str, methods: list[str], better: Callable[[str, str], bool]) -> list[str]:
    others = [other for other in methods if other != method]
    rivals = [other for other in others if other in words.BASELINES]
    found = ["best"] if others and all(better(method, other) for other in others) else []
    if method not in words.BASELINES and rivals and all(better(method, rival) for rival in rivals):
        found.append("above")
    return found
