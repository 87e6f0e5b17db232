"""Regression of the regional measures against its loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from anatcl.losses.anatcl_z import AnatCLZ
from anatcl.losses.regress import Regress


@pytest.fixture
def raw(rng):
    age, sex, tiv = rng.uniform(20, 80, 30), rng.integers(0, 2, 30), rng.normal(1.4e6, 1e5, 30)
    measures = 3 - 0.01 * age[:, None, None] + tiv[:, None, None] / 1e6 + rng.normal(0, 0.1, (30, 4, 3))
    covariates = torch.from_numpy(np.stack([age, sex, tiv], axis=1))
    return {"measures": torch.from_numpy(measures), "covariates": covariates, "age": torch.from_numpy(age)}


def loops(z, raw):
    """Residuals by ordinary least squares, each divided by its SD; smooth L1 one number at a time."""
    x, y = raw["covariates"].numpy(), raw["measures"].flatten(1).numpy()
    residual = np.stack([c - LinearRegression().fit(x, c).predict(x) for c in y.T], axis=1)
    r = (residual / residual.std(axis=0)).tolist()
    rows, total = z.tolist(), 0.0
    for i, row in enumerate(rows):
        for p, value in enumerate(row):
            d = abs(value - r[i % len(r)][p])
            total += d * d / 2 if d < 1 else d - 0.5
    return total / (len(rows) * len(rows[0]))


@pytest.mark.parametrize("views", [1, 2])
def test_it_equals_its_loops(raw, rng, views):
    loss = Regress()
    targets = loss.fit(raw)
    z = torch.from_numpy(rng.normal(size=(30 * views, 12)) * 2)
    assert loss.head == "linear-12"
    assert loss(z, targets)["loss"].item() == pytest.approx(loops(z, raw), abs=1e-5)


def test_gradient(raw):
    loss = Regress()
    targets = {"features": loss.fit(raw)["features"][:3]}
    z = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets)["loss"], (z,))


def test_known_values(raw):
    loss = Regress()
    targets = loss.fit(raw)
    assert loss(targets["features"], targets)["loss"] == 0
    assert loss(targets["features"] + 3, targets)["loss"].item() == pytest.approx(2.5, rel=1e-5)
    nothing = loss(torch.zeros(30, 12), targets)["loss"].item()
    assert 0.3 < nothing < 0.5  # residuals of SD 1: half the mean square, a little less beyond the turning point


def test_the_targets_are_those_of_anatcl_z_and_carry_no_age_sex_or_head_size(raw):
    features = Regress().fit(raw)["features"]
    assert torch.equal(features, AnatCLZ().fit(raw)["features"])
    for column in raw["covariates"].T:
        assert abs(torch.corrcoef(torch.stack([features[:, 0].double(), column]))[0, 1]) < 1e-5


def test_wrong_shapes_and_missing_labels_are_refused(raw):
    loss = Regress()
    targets = loss.fit(raw)
    with pytest.raises(ValueError, match="do not fit"):
        loss(torch.zeros(30, 11), targets)
    with pytest.raises(ValueError, match="do not fit"):
        loss(torch.zeros(31, 12), targets)
    targets["features"][2, 3] = math.nan
    with pytest.raises(ValueError, match="1 value of 'features'"):
        loss.check(targets)


def test_a_constant_measure_asks_for_nothing(raw):
    raw["measures"][:, 0, 0] = 2.0
    assert (Regress().fit(raw)["features"][:, 0] == 0).all()
