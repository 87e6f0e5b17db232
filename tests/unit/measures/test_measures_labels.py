import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.images import Volume
from anatcl.measures.atlas import LEFT, RIGHT, Atlas
from anatcl.measures.labels import fit

REGIONS = pd.DataFrame(
    [
        (1, "a", "L", "cortex", "gm", False, "lh_a"),
        (2, "b", "L", "cortex", "gm", False, "lh_b"),
        (3, "a", "R", "cortex", "gm", False, "rh_a"),
        (4, "core", "L", "subcortex", "gm", True, "lh_core"),
        (5, "lake", "B", "ventricle", "csf", True, "lake"),
    ],
    columns=["index", "name", "hemisphere", "structure", "tissue", "fill", "key"],
)
SPACING = np.array([2.0, 2.0, 3.0])


@pytest.fixture
def atlas():
    return Atlas("toy", "toy", (), Volume(np.zeros((7, 8, 9)), np.eye(4)), REGIONS)


def scene(rng):
    """Left of x = 4 regions 1, 2, 4, right of it region 3, all with gaps."""
    warped = np.full((7, 8, 9), RIGHT)
    warped[:4] = LEFT
    warped[0, 1:3, 2:7], warped[0, 5:7, 2:7], warped[6, 2:6, 2:7] = 1, 2, 3
    warped[3, 3:5, 4] = 4
    warped[3, 6, 4] = 5
    return warped, rng.integers(1, 4, warped.shape)


def test_every_grey_voxel_near_cortex_gets_a_region(atlas, rng):
    warped, dseg = scene(rng)
    labels = fit(warped, dseg, SPACING, atlas, reach_mm=100)
    cortical = np.isin(labels.nearest, [1, 2, 3])
    assert (labels.fitted[cortical & (dseg == 2)] > 0).all()
    assert not (labels.fitted[cortical & (dseg != 2)] > 0).any()


def test_hemispheres_are_respected(atlas, rng):
    warped, dseg = scene(rng)
    warped[6] = RIGHT
    warped[6, 0, 0] = 3  # the right region is far from most right voxels, the left ones are near
    nearest = fit(warped, dseg, SPACING, atlas, reach_mm=100).nearest
    assert set(np.unique(nearest[4:])) <= {0, 3, 5}
    assert 3 not in nearest[:4]


def test_far_voxels_belong_to_nothing(atlas, rng):
    warped, dseg = scene(rng)
    warped[warped < LEFT] = LEFT
    warped[0, 0, 0] = 1
    nearest = fit(warped, dseg, SPACING, atlas, reach_mm=5).nearest
    assert nearest[0, 0, 1] == 1
    assert nearest[0, 7, 8] == 0


def test_deep_structures_do_not_spread(atlas, rng):
    warped, dseg = scene(rng)
    nearest = fit(warped, dseg, SPACING, atlas).nearest
    assert (nearest == 4).sum() == (warped == 4).sum()


@given(st.integers(0, 10_000))
def test_fitted_is_part_of_nearest(seed):
    rng = np.random.default_rng(seed)
    atlas = Atlas("toy", "toy", (), Volume(np.zeros((7, 8, 9)), np.eye(4)), REGIONS)
    warped = rng.choice([0, 1, 2, 3, 4, 5, LEFT, RIGHT], (7, 8, 9))
    labels = fit(warped, rng.integers(0, 4, warped.shape), SPACING, atlas)
    some = labels.fitted > 0
    assert (labels.fitted[some] == labels.nearest[some]).all()
    assert set(np.unique(labels.nearest)) <= set(range(6))
