"""What a reviewer asks for: medians of the training part, fine penalties, pools of few-shot draws, tested subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.evaluate.data import units
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes.cross_validation import cross_validate
from anatcl.evaluate.probes.linear import LOGISTIC_C, RIDGE_PENALTIES, LogisticProbe, RidgeProbe
from anatcl.evaluate.statistics import bootstrap, compare, scores
from tests.unit.evaluate.helpers import make, make_cohort

HALVED = {"name": "half", "kind": "binary", "target": "age", "threshold": "median"}


def test_a_score_is_halved_at_the_median_of_the_training_part(rng):
    table, x = make_cohort(rng, 40)
    problem, features = make(table, x, HALVED)
    order = np.argsort(problem.rows["age"].to_numpy())
    low, high = order[:30], order[30:]  # the tested are the oldest
    train, test = np.r_[low[:20], high[:3]], np.r_[low[20:], high[3:]]
    found = cross_validate(problem, features, [Split(train, test, 0)], 0).predictions
    age = problem.rows.set_index("scan")["age"].loc[found["scan"]].to_numpy()
    limit = np.median(problem.rows["age"].to_numpy()[train])
    np.testing.assert_array_equal(found["y_true"], age > limit)
    assert limit < np.median(problem.rows["age"])


def test_penalties_are_half_decades_and_the_fine_search_finds_the_best_of_all(rng):
    for grid in (RIDGE_PENALTIES, LOGISTIC_C):
        np.testing.assert_allclose(np.diff(np.log10(grid)), 0.5)
    x = rng.normal(size=(60, 30))
    y = x[:, :3].sum(1) + 2 * rng.normal(size=60)
    groups = np.arange(60).astype(str)

    def inner(probe: RidgeProbe) -> float:
        return float(((probe.inner_prediction_ - y) ** 2).sum())

    chosen = RidgeProbe().fit(x, y[:, None], groups, np.random.default_rng(0))
    each = [inner(RidgeProbe((p,)).fit(x, y[:, None], groups, np.random.default_rng(0))) for p in RIDGE_PENALTIES]
    assert inner(chosen) == pytest.approx(min(each))
    assert chosen.end_ == ""
    noise = RidgeProbe().fit(x, rng.normal(size=(60, 1)), groups, np.random.default_rng(0))
    assert noise.end_ in ("", "strongest")
    clear = LogisticProbe().fit(5 * x, (x[:, 0] > 0).astype(int), groups, np.random.default_rng(0))
    assert clear.strength_ in LOGISTIC_C


def few_shot(n: int, size: int, draws: int = 10, folds: int = 5) -> pd.DataFrame:
    rows = [(f"s{i}", r, i % folds) for r in range(draws) for i in range(n)]
    table = pd.DataFrame(rows, columns=["scan", "repeat", "fold"])
    return table.assign(participant_id=table["scan"], protocol=f"few-shot-{size}", encoder=0, y_true=1.0)


def test_few_shot_draws_hold_what_another_pool_would_change():
    table = few_shot(150, 16)
    assert units.pool_share(table) == pytest.approx(4 * (16 / 120) / (1 - 16 / 120))
    assert units.pool_share(table.assign(protocol="few-shot-all")) == 0
    draws = {"repeat": np.arange(10.0)}
    with_pool = bootstrap.Replicates(np.zeros(3), draws, 0.5).draw_variance
    without = bootstrap.Replicates(np.zeros(3), draws).draw_variance
    assert with_pool[0] == pytest.approx(without[0] * (0.1 + 0.5) / 0.1)


def test_the_pool_of_a_linear_statistic_is_known(rng):
    """The mean of m people out of n: between pools its variance is that of one draw times m / n."""
    n, m, folds = 100, 20, 5
    truth, told = [], []
    for _ in range(300):
        pool = rng.normal(size=(folds, n))  # of one cohort; folds here are apart
        made = np.array([[rng.choice(pool[k], m, replace=False).mean() for k in range(folds)] for _ in range(10)]).mean(
            1
        )
        part = m / n
        told.append(made.var(ddof=1) * (1 / 10 + part / (1 - part)))
        truth.append(made.mean())
    assert np.mean(told) == pytest.approx(np.var(truth), rel=0.25)


def test_no_p_value_is_below_what_resamples_show_and_the_detectable_difference_is_found(rng):
    far = np.r_[5.0, 5 + rng.normal(size=200)]
    found = compare.difference(far, 100, 5)
    assert found["p"] >= 1 / 201
    spread = (found["high"] - found["difference"]) / 1.984
    assert found["detectable"] == pytest.approx((1.984 + 0.845) * spread, rel=0.01)


def test_subgroups_are_tested(rng):
    n = 400
    scans = pd.DataFrame({"scan": [f"s{i}" for i in range(n)], "sex": np.where(np.arange(n) % 2, "M", "F"),
                          "site": np.where(rng.random(n) < 0.5, "a", "b")})  # fmt: skip
    y = rng.normal(size=n)
    error = np.where(scans["sex"] == "M", 2.0, 0.5) * rng.normal(size=n)
    table = pd.DataFrame({"scan": scans["scan"], "participant_id": scans["scan"], "repeat": 0, "encoder": 0,
                          "fold": np.arange(n) % 5, "y_true": y, "y_pred": y + error})  # fmt: skip
    rows = pd.DataFrame(scores.subgroup_rows(table, "regression", scans, ["sex", "site"], 200, 0))
    p = rows[rows["metric"] == "mae"].set_index("subgroup")["p_differ"]
    assert p["sex=M"] == p["sex=F"] < 1e-6
    assert p["site=a"] > 0.01
