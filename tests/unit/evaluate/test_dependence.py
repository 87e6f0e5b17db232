"""Slopes are derivatives; the pair sums are what a direct count gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.evaluate.statistics import metrics
from anatcl.evaluate.statistics.dependence import Dependence, binary_slopes, regression_slopes


@pytest.fixture
def numbers(rng):
    y = rng.normal(50, 10, 40)
    return pd.DataFrame({"y_true": y, "y_pred": 0.6 * y + rng.normal(20, 5, 40), "fold": np.arange(40) % 4})


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "pearson_r", "bias_slope", "bias_mean"])
def test_regression_slopes_are_derivatives(numbers, metric):
    slope = regression_slopes(numbers)[metric]
    for i in (0, 17, 39):
        up, down = numbers.copy(), numbers.copy()
        up.loc[i, "y_pred"] += 1e-5
        down.loc[i, "y_pred"] -= 1e-5
        values = [metrics.evaluate(t, "regression", np.ones((1, 40)))[metric][0] for t in (up, down)]
        assert slope[i] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "balanced_accuracy"])
def test_binary_slopes_predict_what_a_drift_of_scores_does(rng, metric):
    n = 3000
    y = (rng.random(n) < 0.4).astype(int)
    score = 1.2 * y + rng.normal(size=n)
    direction = np.where(y == 1, 1.0, -0.5) + rng.normal(size=n)
    table = pd.DataFrame({"y_true": y, "score": score, "prob": 0.5, "y_pred": score > 0, "fold": np.arange(n) % 2})
    slope = binary_slopes(table)[metric]
    step = 0.05
    values = []
    for sign in (1, -1):
        moved = score + sign * step * direction
        changed = table.assign(score=moved, y_pred=(moved > 0).astype(int))
        values.append(metrics.evaluate(changed, "binary", np.ones((1, n)))[metric][0])
    assert slope @ direction == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.15)


def test_pairs_are_summed_by_participant(rng, numbers):
    table = numbers.iloc[:6].assign(fold=[0, 0, 0, 1, 1, 1])
    people = np.array(["a", "a", "b", "c", "d", "d"])
    leverage = rng.normal(size=(6, 6))
    leverage[:3, :3] = leverage[3:, 3:] = 0
    residual = rng.normal(size=6)
    dependence = Dependence("regression", people)
    dependence.add(table, np.arange(6), leverage, residual)
    q = regression_slopes(table)["r2"][:, None] * leverage * residual
    names = "abcd"
    total = {(i, j): q[np.ix_(people == i, people == j)].sum() for i in names for j in names}
    expected = sum(total[i, j] * total[j, i] for i in names for j in names)
    assert dependence.variance()["r2"] == pytest.approx(expected)


def test_repeated_runs_are_averaged_before_squaring(rng, numbers):
    table, people = numbers.iloc[:4].assign(fold=[0, 0, 1, 1]), np.array(list("abcd"))
    leverage, residual = rng.normal(size=(4, 4)), rng.normal(size=4)
    once, twice = Dependence("regression", people), Dependence("regression", people)
    once.add(table, np.arange(4), leverage, residual)
    for _ in range(2):
        twice.add(table, np.arange(4), leverage, residual)
    assert twice.variance() == pytest.approx(once.variance())
