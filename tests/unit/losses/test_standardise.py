"""AnatCL-global and -local on z-scored measures against loops, and what the second reading of ``normTrue`` changes."""

from __future__ import annotations

import pytest
import torch

from anatcl.losses.anatcl_global import AnatCLGlobal
from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.losses.kernels import perplexity

KINDS = (AnatCLGlobal, AnatCLLocal)


def z_scores(measures):
    """Each measure of each region: minus its mean over people, by its SD over people."""
    n, regions, kinds = measures.shape
    found = [[[0.0] * kinds for _ in range(regions)] for _ in range(n)]
    for k in range(regions):
        for m in range(kinds):
            column = measures[:, k, m].tolist()
            mean = sum(column) / n
            sd = (sum((v - mean) ** 2 for v in column) / n) ** 0.5
            for i in range(n):
                found[i][k][m] = (column[i] - mean) / sd
    return found


def loops(slow, kind, measures):
    """Mean over measures of cosines over regions (global), or over regions of cosines over measures (local); >= 0."""
    z = z_scores(measures)
    if kind is AnatCLGlobal:
        z = [[list(column) for column in zip(*person, strict=True)] for person in z]
    mean = [[sum(slow.cosine(u, v) for u, v in zip(a, b, strict=True)) / len(a) for b in z] for a in z]
    return [[max(0.0, value) for value in row] for row in mean]


@pytest.mark.parametrize("kind", KINDS)
def test_standardised_weights_and_loss_equal_their_loops(slow, batch, kind):
    loss = kind(temperature=0.1, sigma=2.0, lambda_=0.7, alpha_age=1.3, standardise=True)
    targets = loss.fit({"age": batch.age, "measures": batch.measures})
    w = loops(slow, kind, batch.measures)
    torch.testing.assert_close(
        loss.anatomy(targets["features"]), torch.tensor(w, dtype=torch.float64), atol=1e-12, rtol=0
    )
    expected = 0.7 * slow.soft(batch.z, w, 0.1) + 1.3 * slow.soft(batch.z, slow.age_weights(batch.age, 2.0), 0.1)
    assert loss(batch.z, targets)["loss"].item() == pytest.approx(expected, abs=1e-6)
    z = batch.z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets)["loss"], (z,))


@pytest.mark.parametrize("kind", KINDS)
def test_unlike_people_weigh_less_than_raw_cosines_say(rng, kind):
    """People of one profile over regions, each with a deviation of 3 %: raw cosines see the profile alone."""
    profile = torch.from_numpy(rng.uniform(1, 10, (1, 12, 3)))
    measures = profile * (1 + 0.03 * torch.from_numpy(rng.normal(size=(60, 12, 3))))
    raw = {"measures": measures, "age": torch.zeros(60, dtype=torch.float64)}
    sharp, plain = kind(standardise=True), kind()
    one, two = (perplexity(loss.anatomy(loss.fit(raw)["features"])) for loss in (sharp, plain))
    assert one < 0.6 < 0.99 < two


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_people_it_was_fitted_on(batch, kind):
    loss = kind(standardise=True)
    features = loss.fit({"age": batch.age[:4], "measures": batch.measures[:4]})["features"]
    torch.testing.assert_close(loss.prepare(loss.scaled(batch.measures))[:4], features)
    said = loss.statistics()
    torch.testing.assert_close(
        torch.tensor(said["measure_mean"]).double(), batch.measures[:4].mean(0), rtol=1e-6, atol=0
    )
    assert not kind().statistics() and "true" in loss.reading() and "published" in kind().reading()


@pytest.mark.parametrize("kind", KINDS)
def test_a_measure_that_is_the_same_for_all_has_no_say(batch, kind):
    batch.measures[:, 1, 2] = 3.3
    loss = kind(standardise=True)
    features = loss.fit({"age": batch.age, "measures": batch.measures})["features"]
    assert torch.isfinite(features).all() and (loss.scaled(batch.measures)[:, 1, 2] == 0).all()
    assert loss.statistics()["measure_sd"][1][2] == 0
