"""The edges of the masks follow the scan: shells on an anisotropic grid, and simulated heads of several scanners."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anatcl.images import Volume
from anatcl.preprocess.geometry import close_mm, dilate_mm, erode_mm
from anatcl.preprocess.skull_edge import (
    CLOSE_MM,
    FLUID_MM,
    REACH_MM,
    brain_within,
    peeled,
    to_inner_table,
    with_rim,
)

WHITE = 500.0
CRANIUM_MM, BRAIN_MM, CORTEX_MM = 45.0, 41.0, 37.0
SPACING = np.array([2.0, 1.5, 2.5])


@functools.cache
def grid():
    """Coordinates (mm) around the middle of a grid of voxels of 2 x 1.5 x 2.5 mm, and their distance to it."""
    shape = (66, 86, 52)
    axes = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(shape, SPACING, strict=True)), indexing="ij")
    return axes, np.sqrt(sum(g**2 for g in axes))


@pytest.fixture
def head(rng):
    """White matter to 37 mm, grey to 41, CSF to 45, bone to 51, scalp to 57."""
    _, radius = grid()
    within = [radius < r for r in (CORTEX_MM, BRAIN_MM, CRANIUM_MM, 51, 57)]
    levels = np.select(within, [1.0, 0.7, 0.36, 0.08, 0.9], 0.01)
    noisy = WHITE * (levels + 0.03 * rng.standard_normal(radius.shape))
    return Volume(noisy.astype(np.float32), np.diag([*SPACING, 1.0])), radius


def dice(a, b):
    """Overlap of two masks."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("error_mm", [1.8, 2.6])
def test_a_carried_edge_in_the_bone_moves_to_the_inner_table(head, error_mm):
    scan, radius = head
    carried, truth = radius < CRANIUM_MM + error_mm, radius < CRANIUM_MM
    assert 1 - dice(to_inner_table(scan, carried), truth) < 0.9 * (1 - dice(carried, truth))


def test_an_edge_that_is_right_stays(head):
    scan, radius = head
    assert dice(to_inner_table(scan, radius < CRANIUM_MM), radius < CRANIUM_MM) > 0.95


def test_thick_fluid_beyond_the_carried_mask_is_found(rng):
    """A shrunken brain: 7 mm of CSF over the vertex, where the carried mask ends at the cortex."""
    (_, _, z), radius = grid()
    brain = radius < np.where(z > 20, 36, 42)
    levels = np.select([brain & (radius < 34), brain, radius < CRANIUM_MM, radius < 51], [1.0, 0.7, 0.25, 0.06], 0.8)
    scan = Volume(WHITE * (levels + 0.02 * rng.standard_normal(radius.shape)), np.diag([*SPACING, 1.0]))
    carried = radius < np.where(z > 20, 38, 45)
    missing = (radius < CRANIUM_MM - 2) & ~carried
    found = to_inner_table(scan, carried)
    assert found[missing].mean() > 0.9
    assert dice(found, radius < CRANIUM_MM) > 0.97


def test_marrow_behind_a_thin_table_is_not_joined(rng):
    _, radius = grid()
    within = [radius < r for r in (CORTEX_MM, BRAIN_MM, CRANIUM_MM, 47.5, 52, 54)]
    levels = np.select(within, [1.0, 0.7, 0.3, 0.08, 0.55, 0.08], 0.9)
    scan = Volume(WHITE * (levels + 0.02 * rng.standard_normal(radius.shape)), np.diag([*SPACING, 1.0]))
    found = to_inner_table(scan, radius < CRANIUM_MM)
    assert not found[radius > CRANIUM_MM + 3].any() and found[radius < CRANIUM_MM - 3].all()


@pytest.mark.parametrize("level", [0.0, WHITE])
def test_a_scan_without_any_contrast_keeps_the_carried_mask(head, level):
    scan, radius = head
    carried = radius < CRANIUM_MM
    np.testing.assert_array_equal(to_inner_table(scan.like(np.full_like(scan.data, level)), carried), carried)


