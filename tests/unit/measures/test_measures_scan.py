import numpy as np
import pandas as pd
import pytest
from measures_phantoms import shell

from anatcl.base.errors import InputError
from anatcl.images import Volume, save
from anatcl.measures.atlas import Atlas
from anatcl.measures.labels import Labels
from anatcl.measures.regions import _mean_and_deviation, harmonic_mean, layer_thickness, share_of_layer
from anatcl.measures.scan import measure
from anatcl.measures.tissues import load_tissues

REGIONS = pd.DataFrame(
    [
        (1, "near", "L", "cortex", "gm", False, "lh_near"),
        (2, "far", "R", "cortex", "gm", False, "rh_far"),
        (3, "gone", "R", "cortex", "gm", False, "rh_gone"),
        (4, "core", "B", "subcortex", "gm+wm", True, "core"),
    ],
    columns=["index", "name", "hemisphere", "structure", "tissue", "fill", "key"],
)


@pytest.fixture
def head(tmp_path):
    """A shell of 3 mm around a ball of 12 mm, written as tissue maps on a 2 mm grid."""
    grey, white, spacing = shell(12, 3, 2.0)
    csf = np.where(grey + white > 0, 1 - grey - white, 0)
    dseg = np.where(grey + white < 0.5, (csf > 0).astype(int), np.where(white > grey, 3, 2))
    affine = np.diag([*spacing, 1])
    paths = {}
    for name, data in (("gm", grey), ("wm", white), ("csf", csf), ("dseg", dseg), ("icv", dseg > 0)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        save(paths[name], Volume(data.astype(np.float32), affine))
    return paths


@pytest.fixture
def measured(head):
    tissues = load_tissues(**head)
    nearest = np.ones(tissues.gm.shape, np.int16)
    nearest[nearest.shape[0] // 2 :] = 2
    middle = tuple(n // 2 for n in nearest.shape)
    nearest[middle] = 4
    fitted = np.where((tissues.dseg == 2) | (nearest == 4), nearest, 0)
    atlas = Atlas("toy", "toy", (), tissues.grid, REGIONS)
    table, thickness = measure("sub-1/anat/sub-1", tissues, Labels(nearest, fitted), atlas)
    return tissues, table.set_index("region"), thickness


def test_volumes_are_those_of_the_shell(measured):
    tissues, table, _ = measured
    true = 4 / 3 * np.pi * (15**3 - 12**3)
    assert table.loc["gm", "volume_mm3"] == pytest.approx(true, rel=0.01)
    assert table.loc[["lh_near", "rh_far"], "volume_mm3"].sum() == pytest.approx(
        table.loc["gm", "volume_mm3"], rel=1e-6
    )
    assert table.loc["tiv", "volume_mm3"] == pytest.approx(tissues.icv.sum() * 8)
    assert table.loc["core", "volume_mm3"] == pytest.approx(8)


def test_areas_and_thickness_are_those_of_the_shell(measured):
    _, table, thickness = measured
    assert thickness.max() < 8
    assert table["area_mm2"].sum() == pytest.approx(4 * np.pi * 12**2, rel=0.02)
    assert table.loc[["lh_near", "rh_far"], "thickness_mm"].to_numpy() == pytest.approx([3, 3], rel=0.05)
    assert (table.loc[["lh_near", "rh_far"], "thicknessstd_mm"] < 0.4).all()


def test_a_region_of_two_patches_has_the_mean_over_its_surface():
    """Equal areas of 2 and 4 mm: 3 mm over the surface, though twice as many voxels say 4."""
    values = np.array([2.0] * 20 + [4.0] * 40 + [0.0] * 5)
    labels = np.ones(values.size, int)
    assert harmonic_mean(labels, values, 3)[1] == pytest.approx(3)
    assert _mean_and_deviation(labels, values, 3)[0][1] == pytest.approx(10 / 3)
    assert np.isnan(harmonic_mean(labels, values, 3)[2])


@pytest.mark.parametrize("true", [1.5, 3.0, 4.5])
def test_a_layer_on_a_sphere_on_a_plane_and_inside_a_sphere(true):
    """Volume, area and curvature give the thickness: exactly on a plane, within 2 % on spheres of 40 mm."""
    sphere, ball = 4 * np.pi * 40**2, 4 / 3 * np.pi
    volume = np.array([100 * true, ball * ((40 + true) ** 3 - 40**3), ball * (40**3 - (40 - true) ** 3)])
    curvature = np.array([0, 4 * np.pi * 40, -4 * np.pi * 40])
    found = layer_thickness(volume, np.array([100, sphere, sphere]), curvature)
    assert found[0] == pytest.approx(true) and found == pytest.approx(true, rel=0.02)


def test_the_coarser_the_voxels_the_more_the_whole_region_counts():
    shares = [share_of_layer(np.full(3, mm)) for mm in (0.7, 1.0, 1.5, 2.0, 3.0)]
    assert shares == sorted(shares) and shares[2] == pytest.approx(0.5)
    assert shares[1] < share_of_layer(np.array([0.9, 0.9, 3.0])) < shares[4]


def test_a_layer_without_a_surface_has_no_thickness():
    assert np.isnan(layer_thickness(np.array([5.0]), np.zeros(1), np.zeros(1))).all()


def test_a_region_that_no_surface_reaches_keeps_the_thickness_of_its_voxels(head):
    """A region of the outer millimetres alone, as a sliver of a label may be."""
    tissues = load_tissues(**head)
    away = np.linalg.norm((np.indices(tissues.gm.shape).T - (np.array(tissues.gm.shape) - 1) / 2).T * 2, axis=0)
    nearest = np.where(away > 14, 3, 1).astype(np.int16)
    fitted = np.where(tissues.dseg == 2, nearest, 0)
    atlas = Atlas("toy", "toy", (), tissues.grid, REGIONS)
    table = measure("sub-1/anat/sub-1", tissues, Labels(nearest, fitted), atlas)[0].set_index("region")
    assert table.loc["rh_gone", "flags"] == "no-surface" and np.isnan(table.loc["rh_gone", "area_mm2"])
    assert table.loc["rh_gone", "thickness_mm"] == pytest.approx(3, rel=0.2)


def test_both_means_stand_in_the_table(measured):
    cortex = measured[1].loc[["lh_near", "rh_far"]]
    assert cortex["thicknessvoxels_mm"].to_numpy() == pytest.approx([3, 3], rel=0.1)
    assert not np.allclose(cortex["thickness_mm"], cortex["thicknessvoxels_mm"])
    assert measured[1].loc["core", ["thickness_mm", "thicknessvoxels_mm"]].isna().all()


def test_an_empty_region_is_flagged_and_has_no_zeros(measured):
    _, table, _ = measured
    assert table.loc["rh_gone", "flags"] == "empty"
    assert table.loc["rh_gone", ["thickness_mm", "volume_mm3", "area_mm2"]].isna().all()
    assert table.loc["core", "flags"] == "tiny"
    assert table.loc["lh_near", "flags"] == ""


def test_coarse_voxels_are_said(measured):
    assert set(measured[1]["thickness_trust"]) == {"coarse"}
    assert set(measured[1]["thickness_method"]) == {"distance"}


def test_a_map_on_another_grid_is_named(head):
    save(head["wm"], Volume(np.zeros((7, 8, 9), np.float32), np.eye(4)))
    with pytest.raises(InputError, match=r"wm\.nii\.gz: the image does not lie on the grid"):
        load_tissues(**head)


def test_impossible_probabilities_are_named(head):
    save(head["csf"], Volume(np.full_like(load_tissues(**head).grid.data, 7), np.diag([2, 2, 2, 1.0])))
    with pytest.raises(InputError, match=r"csf\.nii\.gz: the probabilities"):
        load_tissues(**head)


def test_unknown_method(head):
    tissues = load_tissues(**head)
    atlas = Atlas("toy", "toy", (), tissues.grid, REGIONS)
    empty = np.zeros(tissues.gm.shape, np.int16)
    with pytest.raises(InputError, match="no thickness method 'magic'"):
        measure("s", tissues, Labels(empty, empty), atlas, "magic")
