"""The edges of the masks follow the scan: a head of shells on an unequal, anisotropic grid."""

import numpy as np
import pytest
from scipy import ndimage

from anatcl.images import Volume
from anatcl.preprocess.skull_edge import REACH_MM, RIM_MM, to_inner_table, with_rim

WHITE = 500.0
CRANIUM_MM, BRAIN_MM = 45.0, 41.0


@pytest.fixture
def head(rng):
    """White matter to 41 mm, CSF to 45, bone to 51, scalp to 57; voxels of 2 x 1.5 x 2.5 mm."""
    spacing = np.array([2.0, 1.5, 2.5])
    shape = (66, 86, 52)
    grid = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid))
    levels = np.select([radius < BRAIN_MM, radius < CRANIUM_MM, radius < 51, radius < 57], [1.0, 0.36, 0.08, 0.9], 0.01)
    noisy = WHITE * (levels + 0.03 * rng.standard_normal(shape))
    return Volume(noisy.astype(np.float32), np.diag([*spacing, 1.0])), radius


def dice(a, b):
    """Overlap of two masks."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("error_mm", [-1.8, 1.8])
def test_a_carried_edge_that_is_off_moves_to_the_inner_table(head, error_mm):
    scan, radius = head
    carried, truth = radius < CRANIUM_MM + error_mm, radius < CRANIUM_MM
    assert 1 - dice(to_inner_table(scan, carried, WHITE), truth) < 0.7 * (1 - dice(carried, truth))


def test_an_edge_that_is_right_stays(head):
    scan, radius = head
    assert dice(to_inner_table(scan, radius < CRANIUM_MM, WHITE), radius < CRANIUM_MM) > 0.985


def test_the_edge_never_moves_further_than_its_reach(head):
    scan, radius = head
    # All bright: intensities alone would let the mask run to the border of the image.
    flooded = to_inner_table(scan.like(np.full_like(scan.data, WHITE)), radius < CRANIUM_MM, WHITE)
    assert flooded[radius < CRANIUM_MM].all()
    assert not flooded[radius > CRANIUM_MM + REACH_MM + 2.5].any()
    # All dark: the mask shrinks by the reach, and stays.
    starved = to_inner_table(scan.like(np.zeros_like(scan.data)), radius < CRANIUM_MM, WHITE)
    assert starved[radius < CRANIUM_MM - REACH_MM - 2.5].all()


def test_the_result_is_one_piece_without_holes(head):
    scan, radius = head
    dark = scan.data.copy()
    dark[radius < 15] = 0
    found = to_inner_table(scan.like(dark), radius < CRANIUM_MM, WHITE)
    assert ndimage.label(found)[1] == 1
    assert found[radius < 15].all()


def test_the_brain_keeps_a_rim_of_csf_but_never_leaves_the_cranium(head):
    scan, radius = head
    cranium = radius < CRANIUM_MM + 4
    mask = with_rim(radius < BRAIN_MM, cranium, scan)
    assert mask[radius < BRAIN_MM + RIM_MM - 2.5].all()
    assert not mask[radius > BRAIN_MM + RIM_MM + 2.5].any()
    assert not (mask & ~cranium).any()
