"""y-Aware, AnatCL-global and AnatCL-local against their transcriptions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from anatcl.losses import base
from anatcl.losses.anatcl_global import AnatCLGlobal
from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.losses.base import log_denominators, soft_info_nce
from anatcl.losses.kernels import age_rbf, perplexity
from anatcl.losses.y_aware import YAware


def matrix(rows):
    return torch.tensor(rows, dtype=torch.float64)


def targets(loss, batch):
    return loss.fit({"age": batch.age, "measures": batch.measures})


@pytest.mark.parametrize("views", [1, 2, 3])
def test_soft_info_nce_equals_its_loops(slow, rng, views):
    z = F.normalize(torch.from_numpy(rng.normal(size=(views * 5, 4))), dim=1)
    w = torch.from_numpy(rng.uniform(0, 1, (5, 5)))
    found = soft_info_nce(z, {"w": w}, 0.1)["w"]
    assert found.item() == pytest.approx(slow.soft(z, w.tolist(), 0.1), abs=1e-9)


def test_y_aware_equals_its_loops(slow, batch):
    loss = YAware(temperature=0.1, sigma=5.0)
    found = loss(batch.z, targets(loss, batch))["loss"]
    assert found.item() == pytest.approx(slow.soft(batch.z, slow.age_weights(batch.age, 5.0), 0.1), abs=1e-6)


@pytest.mark.parametrize("kind, weights", [(AnatCLGlobal, "global_weights"), (AnatCLLocal, "local_weights")])
def test_anatcl_equals_its_loops(slow, batch, kind, weights):
    loss = kind(temperature=0.1, sigma=2.0, lambda_=0.7, alpha_age=1.3)
    prepared = targets(loss, batch)
    w = getattr(slow, weights)(batch.measures)
    torch.testing.assert_close(loss.anatomy(prepared["features"]), matrix(w), atol=1e-12, rtol=0)
    terms = loss(batch.z, prepared)
    anatomy, age = slow.soft(batch.z, w, 0.1), slow.soft(batch.z, slow.age_weights(batch.age, 2.0), 0.1)
    assert terms["anatomy"].item() == pytest.approx(anatomy, abs=1e-6)
    assert terms["age"].item() == pytest.approx(age, abs=1e-6)
    assert terms["loss"].item() == pytest.approx(0.7 * anatomy + 1.3 * age, abs=1e-6)


@pytest.mark.parametrize("kind", [YAware, AnatCLGlobal, AnatCLLocal])
def test_gradient(batch, kind):
    loss = kind()
    prepared = targets(loss, batch)
    z = batch.z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, prepared)["loss"], (z,))


def test_known_value_two_subjects_one_view():
    # One possible partner: its probability is 1 whatever its weight, so the loss is 0.
    z = F.normalize(torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64), dim=1)
    assert YAware()(z, {"age": torch.tensor([20.0, 21.0])})["loss"].item() == pytest.approx(0, abs=1e-12)


def test_known_value_orthogonal_rows():
    # All similarities 0: every partner has probability 1/(N-1), so the loss is log(N-1) for any weights.
    z = torch.eye(4, dtype=torch.float64)
    assert YAware()(z, {"age": torch.tensor([20.0, 30, 40, 41])})["loss"].item() == pytest.approx(math.log(3))


def test_diagonals_are_one(batch):
    # A twin view keeps weight 1: nobody resembles me more than myself.
    for kind in (AnatCLGlobal, AnatCLLocal):
        loss = kind()
        w = loss.anatomy(targets(loss, batch)["features"])
        if kind is AnatCLGlobal:
            torch.testing.assert_close(w.diagonal(), torch.ones(6, dtype=torch.float64))
        assert (w <= w.diagonal().amax() + 1e-12).all() and torch.allclose(w, w.T)


def test_local_region_of_minima_counts_zero():
    # Region 0 has the smallest value of every measure: after min-max it is a zero vector without direction.
    measures = torch.tensor([[[1.0, 1, 1], [2, 3, 2], [3, 2, 3]]] * 2, dtype=torch.float64)
    loss = AnatCLLocal()
    w = loss.anatomy(loss.prepare(measures))
    torch.testing.assert_close(w, torch.full((2, 2), 2 / 3, dtype=torch.float64))


@given(seed=st.integers(0, 1000))
def test_order_of_subjects_does_not_matter(seed):
    random = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(2, 6, 4, generator=random, dtype=torch.float64), dim=2)
    measures = torch.rand(6, 5, 3, generator=random, dtype=torch.float64) + 1
    age = torch.rand(6, generator=random, dtype=torch.float64) * 60
    order = torch.randperm(6, generator=random)
    regions = torch.randperm(5, generator=random)
    for kind in (YAware, AnatCLGlobal, AnatCLLocal):
        loss = kind()
        one = loss(z.reshape(12, 4), loss.fit({"age": age, "measures": measures}))["loss"]
        shuffled = {"age": age[order], "measures": measures[order][:, regions]}
        two = loss(z[:, order].reshape(12, 4), loss.fit(shuffled))["loss"]
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", [YAware, AnatCLGlobal, AnatCLLocal])
def test_identical_views_once_or_twice(batch, kind):
    """Repeating z, or counting it twice, gives the loss and the gradient of embedding both views."""
    loss = kind()
    prepared = targets(loss, batch)
    weight = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = loss(F.normalize(torch.cat([x, x]) @ weight, dim=1), prepared)["loss"]
    gradient = torch.autograd.grad(both, weight, retain_graph=True)
    for once in (
        loss(F.normalize(x @ weight, dim=1).repeat(2, 1), prepared)["loss"],
        loss(F.normalize(x @ weight, dim=1), prepared, copies=2)["loss"],
    ):
        torch.testing.assert_close(once, both)
        torch.testing.assert_close(torch.autograd.grad(once, weight), gradient)


@pytest.mark.parametrize("kind", [YAware, AnatCLGlobal, AnatCLLocal])
def test_one_subject_with_two_views_is_defined(batch, kind):
    loss = kind()
    assert loss(batch.z[:1], {k: v[:1] for k, v in targets(loss, batch).items()}, copies=2)["loss"].abs() < 1e-12
    prepared = {k: v[:1] for k, v in targets(loss, batch).items()}
    assert loss(batch.z[:2], prepared)["loss"].item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="at least two rows"):
        loss(batch.z[:1], prepared)


def test_identical_ages_are_supcon_of_one_class(slow, batch):
    loss = YAware()(batch.z, {"age": torch.full((6,), 30.0)})["loss"]
    assert loss.item() == pytest.approx(slow.soft(batch.z, [[1.0] * 6] * 6, 0.1), abs=1e-6)


def test_a_row_without_positives_counts_zero(slow):
    # One view, ages so far apart that every weight underflows to 0: nothing attracts, nothing is NaN.
    z = torch.eye(3, dtype=torch.float64).requires_grad_()
    loss = YAware(sigma=0.5)(z, {"age": torch.tensor([0.0, 1000, 2000])})["loss"]
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("kind, name", [(YAware, "age"), (AnatCLGlobal, "features")])
def test_missing_labels_are_named(batch, kind, name):
    loss = kind()
    prepared = targets(loss, batch)
    with pytest.raises(ValueError, match=name):
        loss.check({k: v for k, v in prepared.items() if k != name})
    prepared[name][2] = float("nan")
    with pytest.raises(ValueError, match=f"{prepared[name][2].numel()} values? of '{name}'"):
        loss.check(prepared)
    with pytest.raises(ValueError, match=f"{name} holds values"):
        loss(batch.z, prepared)


def test_rows_that_are_no_whole_views_are_refused(batch):
    with pytest.raises(ValueError, match="whole views"):
        YAware()(batch.z[:7], {"age": batch.age})


def test_half_precision_input_gives_float32_loss(batch):
    loss = YAware()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(batch.z.bfloat16(), {"age": batch.age})["loss"]
        exact = loss(batch.z.bfloat16().float(), {"age": batch.age})["loss"]
    assert found.dtype == torch.float32
    assert found.item() == exact.item()


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_blocks_of_the_log_sum_exp_agree(monkeypatch, rng, copies):
    z = F.normalize(torch.from_numpy(rng.normal(size=(23, 6))), dim=1).requires_grad_()
    whole = log_denominators(z, 0.1, copies)
    repeated = log_denominators(z.repeat(copies, 1), 0.1)
    torch.testing.assert_close(repeated[:23], whole)
    grad = torch.autograd.grad(whole.square().sum(), z)[0]
    monkeypatch.setattr(base, "BLOCK", 8)
    blocks = log_denominators(z, 0.1, copies)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(torch.autograd.grad(blocks.square().sum(), z)[0], grad)


def test_perplexity():
    assert perplexity(torch.ones(7, 7)) == pytest.approx(1)
    assert perplexity(torch.eye(4) + torch.eye(4).roll(1, 0)) == pytest.approx(1 / 3)
    assert 0 < perplexity(age_rbf(torch.arange(9.0), 1.0)) < 1
