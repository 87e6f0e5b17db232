"""Tissue fractions on phantoms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import balls, gaussian_posteriors
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.preprocess import mixels
from anatcl.preprocess.fractions import denoise, fractions, noise_level, peel
from anatcl.preprocess.template import prepare
from anatcl.spec.recipe import load_recipe

LEVELS = np.array([0.3, 0.75, 1.0])


def scan_of(truth, rng, noise=0.04):
    return (np.tensordot(LEVELS, truth, 1) + rng.normal(0, noise, truth.shape[1:])).astype(np.float32)


@pytest.fixture(scope="module")
def phantom():
    rng = np.random.default_rng(0)
    truth, mask = balls()
    image = scan_of(truth, rng)
    return truth, mask, image, gaussian_posteriors(image, mask, truth, LEVELS)


@pytest.fixture(scope="module")
def shares(phantom):
    """Fractions of the phantom, and the facts."""
    _, mask, image, posteriors = phantom
    return fractions(image, mask, posteriors, np.ones(3))


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_em_finds_levels_noise_and_shares(rng):
    kind = rng.integers(0, 4, 60_000)
    part = rng.uniform(size=kind.size)
    truth = np.zeros((3, kind.size))
    for k, (one, other) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2)]):
        at = kind == k
        truth[one, at], truth[other, at] = (1, 1) if one == other else (1 - part[at], part[at])
    values = (LEVELS @ truth + rng.normal(0, 0.03, kind.size)).astype(np.float32)
    priors = np.full(truth.shape, 1 / 3, np.float32)
    model = mixels.fit(values, priors, np.array([0.35, 0.7, 0.95]), 0.1)
    assert model.levels == pytest.approx(LEVELS, abs=0.01)
    assert model.noise == pytest.approx(0.03, rel=0.1)
    found, _ = model.fractions(values, priors)
    assert found.mean(1) == pytest.approx(truth.mean(1), abs=0.012)
    assert np.abs(found - truth).mean() < 0.07


def test_mixtures_lie_between_their_tissues():
    states, kinds = mixels.compositions(), mixels.kinds()
    assert states.shape == (3 + 3 * mixels.PARTS, 3) and (states.sum(1) == pytest.approx(1))
    for number, pair in enumerate(mixels.PAIRS, 3):
        mixed = states[kinds == number]
        assert (mixed[:, list(pair)] > 0).all() and mixed.mean(0)[list(pair)] == pytest.approx([0.5, 0.5])


def test_a_tissue_that_is_not_there_keeps_its_start(rng):
    values = np.where(rng.uniform(size=5000) < 0.5, 0.75, 1.0) + rng.normal(0, 0.02, 5000)
    priors = np.repeat([[1e-6], [0.5], [0.5]], 5000, 1).astype(np.float32)
    model = mixels.fit(values.astype(np.float32), priors, np.array([0.3, 0.7, 1.0]), 0.07)
    assert np.isfinite(model.levels).all() and model.levels[1:] == pytest.approx([0.75, 1.0], abs=0.02)


def test_a_value_that_nothing_explains_is_the_nearest_tissue():
    model = mixels.Mixels(LEVELS, 0.01, np.ones(6))
    found, _ = model.fractions(np.array([-9.0, 9.0], np.float32), np.full((3, 2), 1 / 3, np.float32))
    assert found.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_volumes_are_those_of_the_balls(phantom, shares):
    truth, _, _, posteriors = phantom
    found, facts = shares
    error = found.sum((1, 2, 3)) / truth.sum((1, 2, 3)) - 1
    assert np.abs(error).max() < 0.03
    plain = posteriors.sum((1, 2, 3)) / truth.sum((1, 2, 3)) - 1
    assert np.abs(error[1:]).max() < np.abs(plain[1:]).max() / 2
    assert facts["TissueMethod"] == "fractions" and facts["Levels"]["WM"] == pytest.approx(1.0, abs=0.03)


def test_coarse_voxels_are_worked_on_in_pieces():
    truth, mask = balls((40.0, 30.0, 24.0), spacing=2.0)
    image = scan_of(truth, np.random.default_rng(1))
    found, facts = fractions(image, mask, gaussian_posteriors(image, mask, truth, LEVELS), np.full(3, 2.0))
    assert facts["GridMm"] == [1.0, 1.0, 1.0]
    assert np.abs(found.sum((1, 2, 3)) / truth.sum((1, 2, 3)) - 1).max() < 0.05
    assert np.abs(found - truth).mean() < 0.02


def test_hard_labels_are_nearer_the_truth_than_those_of_posteriors(phantom, shares):
    truth, mask, _, posteriors = phantom
    found, _ = shares
    for tissue in (1, 2):
        true = mask & (truth.argmax(0) == tissue)
        ours, plain = (overlap(mask & (m.argmax(0) == tissue), true) for m in (found, posteriors))
        assert ours > plain and ours > 0.95


def test_fractions_add_up_inside_the_brain_and_are_nothing_outside(phantom, shares):
    mask, (found, _) = phantom[1], shares
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1 + 1e-5
    assert found.sum(0)[mask] == pytest.approx(1, abs=1e-4)
    assert (found[:, ~mask] == 0).all()


@settings(max_examples=3, deadline=None)
@given(st.floats(1e-3, 1e4))
def test_the_unit_of_the_scan_does_not_matter(phantom, shares, unit):
    _, mask, image, posteriors = phantom
    one, _ = shares
    other, _ = fractions((image * unit).astype(np.float32), mask, posteriors, np.ones(3))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_two_runs_are_equal_bytes(phantom, shares):
    _, mask, image, posteriors = phantom
    assert fractions(image, mask, posteriors, np.ones(3))[0].tobytes() == shares[0].tobytes()


@settings(max_examples=3, deadline=None)
@given(st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * 3))
def test_the_field_of_view_does_not_matter(phantom, shares, wider):
    _, mask, image, posteriors = phantom
    around = np.pad(posteriors, [(0, 0), *wider])
    found, _ = fractions(np.pad(image, wider), np.pad(mask, wider), around, np.ones(3))
    inside = tuple(slice(low, low + n) for (low, _), n in zip(wider, mask.shape, strict=True))
    np.testing.assert_allclose(found[:, *inside], shares[0], atol=0.02)
    assert found.sum() == pytest.approx(shares[0].sum(), rel=1e-6)


def test_very_coarse_voxels_are_cut_into_three_a_side():
    truth, mask = balls((60.0, 50.0, 38.0), (28, 28, 28), spacing=5.0)
    image = scan_of(truth, np.random.default_rng(1))
    found, facts = fractions(image, mask, gaussian_posteriors(image, mask, truth, LEVELS), np.full(3, 5.0))
    assert facts["GridMm"] == pytest.approx([5 / 3] * 3, abs=1e-4)
    assert np.abs(found.sum((1, 2, 3)) / truth.sum((1, 2, 3)) - 1)[1:].max() < 0.05


def test_a_nucleus_as_bright_as_white_matter_is_grey(phantom):
    truth, mask, _, posteriors = phantom
    nucleus = balls((20.0, 20.0, 5.0))[0][2]
    bright = np.tensordot(LEVELS, truth, 1) - 0.02 * nucleus
    image = (bright + np.random.default_rng(2).normal(0, 0.03, bright.shape)).astype(np.float32)
    blurred = ndimage.gaussian_filter(nucleus, 1.0)
    without, _ = fractions(image, mask, posteriors, np.ones(3))
    found, facts = fractions(image, mask, posteriors, np.ones(3), blurred)
    inside = nucleus > 0.9
    assert without[1][inside].mean() < 0.1 and found[1][inside].mean() > 0.7
    assert (found[1] - without[1]).sum() == pytest.approx(nucleus.sum(), rel=0.15)
    assert facts["DeepNuclei"] and found[2][blurred < 1e-3] == pytest.approx(without[2][blurred < 1e-3], abs=2e-3)


def test_a_sheet_beside_the_brain_is_peeled():
    truth, mask = balls((20.0, 14.0, 10.0))
    sheet = mask & (np.abs(np.arange(mask.shape[0]) - 39.5)[:, None, None] < 1)
    found = truth.copy()
    found[:, sheet] = np.array([0, 1, 0])[:, None]
    peel(found, mask, np.ones(3))
    assert found[1][sheet].max() == 0 and found[0][sheet].min() == 1
    np.testing.assert_array_equal(found[2], truth[2])
    assert found[1][~sheet].sum() == pytest.approx(truth[1][~sheet].sum(), rel=0.01)


def test_noise_is_measured_beside_structure(rng):
    truth, _ = balls()
    flat = np.tensordot(LEVELS, truth, 1)
    noisy = flat + rng.normal(0, 0.05, flat.shape)
    where = ndimage.binary_erosion(truth[2] > 0.99)
    found = noise_level(noisy, where)
    assert found == pytest.approx(0.05, rel=0.15)
    clean = denoise(noisy.astype(np.float32), found)
    assert np.abs(clean - flat)[where].mean() < 0.5 * np.abs(noisy - flat)[where].mean()


def test_what_is_no_t1w_brain_is_said(phantom):
    _, mask, image, posteriors = phantom
    broken = image.copy()
    broken[tuple(n // 2 for n in broken.shape)] = np.nan
    cases = [
        (broken, posteriors, "not finite"),
        (image, posteriors * np.array([1, 1, 0])[:, None, None, None], "hardly any white matter"),
        (image, posteriors * np.array([1, 0, 1])[:, None, None, None], "hardly any grey matter"),
        (1.4 - image, posteriors, "not a T1w contrast"),
    ]
    for scan, maps, words in cases:
        with pytest.raises(InputError, match=words) as error:
            fractions(scan, mask, maps, np.ones(3))
        assert "corrections" in str(error.value)


def test_a_brain_without_csf_has_fractions(rng):
    truth, mask = balls((15.0, 15.0, 11.0))
    image = scan_of(truth, rng)
    posteriors = gaussian_posteriors(image, mask, truth, LEVELS)
    posteriors[0] = 0
    found, _ = fractions(image, mask, posteriors, np.ones(3))
    assert np.isfinite(found).all() and found[2].sum() == pytest.approx(truth[2].sum(), rel=0.1)


def test_the_template_says_where_the_nuclei_are(tmp_path):
    template = prepare("MNI152NLin2009aSym", 4.0, tmp_path)
    nuclei, grey = template.volume("nuclei"), template.volume("gm")
    assert nuclei.data.shape == grey.data.shape and 0.9 < nuclei.data.max() <= 1
    # Thalamus, caudate, putamen, pallidum and accumbens of both sides: some 50 ml.
    assert 35e3 < nuclei.data.sum() * nuclei.voxel_volume < 70e3
    assert "nuclei.nii.gz" in template.about["sha256"]


def test_recipes_name_the_method():
    assert {load_recipe(name, "segment")["method"] for name in ("testing", "fast", "precise")} == {"fractions"}
