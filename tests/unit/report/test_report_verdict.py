"""The first sentences of the page say what the tests say, and no more."""

from __future__ import annotations

import pandas as pd
import pytest

from anatcl.report.tables.headline import Headline
from anatcl.report.tables.table import Cell
from anatcl.report.tables.verdict import verdict

CELL = Cell(0.8, 0.7, 0.9, 50, 3)


def headline(task: str, metric: str = "roc_auc") -> Headline:
    return Headline("diagnosis", task, "cross-validation", metric, [("anatcl-global", CELL), ("untrained", CELL)], 50)


def compared(*rows: tuple[str, str, str, float, float, float, float, str], metric: str = "roc_auc") -> pd.DataFrame:
    """Comparisons: task, method_a, method_b, difference, low, high, p_holm, note."""
    columns = ["task", "method_a", "method_b", "difference", "low", "high", "p_holm", "note"]
    return pd.DataFrame(rows, columns=columns).assign(protocol="cross-validation", metric=metric)


def test_a_winner_is_named_with_its_difference() -> None:
    table = compared(
        ("dx", "anatcl-global", "untrained", 0.064, 0.003, 0.125, 0.041, ""),
        ("dx", "untrained", "y-aware", -0.020, -0.08, 0.04, 0.5, ""),
    )
    [sentence] = verdict([headline("dx")], table)
    assert (
        sentence
        == "AnatCL (global) is better than the untrained encoder in dx: ROC AUC +0.064 [+0.003, +0.125], p = 0.041."
    )


def test_two_winners_stand_together_the_better_one_with_its_figure() -> None:
    table = compared(
        ("dx", "anatcl-global", "untrained", 0.05, 0.01, 0.10, 0.02, ""),
        ("dx", "untrained", "y-aware", -0.09, -0.12, -0.02, 0.0001, ""),
    )
    [sentence] = verdict([headline("dx")], table)
    assert sentence.startswith(
        "y-Aware and AnatCL (global) are better than the untrained encoder in dx: ROC AUC +0.090"
    )
    assert sentence.endswith("[+0.020, +0.120], p < 0.001 (y-Aware).")


NOTHING = "No trained method is better than regional measures on any of 2 tested tasks."


@pytest.mark.parametrize("difference", [0.0, 0.02, -0.2])
def test_nothing_is_won_or_lost_without_a_test_below_the_level(difference: float) -> None:
    rows = [(task, "anatcl-global", "regional-measures", difference, -1.0, 1.0, 0.2, "") for task in ("dx", "sex")]
    assert verdict([headline("dx"), headline("sex")], compared(*rows)) == [NOTHING]


def test_what_is_lost_is_said_with_the_figure_of_the_nearest() -> None:
    table = compared(
        ("dx", "anatcl-global", "regional-measures", -0.30, -0.40, -0.20, 0.001, ""),
        ("dx", "regional-measures", "y-aware", 0.35, 0.25, 0.45, 0.001, ""),
        ("sex", "anatcl-global", "regional-measures", -0.1, -0.3, 0.1, 0.3, ""),
    )
    lost = "AnatCL (global) and y-Aware are worse than regional measures in dx: ROC AUC −0.300 [−0.400, −0.200]"
    first, second = verdict([headline("dx"), headline("sex")], table)
    assert first == NOTHING and second.startswith(lost) and second.endswith("p = 0.001 (AnatCL (global)).")


def test_errors_are_better_when_smaller() -> None:
    table = compared(("age", "regional-measures", "y-aware", 1.5, 0.5, 2.5, 0.01, ""), metric="mae")
    [sentence] = verdict([headline("age", "mae")], table)
    assert "y-Aware is better than regional measures in age: MAE −1.50 [−2.50, −0.50]" in sentence


def test_some_tasks_won_and_others_not() -> None:
    table = compared(
        ("dx", "anatcl-global", "untrained", 0.1, 0.01, 0.2, 0.01, ""),
        ("sex", "anatcl-global", "untrained", 0.1, -0.01, 0.2, 0.1, ""),
    )
    assert verdict([headline("dx"), headline("sex")], table)[1:] == [
        "None is better than the untrained encoder in sex."
    ]


def test_what_was_not_tested_is_said_with_its_reason() -> None:
    table = compared(
        ("dx", "anatcl-global", "untrained", 0.1, 0.01, 0.2, float("nan"), "not tested: 6 independent units")
    )
    assert verdict([headline("dx")], table) == [
        "Trained methods were not tested against the untrained encoder (6 independent units)."
    ]


def test_no_comparison_no_sentence() -> None:
    assert verdict([headline("dx")], pd.DataFrame()) == []
    only_baselines = compared(("dx", "majority-median", "untrained", 0.1, 0.01, 0.2, 0.01, ""))
    assert verdict([headline("dx")], only_baselines) == []
