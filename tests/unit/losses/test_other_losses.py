"""ExpW, threshold, SimCLR, SupCon, Rank-N-Contrast, age regression and AnatCL-z against their transcriptions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from anatcl.losses.age_regression import AgeRegression
from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.losses.anatcl_z import AnatCLZ
from anatcl.losses.expw import ExpW
from anatcl.losses.kernels import perplexity
from anatcl.losses.rank_n_contrast import RankNContrast
from anatcl.losses.simclr import SimCLR
from anatcl.losses.supcon import SupCon
from anatcl.losses.threshold import Threshold

CONTRASTIVE = [ExpW, Threshold, SimCLR, SupCon, RankNContrast]


def expw_loops(slow, z, age, tau, sigma):
    s, w, n, b = slow.similarities(z, tau), slow.age_weights(age, sigma), len(z), len(age)
    total = 0.0
    for i in range(n):
        mass = sum(w[i % b][k % b] for k in range(n) if k != i)
        denominator = sum(math.exp(s[i][t] * (1 - w[i % b][t % b])) for t in range(n) if t != i)
        for k in range(n):
            if k != i:
                total -= w[i % b][k % b] / mass * math.log(math.exp(s[i][k]) / denominator)
    return total / n


def threshold_loops(slow, z, age, tau, sigma):
    s, w, n, b = slow.similarities(z, tau), slow.age_weights(age, sigma), len(z), len(age)
    total = 0.0
    for i in range(n):
        mass = sum(w[i % b][k % b] for k in range(n) if k != i)
        for k in range(n):
            less_alike = [t for t in range(n) if t != i and w[i % b][t % b] < w[i % b][k % b]]
            if k != i and less_alike:
                denominator = sum(math.exp(s[i][t]) for t in less_alike)
                total -= w[i % b][k % b] / mass * math.log(math.exp(s[i][k]) / denominator)
    return total / n


def nt_xent_loops(slow, z, tau):
    s, n = slow.similarities(z, tau), len(z)
    total = 0.0
    for i in range(n):
        twin = (i + n // 2) % n
        total -= math.log(math.exp(s[i][twin]) / sum(math.exp(s[i][t]) for t in range(n) if t != i))
    return total / n


def supcon_loops(slow, z, age, tau, width):
    s, n, b = slow.similarities(z, tau), len(z), len(age)
    bins = [math.ceil(float(y) / width) for y in age]
    total = 0.0
    for i in range(n):
        positives = [p for p in range(n) if p != i and bins[p % b] == bins[i % b]]
        denominator = sum(math.exp(s[i][t]) for t in range(n) if t != i)
        total -= sum(math.log(math.exp(s[i][p]) / denominator) for p in positives) / len(positives)
    return total / n


def rank_loops(z, age, tau):
    n, b = len(z), len(age)
    y, v = [float(age[i % b]) for i in range(n)], z.tolist()
    s = [[-math.dist(v[i], v[j]) / tau for j in range(n)] for i in range(n)]
    total = 0.0
    for i in range(n):
        for j in range(n):
            if j != i:
                members = [k for k in range(n) if k != i and abs(y[i] - y[k]) >= abs(y[i] - y[j])]
                total -= math.log(math.exp(s[i][j]) / sum(math.exp(s[i][k]) for k in members))
    return total / (n * (n - 1))


@pytest.fixture
def tied(batch):
    """The batch with two subjects of one age, so that rankings have ties beyond twins."""
    batch.age[4] = batch.age[1]
    return batch


def test_expw_equals_its_loops(slow, tied):
    found = ExpW(0.1, 5.0)(tied.z, {"age": tied.age})["loss"]
    assert found.item() == pytest.approx(expw_loops(slow, tied.z, tied.age, 0.1, 5.0), abs=1e-6)


def test_threshold_equals_its_loops(slow, tied):
    found = Threshold(0.1, 5.0)(tied.z, {"age": tied.age})["loss"]
    assert found.item() == pytest.approx(threshold_loops(slow, tied.z, tied.age, 0.1, 5.0), abs=1e-6)


def test_simclr_equals_its_loops(slow, batch):
    assert SimCLR(0.1)(batch.z, {})["loss"].item() == pytest.approx(nt_xent_loops(slow, batch.z, 0.1), abs=1e-6)


def test_supcon_equals_its_loops(slow, tied):
    found = SupCon(0.1, 8.0)(tied.z, {"age": tied.age})["loss"]
    assert found.item() == pytest.approx(supcon_loops(slow, tied.z, tied.age, 0.1, 8.0), abs=1e-6)


def test_rank_n_contrast_equals_its_loops(tied):
    z = tied.z * 3
    found = RankNContrast(2.0)(z, {"age": tied.age})["loss"]
    assert found.item() == pytest.approx(rank_loops(z, tied.age, 2.0), abs=1e-6)


def test_age_regression_equals_its_formula(batch):
    loss = AgeRegression()
    loss.fit({"age": batch.age})
    z = torch.linspace(-2, 2, 6, dtype=torch.float64)
    years = [float(batch.age.mean()) + float(batch.age.std(correction=0)) * float(v) for v in z]
    expected = sum(abs(a - float(b)) for a, b in zip(years, batch.age, strict=True)) / 6
    assert loss(z, {"age": batch.age})["loss"].item() == pytest.approx(expected, abs=1e-9)
    assert loss(torch.zeros(6), {"age": batch.age})["loss"].item() == pytest.approx(
        float((batch.age - batch.age.mean()).abs().mean()), rel=1e-5
    )


@pytest.mark.parametrize("kind", CONTRASTIVE)
def test_gradient(batch, kind):
    loss = kind()
    z = (batch.z * 2 if kind is RankNContrast else batch.z).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, {"age": batch.age})["loss"], (z,))


@pytest.mark.parametrize("kind", CONTRASTIVE)
def test_identical_views_have_finite_gradients(batch, kind):
    z = batch.z[:6].clone().requires_grad_()
    once = kind()(z.repeat(2, 1), {"age": batch.age})["loss"]
    once.backward()
    assert torch.isfinite(z.grad).all()
    torch.testing.assert_close(kind()(z, {"age": batch.age}, copies=2)["loss"], once)


@given(seed=st.integers(0, 500))
def test_order_of_subjects_does_not_matter(seed):
    random = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(2, 5, 4, generator=random, dtype=torch.float64), dim=2)
    age = (torch.rand(5, generator=random, dtype=torch.float64) * 10).round() + 20
    order = torch.randperm(5, generator=random)
    for kind in CONTRASTIVE:
        one = kind()(z.reshape(10, 4), {"age": age})["loss"]
        two = kind()(z[:, order].reshape(10, 4), {"age": age[order]})["loss"]
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind, value", [(ExpW, -10), (Threshold, 0), (SimCLR, 0), (SupCon, 0), (RankNContrast, 0)])
def test_one_subject_with_two_views(kind, value):
    # Only the twin is there (s = 10). ExpW: -log(exp(10) / exp(0)); threshold: nobody is less alike; else log 1.
    z = F.normalize(torch.ones(2, 5, dtype=torch.float64), dim=1).requires_grad_()
    loss = kind()(z, {"age": torch.tensor([30.0])})["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(value, abs=1e-9) and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("kind", CONTRASTIVE)
def test_identical_labels(batch, kind):
    z = batch.z.clone().requires_grad_()
    loss = kind()(z, {"age": torch.full((6,), 30.0)})["loss"]
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    if kind is Threshold:  # nobody is less alike than anybody
        assert loss.item() == 0


def test_rank_n_contrast_known_values():
    # All rows in one place: each member of S_ij is equally likely; the sets for ages 0, 1, 3 are counted by hand.
    z = torch.zeros(3, 4, dtype=torch.float64)
    sizes = [2, 1, 2, 1, 1, 2]
    loss = RankNContrast()(z, {"age": torch.tensor([0.0, 1, 3])})["loss"]
    assert loss.item() == pytest.approx(sum(math.log(n) for n in sizes) / 6)


def test_ranked_embeddings_beat_shuffled_ones():
    age = torch.arange(20.0, 80, 3)
    line = torch.stack([age, torch.zeros_like(age)], dim=1)
    random = torch.randperm(len(age), generator=torch.Generator().manual_seed(0))
    loss = RankNContrast()
    assert loss(line, {"age": age})["loss"] < loss(line[random], {"age": age})["loss"] / 2


@pytest.mark.parametrize("kind", [ExpW, Threshold, SupCon, RankNContrast])
def test_nan_age_is_named(batch, kind):
    batch.age[1] = float("nan")
    with pytest.raises(ValueError, match="age"):
        kind()(batch.z, {"age": batch.age})
    with pytest.raises(ValueError, match="1 value of 'age'"):
        kind().check({"age": batch.age})


def test_shapes_are_checked(batch):
    with pytest.raises(ValueError, match="one number per subject"):
        AgeRegression()(batch.z, {"age": batch.age})
    for kind in (ExpW, Threshold, RankNContrast):
        with pytest.raises(ValueError, match="whole views"):
            kind()(batch.z[:5], {"age": batch.age})
        with pytest.raises(ValueError, match="at least two rows"):
            kind()(batch.z[:1], {"age": batch.age[:1]})


def raw_targets(rng, n=40):
    age, sex = rng.uniform(20, 80, n), rng.integers(0, 2, n)
    tiv = rng.normal(1.4e6, 1e5, n)
    own = rng.normal(0, 0.1, (n, 4, 3))
    measures = 3 - 0.01 * age[:, None, None] + 0.2 * sex[:, None, None] + tiv[:, None, None] / 1e6 + own
    cov = torch.stack([torch.from_numpy(a.astype(float)) for a in (age, sex, tiv)], dim=1)
    return {"measures": torch.from_numpy(measures), "covariates": cov, "age": torch.from_numpy(age)}


def z_loops(raw):
    """Residuals by an ordinary least-squares fit of each measure, RBF at half the median distance."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    x, y = raw["covariates"].numpy(), raw["measures"].flatten(1).numpy()
    x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    residual = np.stack([c - LinearRegression().fit(x, c).predict(x) for c in y.T], axis=1)
    r = residual / residual.std(axis=0)
    d = [[math.dist(a, b) for b in r] for a in r]
    h = sorted(d[i][j] for i in range(len(r)) for j in range(i))[(len(r) * (len(r) - 1) // 2 - 1) // 2] / 2
    return [[math.exp(-(v**2) / (2 * h**2)) for v in row] for row in d]


def test_anatcl_z_equals_its_loops(slow, rng):
    raw = raw_targets(rng)
    raw["covariates"][3, 1] = float("nan")
    loss = AnatCLZ(0.1, 2.0, 0.7, 1.3)
    targets = loss.fit(raw)
    w = z_loops(raw)
    torch.testing.assert_close(
        loss.anatomy(targets["features"].double()), torch.tensor(w, dtype=torch.float64), atol=1e-5, rtol=0
    )
    z = F.normalize(torch.from_numpy(rng.normal(size=(80, 5))), dim=1)
    terms = loss(z, targets)
    age = slow.soft(z, slow.age_weights(raw["age"], 2.0), 0.1)
    assert terms["loss"].item() == pytest.approx(0.7 * slow.soft(z, w, 0.1) + 1.3 * age, abs=1e-4)


def test_anatcl_z_forgets_age_sex_and_head_size_but_not_the_person(rng):
    raw = raw_targets(rng)
    features = AnatCLZ().fit(raw)["features"].double()
    for column in raw["covariates"].T:
        assert abs(torch.corrcoef(torch.stack([features[:, 0], column]))[0, 1]) < 1e-5
    sharp, flat = AnatCLZ(), AnatCLLocal()
    z, local = sharp.fit(raw), flat.fit(raw)
    assert perplexity(sharp.anatomy(z["features"])) < 0.95 < perplexity(flat.anatomy(local["features"]))


def test_anatcl_z_applies_what_it_learned(rng):
    raw = raw_targets(rng)
    loss = AnatCLZ()
    features = loss.fit({k: v[:30] for k, v in raw.items()})["features"]
    again = loss.beyond.of(raw["measures"].flatten(1), raw["covariates"])
    torch.testing.assert_close(again[:30], features)
    assert len(loss.statistics()["coefficients"]) == 4


def test_anatcl_z_survives_constant_columns(rng):
    raw = raw_targets(rng)
    raw["measures"][:, 1, 2] = 5.0
    raw["covariates"][:, 1] = 1.0
    raw["covariates"][:, 2] = float("nan")
    loss = AnatCLZ()
    features = loss.fit(raw)["features"]
    assert torch.isfinite(features).all() and (features[:, 5] == 0).all()
