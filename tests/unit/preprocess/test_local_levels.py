"""Levels of grey and white matter that differ from place to place, on phantoms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import balls, gaussian_posteriors
from scipy import ndimage

from anatcl.preprocess import fractions as module
from anatcl.preprocess.fractions import fractions
from anatcl.preprocess.local_levels import SHARE, core, evened, nearby
from anatcl.preprocess.mixels import CSF, GREY, WHITE

LEVELS = np.array([0.3, 0.7, 1.0])
ONE = np.ones(3)


def ball():
    return balls(shape=(46, 46, 46))


def scan(truth, grey=LEVELS[GREY], white=LEVELS[WHITE], noise=0.0, rng=None):
    image = truth[CSF] * LEVELS[CSF] + truth[GREY] * grey + truth[WHITE] * white
    return (image + (rng.normal(0, noise, image.shape) if noise else 0)).astype(np.float32)


def errors(image, mask, truth, monkeypatch, rounds):
    """Errors (share) of the volumes of grey and of white matter."""
    monkeypatch.setattr(module, "ROUNDS", rounds)
    found, _ = fractions(image, mask, gaussian_posteriors(image, mask, truth, LEVELS), ONE)
    return np.abs(found.sum((1, 2, 3)) / truth.sum((1, 2, 3)) - 1)[GREY:]


def test_a_scan_of_the_same_levels_everywhere_stays_as_it_is():
    truth, mask = ball()
    image = scan(truth)
    found = evened(image, truth, mask, LEVELS, ONE, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[mask], image[mask], atol=0.02)


def test_cortex_of_two_levels_gets_one():
    truth, mask = ball()
    side = np.where(np.arange(46) < 23, -0.05, 0.05)[:, None, None]
    found = evened(scan(truth, grey=LEVELS[GREY] + side), truth, mask, LEVELS, ONE, 1.0)
    pure = truth[GREY] > 0.99
    ends = pure & (np.abs(np.arange(46) - 22.5) > 8)[:, None, None]
    assert found[ends] == pytest.approx(LEVELS[GREY], abs=0.015)


def test_borders_are_right_where_levels_differ(monkeypatch, rng):
    truth, mask = ball()
    side = np.where(np.arange(46) < 23, -1.0, 1.0)[:, None, None]
    image = scan(truth, LEVELS[GREY] + 0.05 * side, LEVELS[WHITE] + 0.05 * side, 0.02, rng)
    half = (np.arange(46) < 23)[:, None, None]
    monkeypatch.setattr(module, "FIELD_MM", 1000.0)  # or flattening takes the difference away
    found = []
    for rounds in (0, 2):
        monkeypatch.setattr(module, "ROUNDS", rounds)
        found.append(fractions(image, mask, gaussian_posteriors(image, mask, truth, LEVELS), ONE)[0][WHITE])
    for part in (half, ~half):
        off = [abs((white * part).sum() / (truth[WHITE] * part).sum() - 1) for white in found]
        assert off[1] < 0.03 and off[1] < off[0] / 2


def test_darker_thin_white_matter_is_not_lost(monkeypatch, rng):
    truth, mask = ball()
    x = np.arange(46) - 22.5
    plate = ((np.abs(x) < 1.5)[:, None, None] & (np.abs(x) < 9)[None, :, None] & (np.abs(x) < 13.9)[None, None]) & mask
    truth = truth.copy()
    blade = plate & (truth[WHITE] < 0.5) & (truth[CSF] < 0.01)
    truth[:, blade] = np.array([0, 0, 1.0], np.float32)[:, None]
    image = scan(truth, white=np.where(blade, 0.9, 1.0), noise=0.02, rng=rng)
    lost = []
    for rounds in (0, 2):
        monkeypatch.setattr(module, "ROUNDS", rounds)
        found, _ = fractions(image, mask, gaussian_posteriors(image, mask, truth, LEVELS), ONE)
        lost.append(1 - found[WHITE][blade].mean())
    assert lost[1] < 0.75 * lost[0]


def test_where_levels_are_even_volumes_stay_right(monkeypatch, rng):
    truth, mask = ball()
    image = scan(truth, noise=0.03, rng=rng)
    assert errors(image, mask, truth, monkeypatch, 2).max() < 0.03


def test_deep_nuclei_do_not_count_as_cortex():
    truth, mask = ball()
    deep = np.zeros(mask.shape, np.float32)
    deep[20:26, 20:26, 20:26] = 1
    truth = truth.copy()
    truth[:, deep > 0] = np.array([0, 1.0, 0], np.float32)[:, None]
    around = ndimage.binary_dilation(deep > 0, iterations=2) & (deep == 0)
    truth[:, around] = np.array([0, 0.5, 0.5], np.float32)[:, None]
    image = scan(truth)
    image[deep > 0] = 0.9
    with_it, without = (evened(image, truth, mask, LEVELS, ONE, 1.0, d) for d in (None, deep))
    assert np.abs(without - image)[around].max() < 0.01 < np.abs(with_it - image)[around].max()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 4.0))
def test_levels_stay_apart_and_their_order_holds(seed, voxel_mm):
    rng = np.random.default_rng(seed)
    image = rng.uniform(-1, 3, (9, 10, 11)).astype(np.float32)
    found = rng.dirichlet([0.5] * 3, image.shape).transpose(3, 0, 1, 2).astype(np.float32)
    out = evened(image, found, np.ones(image.shape, bool), LEVELS, ONE, voxel_mm)
    assert np.isfinite(out).all()
    # A level moves by a third of the way at most, so no slope is more than three times as steep.
    brightest = LEVELS[GREY] + SHARE * (LEVELS[WHITE] - LEVELS[GREY])
    assert (out[image > brightest] > LEVELS[GREY]).all()
    assert (out[image < LEVELS[CSF]] < LEVELS[CSF]).all()


def test_no_tissue_at_all_leaves_the_levels_of_the_head():
    image = np.full((8, 8, 8), 0.8, np.float32)
    out = evened(image, np.zeros((3, 8, 8, 8), np.float32), np.ones((8, 8, 8), bool), LEVELS, ONE, 1.0)
    np.testing.assert_allclose(out, 0.8, atol=1e-5)


def test_core_is_deep_or_in_the_middle():
    tissue = np.zeros((20, 20, 20), bool)
    tissue[2:12, 2:18, 2:18] = True
    tissue[15:17, 2:18, 2:18] = True
    found = core(tissue, ONE, 1.0)
    assert not found[2, 8, 8] and found[4, 8, 8] and found[15, 8, 8] and found[16, 8, 8]
    assert core(tissue, ONE, 2.0).sum() < found.sum()


def test_a_level_far_from_any_voxel_is_that_of_the_head():
    where = np.zeros((40, 5, 5), bool)
    where[0] = True
    near = nearby(np.full((40, 5, 5), 2.0, np.float32), where, 1.0, 2.0 * ONE)
    assert near[0, 2, 2] == pytest.approx(2, abs=0.02) and near[-1, 2, 2] == pytest.approx(1)
