"""Deep structures whose true borders are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.images import Volume, save
from anatcl.measures.atlas import LEFT, RIGHT, Atlas
from anatcl.measures.structures import follow, signed_distance
from anatcl.measures.tissues import load_tissues, on_grid

REGIONS = pd.DataFrame(
    [
        (1, "core", "L", "subcortex", "gm+wm", True, "lh_core"),
        (2, "speck", "L", "subcortex", "gm", True, "lh_speck"),
        (3, "lake", "L", "ventricle", "csf", True, "lh_lake"),
        (4, "rim", "R", "cortex", "gm", False, "rh_rim"),
    ],
    columns=["index", "name", "hemisphere", "structure", "tissue", "fill", "key"],
)
SHAPE, SPACING = (30, 34, 32), np.array([1.5, 1.5, 1.5])
ATLAS = Atlas("toy", "toy", (), Volume(np.zeros(SHAPE), np.eye(4)), REGIONS)


def ball(radius, shift=(0.0, 0.0, 0.0)):
    axes = np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij", sparse=True)
    return sum(((a - s) * h) ** 2 for a, s, h in zip(axes, shift, SPACING, strict=True)) < radius**2


@pytest.fixture
def scene():
    """A nucleus of 8 mm in white matter; left of it a ventricle, far from it a slab of cortex."""
    rng = np.random.default_rng(0)
    true = ball(8.0)
    lake = np.zeros(SHAPE, bool)
    lake[3:10, 8:26, 8:26] = True
    lake &= ~true
    fractions = np.zeros((3, *SHAPE), np.float32)
    grey = np.zeros(SHAPE, bool)
    grey[27:] = True
    fractions[0], fractions[1] = lake, grey | true
    fractions[2] = 1 - fractions[0] - fractions[1]
    image = np.tensordot([0.3, 0.7, 1.0], fractions, 1) + 0.1 * true
    return true, lake, fractions, 200 * (image + rng.normal(0, 0.03, SHAPE))


def labelled(where, lake):
    warped = np.full(SHAPE, LEFT)
    warped[lake], warped[27:] = 3, 4
    warped[where] = 1
    return warped


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("radius,shift", [(8.0, (1.3, -0.8, 0.6)), (9.5, (0, 0, 0)), (6.5, (0, 0, 0))])
def test_borders_move_to_the_truth(scene, radius, shift):
    true, lake, fractions, image = scene
    given = ball(radius, shift)
    found = follow(labelled(given, lake), image, fractions, SPACING, ATLAS) == 1
    assert dice(found, true) > dice(given, true)
    assert abs(found.sum() / true.sum() - 1) < max(0.1, 0.5 * abs(given.sum() / true.sum() - 1))


def test_bright_white_matter_beside_a_structure_is_not_taken_for_it(scene):
    """Pallidum in the internal capsule: nearly white, in white matter that is brighter than that of the hemispheres."""
    true, lake, fractions, image = scene
    fractions = fractions.copy()
    fractions[1][true], fractions[2][true] = 0, 1
    capsule = ball(18.0) & ~true & ~lake
    image = image + 200 * (0.08 * capsule + 0.26 * true)  # 1.08 around, 1.06 inside, 1.00 in the hemispheres
    found = follow(labelled(true, lake), image, fractions, SPACING, ATLAS) == 1
    assert abs(found.sum() / true.sum() - 1) < 0.25 and dice(found, true) > 0.85


def test_what_is_lost_to_csf_is_ventricle(scene):
    _, lake, fractions, image = scene
    given = ball(8.0, (-2.0, 0, 0))
    found = follow(labelled(given, lake), image, fractions, SPACING, ATLAS)
    wet = given & lake & (found != 1)
    assert wet.sum() > 20 and (found[wet] == 3).mean() > 0.9


def test_nothing_but_deep_structures_moves(scene):
    true, lake, fractions, image = scene
    warped = labelled(true, lake)
    found = follow(warped, image, fractions, SPACING, ATLAS)
    assert (found[27:] == 4).all() and not ((found != warped) & ~(ball(13.0))).any()
    assert set(np.unique(found)) <= {1, 3, 4, LEFT, RIGHT}


def test_a_speck_stays_as_it_is(scene):
    true, lake, fractions, image = scene
    warped = labelled(true, lake)
    warped[24, 17, 16:20] = 2
    found = follow(warped, image, fractions, SPACING, ATLAS)
    assert (found[warped == 2] == 2).all() and (found == 2).sum() == 4


def test_without_a_tissue_nothing_moves(scene):
    true, lake, fractions, image = scene
    warped = labelled(true, lake)
    dry = np.stack([0 * fractions[0], fractions[1], fractions[0] + fractions[2]])
    assert (follow(warped, image, dry, SPACING, ATLAS) == warped).all()


def test_the_unit_of_the_scan_does_not_matter(scene):
    _, lake, fractions, image = scene
    warped = labelled(ball(9.0, (1, 0, 0)), lake)
    one, other = (follow(warped, unit * image, fractions, SPACING, ATLAS) for unit in (1, 37.5))
    assert (one == other).all()


def test_distance_is_signed_and_in_mm():
    mask = np.zeros((3, 3, 9), bool)
    mask[..., :4] = True
    found = signed_distance(mask, np.array([2.0, 2.0, 2.0]))[1, 1]
    assert found[3:6].tolist() == [-1, 1, 3]


def test_an_image_on_another_grid_is_named(tmp_path):
    grid = Volume(np.full((6, 7, 8), 0.5, np.float32), np.diag([2, 2, 2, 1.0]))
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("gm", "wm", "csf", "dseg", "icv")}
    for name, path in paths.items():
        save(path, grid.like(np.full((6, 7, 8), 2.0 if name == "dseg" else 0.3)))
    tissues = load_tissues(**paths)
    save(tmp_path / "t1.nii.gz", Volume(np.ones((5, 5, 5)), np.eye(4)))
    with pytest.raises(InputError, match=r"t1\.nii\.gz: the image does not lie"):
        on_grid(tmp_path / "t1.nii.gz", tissues)
    save(tmp_path / "nan.nii.gz", grid.like(np.full((6, 7, 8), np.nan)), np.float32)
    with pytest.raises(InputError, match="not finite"):
        on_grid(tmp_path / "nan.nii.gz", tissues)
