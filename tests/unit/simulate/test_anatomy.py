from __future__ import annotations

import numpy as np
import pytest

from anatcl.simulate.anatomy import anatomy
from anatcl.simulate.deform import Pose, jacobian, random_pose, random_shape, spline, template_points
from anatcl.simulate.effects import Factors, regions
from anatcl.simulate.tissue import tissue_fractions

COUNT = len(regions())


def effects(factor=None, ventricle_mm=0.0):
    ones = np.ones(COUNT)
    return Factors(ones, ones if factor is None else np.asarray(factor, dtype=float), ones, ventricle_mm)


def volumes(fractions):
    """Tissue of each region, mm3 (voxels of 1 mm)."""
    return np.bincount(anatomy().region, fractions, minlength=COUNT + 1)[1:]


def test_the_cortex_is_as_thick_as_a_cortex():
    cortical = np.array([r.cortical for r in regions()])
    thickness = anatomy().mean_thickness[cortical]
    assert np.isnan(anatomy().mean_thickness[~cortical]).all()
    assert 2.4 < thickness.mean() < 3.0
    named = {r.key: t for r, t in zip(regions(), anatomy().mean_thickness, strict=True)}
    assert named["lh_pericalcarine"] < named["lh_insula"] < named["lh_temporalpole"]


def test_tissues_share_each_voxel():
    gm, wm = tissue_fractions(anatomy(), effects())
    assert gm.min() >= 0
    assert wm.min() >= 0
    assert (gm + wm).max() <= 1 + 1e-6


def test_thinning_a_region_takes_grey_matter_from_it_alone():
    one = next(i for i, r in enumerate(regions()) if r.key == "lh_precuneus")
    factor = np.ones(COUNT)
    factor[one] = 0.75
    before, after = (volumes(tissue_fractions(anatomy(), effects(f))[0]) for f in (None, factor))
    assert 0.70 < after[one] / before[one] < 0.85
    np.testing.assert_allclose(np.delete(after, one), np.delete(before, one))


def test_nuclei_lose_the_volume_asked_for():
    one = next(i for i, r in enumerate(regions()) if r.key == "rh_hippocampus")
    factor = np.ones(COUNT)
    factor[one] = 0.8
    before, after = (volumes(np.add(*tissue_fractions(anatomy(), effects(f)))) for f in (None, factor))
    assert after[one] / before[one] == pytest.approx(0.8, abs=0.05)


def test_ventricles_grow_into_white_matter():
    fluid = [1 - np.add(*tissue_fractions(anatomy(), effects(None, g))).sum() / anatomy().mask.sum() for g in (0, 2)]
    gained = (fluid[1] - fluid[0]) * anatomy().mask.sum()
    assert 5_000 < gained < 40_000


def test_splines_keep_straight_lines(rng):
    nodes = (3.0 * (np.arange(9) - 1) + 2).astype(np.float32)
    np.testing.assert_allclose(spline(nodes, 0, 30, 5.0), 2 + 3 * np.arange(30) / 5, rtol=1e-5)


def test_a_head_without_deformation_keeps_its_volumes(rng):
    shape = random_shape(rng, np.array([0.9, 0.95, 1.0]))
    plain = type(shape)(shape.size, shape.field * 0, 1.0, 1.0)
    affine = np.diag([-7.0, 8.0, 9.0, 1.0])
    affine[:3, 3] = [90, -100, -80]
    points = template_points((26, 25, 18), affine, Pose(np.eye(3), np.zeros(3)), plain, anatomy().head)
    assert points.shape == (3, 26, 25, 18)
    # Where the skull begins the shell is smooth but not straight; the brain's middle is.
    middle = jacobian(points, affine)[10:16, 9:15, 7:11]
    np.testing.assert_allclose(middle, 1 / (0.9 * 0.95), rtol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_deformations_never_fold(seed):
    rng = np.random.default_rng(seed)
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = [-90, -100, -90]
    shape, pose = random_shape(rng, np.full(3, 0.915)), random_pose(rng)
    points = template_points((31, 34, 30), affine, pose, shape, anatomy().head)
    gradients = np.stack([np.stack(np.gradient(p)) for p in points])
    assert np.linalg.det(np.moveaxis(gradients, (0, 1), (-2, -1))).min() > 0
