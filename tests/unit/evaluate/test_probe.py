"""Probes equal scikit-learn's; folds never split a person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anatcl.evaluate.data.split import deal, fold_column, inner_folds
from anatcl.evaluate.probes import logistic
from anatcl.evaluate.probes.linear import LOGISTIC_C, RIDGE_PENALTIES, LogisticProbe, Ridge, RidgeProbe, Standardise
from anatcl.evaluate.probes.simple import ConstantProbe, NeighbourProbe


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_ridge_equals_sklearn(rng, shape):
    x, new = rng.normal(size=shape), rng.normal(size=(5, shape[1]))
    x, y = x - x.mean(0), rng.normal(size=(shape[0], 2)) + 3
    for a in (0.5, 20.0):
        expected = SklearnRidge(alpha=a, tol=1e-12).fit(x, y).predict(new)
        np.testing.assert_allclose(new @ Ridge(x).coefficients(y, a) + y.mean(0), expected, atol=1e-8)


@pytest.mark.parametrize("d", [5, 60])
def test_ridge_probe_equals_grid_search_for_each_target(rng, d):
    x = rng.normal(2, 3, size=(50, d))
    y = np.column_stack([x[:, 0] + rng.normal(0, 2, 50), rng.normal(0, 2, 50)])
    groups = np.repeat(np.arange(25), 2).astype(str)
    folds = inner_folds(groups, y[:, 0], 3, np.random.default_rng(5), continuous=True)
    probe = RidgeProbe().fit(x, y, groups, np.random.default_rng(5))
    new = rng.normal(2, 3, size=(9, d))
    for t in (0, 1):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), SklearnRidge()),
            {"ridge__alpha": RIDGE_PENALTIES},
            cv=PredefinedSplit(folds),
            scoring=make_scorer(lambda a, b: -((a - b) ** 2).sum()),
        ).fit(x, y[:, t])
        assert probe.penalty_[t] == search.best_params_["ridge__alpha"]
        np.testing.assert_allclose(probe.predict(new)[:, t], search.predict(new), atol=1e-7)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("n", "d", "classes"), [(60, 8, 2), (40, 90, 2), (70, 12, 3), (40, 60, 4)])
def test_logistic_probe_equals_grid_search(rng, monkeypatch, n, d, classes, large):
    if large:  # what large problems use: L-BFGS, in single precision inside the inner folds
        monkeypatch.setattr(logistic, "NEWTON_COST", 0)
        monkeypatch.setattr(logistic, "SINGLE", 0)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, d)) + 0.5 * rng.normal(size=(n, d))
    rank = (x[:, 0] + rng.normal(size=n)).argsort().argsort()
    y = rank * classes // n
    groups = np.arange(n).astype(str)
    folds = inner_folds(groups, y, 3, np.random.default_rng(5), continuous=False)

    def score(model, xs, ys):
        log_p = model.predict_log_proba(xs)[np.arange(len(ys)), ys]
        return sum(log_p[ys == c].mean() for c in np.unique(ys))

    plain = LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=10_000)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), plain),
        {"logisticregression__C": LOGISTIC_C},
        cv=PredefinedSplit(folds),
        scoring=score,
    ).fit(x, y)
    probe = LogisticProbe().fit(x, y, groups, np.random.default_rng(5))
    assert probe.strength_ == search.best_params_["logisticregression__C"]
    new = rng.normal(size=(30, d))
    np.testing.assert_allclose(np.exp(probe.decision(new)), search.predict_proba(new), atol=1e-4)


@pytest.mark.parametrize("d", [3, 40])
def test_ridge_leverage_is_the_derivative(rng, d):
    x, new = rng.normal(size=(30, d)), rng.normal(size=(4, d))
    y, groups = rng.normal(size=(30, 1)), np.arange(30).astype(str)
    probe = RidgeProbe([5.0]).fit(x, y, groups, np.random.default_rng(0))
    moved = y.copy()
    moved[7] += 1e-3
    again = RidgeProbe([5.0]).fit(x, moved, groups, np.random.default_rng(0))
    change = (again.predict(new) - probe.predict(new))[:, 0] / 1e-3
    np.testing.assert_allclose(probe.leverage(new)[:, 7], change, atol=1e-7)


@pytest.mark.parametrize("d", [3, 50])
def test_logistic_leverage_is_the_effect_of_a_weight(rng, d):
    n, c = 40, 0.05
    x, new = rng.normal(size=(n, d)), rng.normal(size=(4, d))
    y = np.r_[np.ones(20, int), np.zeros(20, int)]
    x[y == 1, 0] += 1
    probe = LogisticProbe([c]).fit(x, y, np.arange(n).astype(str), rng)
    z = probe.scaler_.transform(x)
    weight = np.ones(n)
    weight[3] += 1e-3
    both = [
        LogisticRegression(C=c, tol=1e-12, max_iter=10_000).fit(z, y, w).decision_function(probe.scaler_.transform(new))
        for w in (np.ones(n), weight)
    ]
    residual = y[3] - np.exp(probe.decision(x[3:4]))[0, 1]
    np.testing.assert_allclose(probe.leverage(new)[:, 3] * residual, (both[1] - both[0]) / 1e-3, rtol=0.02, atol=2e-4)


def test_neighbours_find_clusters(rng):
    y = np.repeat([0, 1], 30)
    x = rng.normal(size=(60, 5)) + 4 * y[:, None]
    probe = NeighbourProbe(False).fit(x, y, np.arange(60).astype(str), rng)
    assert (probe.decision(x).argmax(1) == y).mean() > 0.95
    np.testing.assert_allclose(probe.probability(x).sum(1), 1)
    number = NeighbourProbe(True).fit(x, x[:, :1], np.arange(60).astype(str), rng)
    assert np.corrcoef(number.predict(x)[:, 0], x[:, 0])[0, 1] > 0.8


def test_standardise_handles_dead_and_missing_features():
    x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [5.0, 5.0, 4.0]])
    z = Standardise().fit(x).transform(x)
    assert np.isfinite(z).all()
    assert (z[:, 1] == 0).all()
    assert z[0, 2] == 0
    np.testing.assert_allclose(z[:, 0], StandardScaler().fit_transform(x[:, :1])[:, 0])


def test_constant_large_feature_is_dead():
    x = np.full((11, 1), 0.1 + 1e6)
    assert (Standardise().fit(x).transform(x + 1) == 0).all()


def test_constant_probe():
    y = np.array([[1.0], [2.0], [9.0]])
    assert ConstantProbe(True).fit(np.zeros((3, 0)), y, y, None).predict(np.zeros((2, 0))).tolist() == [[2.0], [2.0]]
    labels = np.array([0, 1, 1])
    probe = ConstantProbe(False).fit(np.zeros((3, 0)), labels, labels, None)
    assert probe.decision(np.zeros((2, 0))).argmax(1).tolist() == [1, 1]


def test_logistic_probability_is_corrected_for_class_frequency(rng):
    y = (rng.random(600) < 0.2).astype(int)
    x = rng.normal(size=(600, 3)) + y[:, None]
    probe = LogisticProbe().fit(x, y, np.arange(600).astype(str), rng)
    assert probe.probability(x)[:, 1].mean() == pytest.approx(y.mean(), abs=0.03)
    assert np.exp(probe.decision(x))[:, 1].mean() > 0.3


@given(st.integers(0, 1000), st.integers(2, 5), st.booleans())
def test_dealing_keeps_people_together_and_folds_even(seed, k, continuous):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(17), 2)).astype(str)
    label = dict(zip(np.unique(groups), rng.integers(0, 2, 17), strict=True))
    y = np.array([label[g] for g in groups], float)
    folds = deal(groups, y, k, rng, continuous)
    for g in np.unique(groups):
        assert len(set(folds[groups == g])) == 1
    sizes = [len(set(groups[folds == f])) for f in range(k)]
    assert max(sizes) - min(sizes) <= 1
    if not continuous:
        per_class = [[len(set(groups[(folds == f) & (y == c)])) for f in range(k)] for c in (0, 1)]
        assert all(max(s) - min(s) <= 1 for s in per_class)


def test_inner_folds_adapt_to_small_classes(rng):
    groups = np.arange(10).astype(str)
    y = np.array([1, 1] + [0] * 8)
    assert len(np.unique(inner_folds(groups, y, 3, rng, continuous=False))) == 2
    assert inner_folds(groups, np.array([1] + [0] * 9), 3, rng, continuous=False) is None


def test_people_without_a_pretraining_fold_get_one(rng):
    import pandas as pd

    folds = pd.DataFrame({"participant_id": ["a", "b", "c"], "fold": [0, 1, 1]})
    assert fold_column(pd.Series(["c", "z", "a", "y", "z"]), folds).tolist() == [1, 1, 0, 0, 1]