def test_the_edge_never_moves_further_than_its_reach(head, rng):
    scan, radius = head
    noise = scan.like(WHITE * rng.random(scan.data.shape).astype(np.float32))
    found = to_inner_table(noise, radius < CRANIUM_MM)
    assert not found[radius > CRANIUM_MM + FLUID_MM + REACH_MM + 2.5].any()
    assert found[radius < CRANIUM_MM - REACH_MM - 2.5].all()


def test_the_result_is_one_piece_without_holes(head):
    scan, radius = head
    dark = scan.data.copy()
    dark[radius < 15] = 0
    found = to_inner_table(scan.like(dark), radius < CRANIUM_MM)
    assert ndimage.label(found)[1] == 1
    assert found[radius < 15].all()


@settings(max_examples=5, deadline=None)
@given(st.floats(1e-3, 1e4), st.integers(0, 2))
def test_a_factor_on_the_intensities_changes_nothing(factor, seed):
    _, radius = grid()
    within = [radius < r for r in (CORTEX_MM, BRAIN_MM, CRANIUM_MM, 51)]
    levels = np.select(within, [1.0, 0.7, 0.36, 0.08], 0.9)
    data = levels + 0.03 * np.random.default_rng(seed).standard_normal(radius.shape)
    one, other = (
        to_inner_table(Volume(WHITE * k * data, np.diag([*SPACING, 1.0])), radius < CRANIUM_MM + 1) for k in (1, factor)
    )
    assert dice(one, other) > 0.9995  # sums of other numbers round otherwise


# -- simulated heads ----------------------------------------------------------------------------------------------

# Brightness beside white matter's 1; dura is a sheet of one voxel inside the table, gamma a curve over all.
SCANNERS = {
    "as usual": {},
    "bright bone": {"bone": 0.2, "csf": 0.38},
    "dark fluid": {"bone": 0.04, "csf": 0.16},
    "bright marrow": {"marrow": 0.9, "fat": 1.6},
    "bright dura": {"dura": 0.7},
    "flat curve": {"gamma": 0.7},
    "steep curve": {"gamma": 1.4},
    "fat is suppressed": {"fat": 0.1, "marrow": 0.15, "skin": 0.2},
}


@functools.cache
def built(name):
    """A simulated head of 3 mm by one of `SCANNERS`, the true inside of its skull, and a carried mask that is off."""
    from anatcl.preprocess.head import HeadParameters, build_head, packaged_head

    told = dict(SCANNERS[name])
    gamma, dura = told.pop("gamma", 1.0), told.pop("dura", None)
    plain = packaged_head(3.0)
    parameters = HeadParameters(intensity=HeadParameters().intensity | told)
    head = build_head(plain.brain_t1, plain.brain_mask > 0, plain.affine, parameters)
    scan, white = Volume(head.t1, head.affine), float(np.percentile(head.t1[head.brain_mask], 90))
    data = np.clip(head.t1 / white, 0, None)
    if dura is not None:
        data[head.icv_mask & ~erode_mm(head.icv_mask, scan, 3.0)] = dura
    data = data**gamma + 0.02 * np.random.default_rng(3).standard_normal(data.shape)
    truth = ndimage.binary_fill_holes(head.icv_mask)
    shifted = np.roll(dilate_mm(truth, scan, 0.5), 1, axis=1)
    low = np.argwhere(truth)[:, 2].max() - 2
    shifted[:, :, low:] = False  # the vertex is cut off
    return scan.like(np.maximum(data, 0) * 800), truth, shifted, head


@pytest.mark.parametrize("name", SCANNERS)
def test_the_inner_table_is_found_on_every_simulated_scanner(name):
    scan, truth, carried, _ = built(name)
    found = to_inner_table(scan, carried)
    assert dice(found, truth) > 0.955
    assert found.sum() / truth.sum() == pytest.approx(1, abs=0.02)


