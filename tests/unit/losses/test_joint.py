"""A joint objective is the weighted sum of its parts, each with its own head and statistics."""

from __future__ import annotations

import pytest
import torch

from anatcl.losses.age_regression import AgeRegression
from anatcl.losses.anatcl_global import AnatCLGlobal
from anatcl.losses.anatcl_z import AnatCLZ
from anatcl.losses.joint import Joint
from anatcl.losses.regress import Regress
from anatcl.losses.y_aware import YAware


@pytest.fixture
def raw(batch):
    covariates = torch.stack([batch.age, batch.age.round() % 2, batch.measures.sum((1, 2))], dim=1)
    return {"age": batch.age, "measures": batch.measures, "covariates": covariates}


def test_it_is_the_weighted_sum_of_its_parts_alone(batch, raw):
    made = {"y-aware": YAware, "anatcl-global": AnatCLGlobal, "regress": Regress, "age-regression": AgeRegression}
    weights = {"y-aware": 1.0, "anatcl-global": 0.25, "regress": 0.5, "age-regression": 2.0}
    joint = Joint({name: kind() for name, kind in made.items()}, weights)
    targets = joint.fit(raw)
    assert joint.head == "linear-12+projection+regression" and set(joint.needs) == {"age", "features"}
    z = {
        "projection": batch.z.clone().requires_grad_(),
        "linear-12": torch.randn(12, 12, dtype=torch.float64).requires_grad_(),
        "regression": torch.randn(12, dtype=torch.float64).requires_grad_(),
    }
    terms = joint(z, targets)
    alone = {name: kind() for name, kind in made.items()}
    single = {name: loss(z[loss.head], own)["loss"] for name, loss in alone.items() if (own := loss.fit(raw))}
    for name, value in single.items():
        torch.testing.assert_close(terms[name], value)
    expected = sum(weights[name] * value for name, value in single.items())
    torch.testing.assert_close(terms["loss"], expected)
    one, two = (torch.autograd.grad(value, list(z.values())) for value in (terms["loss"], expected))
    torch.testing.assert_close(one, two)


def test_parts_keep_their_own_targets_kernels_and_statistics(raw):
    joint = Joint({"anatcl-z": AnatCLZ(), "y-aware": YAware(), "regress": Regress()}, dict.fromkeys("abc", 1.0))
    targets = joint.fit(raw)
    kernels = joint.weights(targets)
    assert list(kernels) == ["anatcl-z anatomy", "anatcl-z age", "y-aware age"]
    assert joint.statistics()["anatcl-z"]["bandwidth"] > 0 and "coefficients" in joint.statistics()["regress"]
    targets["y-aware age"] = torch.full((6,), float("nan"))
    with pytest.raises(ValueError, match="YAware: 6 values of 'age'"):
        joint.check(targets)


def test_parts_of_one_head_take_the_tensor(batch, raw):
    joint = Joint(
        {"y-aware": YAware(), "anatcl-global": AnatCLGlobal(standardise=True)}, {"y-aware": 1, "anatcl-global": 1}
    )
    targets = joint.fit(raw)
    assert joint.head == "projection" and "anatcl-global: cosines" in joint.reading()
    assert joint(batch.z[:6], targets, copies=2)["loss"].isfinite()
