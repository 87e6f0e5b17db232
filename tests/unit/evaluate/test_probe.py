"""Probes equal scikit-learn's; folds never split a person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anatcl.evaluate.probe import RIDGE_PENALTIES, ConstantProbe, LogisticProbe, RidgeProbe, Standardise, ridge_path
from anatcl.evaluate.split import deal, fold_column, inner_folds


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_ridge_path_equals_sklearn(rng, shape):
    x, new = rng.normal(size=shape), rng.normal(size=(5, shape[1]))
    x, y = x - x.mean(0), rng.normal(size=(shape[0], 2)) + 3
    found = ridge_path(x, y, new, [0.5, 20.0])
    for i, a in enumerate([0.5, 20.0]):
        np.testing.assert_allclose(found[i], Ridge(alpha=a, tol=1e-12).fit(x, y).predict(new), atol=1e-8)


@pytest.mark.parametrize("d", [5, 60])
def test_ridge_probe_equals_grid_search(rng, d):
    x = rng.normal(2, 3, size=(50, d))
    y = x[:, 0] + rng.normal(0, 2, 50)
    groups = np.repeat(np.arange(25), 2).astype(str)
    folds = inner_folds(groups, y, 3, np.random.default_rng(5), continuous=True)
    pipeline = make_pipeline(StandardScaler(), Ridge())
    search = GridSearchCV(
        pipeline, {"ridge__alpha": RIDGE_PENALTIES}, cv=PredefinedSplit(folds), scoring="neg_mean_squared_error"
    ).fit(x, y)
    probe = RidgeProbe().fit(x, y, groups, np.random.default_rng(5))
    assert probe.penalty_ == search.best_params_["ridge__alpha"]
    new = rng.normal(2, 3, size=(9, d))
    np.testing.assert_allclose(probe.predict(new), search.predict(new), atol=1e-7)


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
    y = np.array([1.0, 2.0, 9.0])
    assert ConstantProbe(True).fit(np.zeros((3, 0)), y, y, None).predict(np.zeros((2, 0))).tolist() == [2.0, 2.0]
    labels = np.array([0, 1, 1])
    probe = ConstantProbe(False).fit(np.zeros((3, 0)), labels, labels, None)
    assert probe.classes_[probe.decision(np.zeros((2, 0))).argmax(1)].tolist() == [1, 1]


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