# -- the brain ----------------------------------------------------------------------------------------------------


def test_the_brain_keeps_a_thin_rim_of_csf_but_never_leaves_the_cranium(head):
    scan, radius = head
    cranium = radius < CRANIUM_MM + 4
    mask = with_rim(radius < BRAIN_MM, cranium, scan)
    assert mask[radius < BRAIN_MM].all()
    assert not mask[radius > BRAIN_MM + 2 * SPACING.max()].any()
    assert not (mask & ~cranium).any()


def test_dura_and_strings_are_no_brain(head):
    scan, radius = head
    (x, y, _), _ = grid()
    sheet = (radius > BRAIN_MM + 4) & (radius < BRAIN_MM + 6.5)
    string = (np.hypot(x, y) < 2) & (radius > BRAIN_MM - 3) & (radius < BRAIN_MM + 5)
    kept = peeled((radius < BRAIN_MM) | sheet | string, scan)
    assert kept[radius < BRAIN_MM - 2].all()
    assert not (kept & sheet).any()


def test_a_brain_mask_is_smaller_than_the_cranium_and_holds_all_tissue(head):
    scan, radius = head
    cranium = radius < CRANIUM_MM + 3
    brain = brain_within(scan, cranium)
    assert brain[radius < BRAIN_MM].all() and brain.sum() < 0.9 * cranium.sum()


def test_a_cortex_that_is_dark_at_the_vertex_stays_in_the_brain_mask(rng):
    """A young head: little fluid beside thin ventricles, and a cortex at the vertex nearer to fluid than to white."""
    (x, y, z), radius = grid()
    ventricle = (np.abs(x) < 8) & (np.abs(y) < 20) & (np.abs(z) < 10)
    cortex = np.where(z > 25, 0.54, 0.7)
    within = [ventricle, radius < 34, radius < 43, radius < CRANIUM_MM, radius < 51]
    levels = np.select(within, [0.3, 1.0, cortex, 0.3, 0.06], 0.8)
    scan = Volume(WHITE * (levels + 0.02 * rng.standard_normal(radius.shape)), np.diag([*SPACING, 1.0]))
    brain = brain_within(scan, radius < CRANIUM_MM)
    assert brain[radius < 43].mean() > 0.999


def test_a_dark_lesion_in_the_core_of_the_brain_stays_in_the_mask(head):
    scan, radius = head
    (x, _, _), _ = grid()
    lesion = (radius < BRAIN_MM) & (x > 20)  # open to the fluid outside, so that no hole is filled
    dark = scan.like(np.where(lesion, 0.36 * WHITE, scan.data))
    core, deep = radius < BRAIN_MM - 3, lesion & (x > 28) & (radius < BRAIN_MM - 3)
    assert not brain_within(dark, radius < CRANIUM_MM)[deep].any()
    assert brain_within(dark, radius < CRANIUM_MM, core)[deep].all()


@pytest.mark.parametrize("level", [0.0, WHITE])
def test_without_any_fluid_the_cranium_is_the_brain(head, level):
    scan, radius = head
    cranium = radius < CRANIUM_MM
    np.testing.assert_array_equal(brain_within(scan.like(np.full_like(scan.data, level)), cranium), cranium)


@pytest.mark.parametrize("name", SCANNERS)
def test_the_brain_is_found_on_every_simulated_scanner(name):
    scan, truth, _, head = built(name)
    tissue = np.asarray(head.brain_mask) > 0
    mask = brain_within(scan, truth)
    closed = ndimage.binary_fill_holes(close_mm(tissue, scan, CLOSE_MM))
    beyond = dilate_mm(closed, scan, 2.0 * float(scan.spacing.max()))
    assert mask[tissue & truth].mean() > 0.99
    assert (mask & ~beyond).sum() / mask.sum() < 0.002  # dura is one voxel beyond
    assert not (mask & ~truth).any()
