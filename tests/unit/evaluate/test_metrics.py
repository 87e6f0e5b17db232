"""Metrics equal scikit-learn's with and without weights; the bootstrap resamples people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from anatcl.evaluate.statistics import bootstrap, metrics


def regression(run, w):
    return metrics.evaluate(run, "regression", w)


def weights(rng, n):
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=6)]).astype(float)


@given(st.integers(0, 10_000), st.booleans())
def test_regression_metrics_equal_sklearn(seed, heavy_ties):
    rng = np.random.default_rng(seed)
    y = rng.normal(40, 10, 30)
    pred = y + rng.normal(0, 5, 30)
    if heavy_ties:
        y, pred = y.round(-1), pred.round(-1)
    for i, w in enumerate(weights(rng, 30)):
        w2 = w[None]
        assert metrics.mae(y, pred, w2)[0] == pytest.approx(sk.mean_absolute_error(y, pred, sample_weight=w))
        assert metrics.r2(y, pred, w2)[0] == pytest.approx(sk.r2_score(y, pred, sample_weight=w))
        repeated = np.repeat(np.arange(30), w.astype(int))
        r = stats.pearsonr(y[repeated], pred[repeated]).statistic
        assert metrics.pearson_r(y, pred, w2)[0] == pytest.approx(r), i
        slope = stats.linregress(y[repeated], (pred - y)[repeated]).slope
        assert metrics.bias_slope(y, pred, w2)[0] == pytest.approx(slope)


def ranked_copies(y, score, w):
    """As many rows as the weights say; copies of a row whose score is its own follow each other in rank."""
    alone = np.array([(score == value).sum() == 1 for value in score])
    step = np.concatenate([np.arange(k) for k in w]) * 1e-9
    row = np.repeat(np.arange(len(y)), w)
    return y[row], score[row] - step * alone[row]


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_classification_metrics_equal_sklearn(seed, digits):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, 28)]
    score = (y + rng.normal(0, 1, 30)).round(digits)
    for w in weights(rng, 30):
        if w[y == 1].sum() == 0 or w[y == 0].sum() == 0:
            continue
        w2 = w[None]
        assert metrics.roc_auc(y, score, w2)[0] == pytest.approx(sk.roc_auc_score(y, score, sample_weight=w))
        ap = sk.average_precision_score(*ranked_copies(y, score, w.astype(int)))
        assert metrics.average_precision(y, score, w2)[0] == pytest.approx(ap)
        bacc = sk.balanced_accuracy_score(y, score > 0.5, sample_weight=w)
        assert metrics.balanced_accuracy(y, score > 0.5, w2)[0] == pytest.approx(bacc)


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_average_precision_of_a_sample_equals_sklearn(seed, digits):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, 28)]
    score = (y + rng.normal(0, 1, 30)).round(digits)
    found = metrics.average_precision(y, score, np.ones((1, 30)))
    assert found[0] == pytest.approx(sk.average_precision_score(y, score))


def test_resamples_of_average_precision_lie_about_the_sample(rng):
    """With copies as ties they lie .15 standard deviations above it in samples like these."""
    n, away = 100, []
    _, counts = bootstrap.draw(np.arange(n).astype(str), 400, 0)
    for _ in range(30):
        y = (rng.random(n) < 0.3).astype(int)
        values = metrics.average_precision(y, rng.normal(size=n) + 0.8 * y, counts)
        away.append((values[1:].mean() - values[0]) / values[1:].std())
    assert abs(np.mean(away)) < 0.1


def test_auc_compares_only_within_a_fold():
    y = np.array([0, 1, 0, 1])
    score = np.array([0.0, 1.0, 10.0, 11.0])  # the second model's scores are shifted
    w = np.ones((1, 4))
    assert metrics.roc_auc(y, score, w, np.array([0, 0, 1, 1]))[0] == 1.0
    assert metrics.roc_auc(y, score, w)[0] == 0.75


def test_degenerate_resamples_are_missing_not_wrong():
    y, w = np.array([0.0, 0, 1]), np.array([[1.0, 1, 0]])
    assert np.isnan(metrics.roc_auc(y, y, w)[0])
    assert np.isnan(metrics.pearson_r(y, np.ones(3), np.ones((1, 3)))[0])
    assert metrics.balanced_accuracy(y, y, w)[0] == 1.0


def test_bootstrap_draws_people_with_all_their_scans(rng):
    people = np.array(["b", "a", "b", "c"])
    names, counts = bootstrap.draw(people, 50, seed=3)
    assert list(names) == ["a", "b", "c"]
    assert (counts.sum(1) == 3).all()
    assert (counts[0] == 1).all()
    table = pd.DataFrame({"participant_id": people, "repeat": 0, "encoder": 0, "fold": 0, "y_true": [1.0, 2, 3, 4]})
    table["y_pred"] = table["y_true"] + [1, 2, 3, 4]
    replicates = bootstrap.replicate(table, regression, names, counts)["mae"]
    expected = [(c[1] * (1 + 3) + c[0] * 2 + c[2] * 4) / (2 * c[1] + c[0] + c[2]) for c in counts]
    np.testing.assert_allclose(replicates, expected)


def test_interval_of_the_mean_matches_theory(rng):
    n = 400
    error = rng.exponential(5.0, n)
    table = pd.DataFrame({"participant_id": [f"p{i:03d}" for i in range(n)], "y_true": rng.normal(50, 10, n)})
    table = table.assign(y_pred=table["y_true"] + error, repeat=0, encoder=0, fold=0)
    names, counts = bootstrap.draw(table["participant_id"].to_numpy(str), 4000, 0)
    low, high = bootstrap.interval(bootstrap.replicate(table, regression, names, counts)["mae"])
    half = 1.96 * error.std() / np.sqrt(n)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
