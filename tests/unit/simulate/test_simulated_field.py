"""The true displacement field: ANTs reads it, and it leads where the head came from."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from anatcl.base.files import read_tsv
from anatcl.images import Volume, load, save
from anatcl.preprocess.ants import apply_transforms
from anatcl.simulate.anatomy import anatomy
from anatcl.simulate.dataset import FIELD
from anatcl.simulate.deform import random_pose, random_shape, template_points
from anatcl.simulate.field import STEP_MM, write_field
from benchmarks.preprocess_common import dice


@pytest.fixture(scope="module")
def template_brain(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "brain.nii.gz"
    save(path, Volume(anatomy().mask.astype(np.float32), anatomy().affine), np.float32)
    return path


def test_the_template_brain_comes_to_lie_on_every_scan(dataset, template_brain, tmp_path):
    truth = dataset / "sourcedata" / "truth"
    for scan in read_tsv(truth / "scans.tsv").scan:
        mask, out = truth / f"{scan}_desc-brain_mask.nii.gz", tmp_path / "carried.nii.gz"
        apply_transforms(template_brain, mask, [truth / f"{scan}{FIELD}"], out)
        assert dice(load(out).data > 0.5, load(mask).data > 0.5) > 0.97, scan


@pytest.mark.parametrize("voxel_mm", [2.0, 3.5, 7.0])
def test_linear_steps_are_close_to_the_spline_in_the_brain(tmp_path, rng, voxel_mm):
    """Every voxel's template point, read from the coarse file by hand, beside the one the head was made with."""
    affine = np.array([[0, 0, -voxel_mm, 90], [voxel_mm, 0, 0, -110], [0, -voxel_mm, 0, 90], [0, 0, 0, 1.0]])
    shape = tuple(int(n / voxel_mm) for n in (200, 190, 180))
    person = random_shape(rng, np.array([0.95, 1.0, 1.05]))
    points = template_points(shape, affine, random_pose(rng), person, anatomy().head)
    inside = np.linalg.norm((points - points.mean((1, 2, 3), keepdims=True)) / 60, axis=0) < 1
    write_field(tmp_path / "field.nii.gz", points, affine)

    image = nib.load(tmp_path / "field.nii.gz")
    assert image.header["intent_code"] == 1007 and image.ndim == 5
    assert max(image.header.get_zooms()[:3]) <= STEP_MM + 1e-4
    moves = Volume(np.asarray(image.dataobj)[:, :, :, 0], image.affine)
    voxels = np.argwhere(inside)
    world = nib.affines.apply_affine(affine, voxels)
    found = world + interpolated(moves, world) * [-1, -1, 1]
    error = np.linalg.norm(found - points[:, inside].T, axis=1)
    assert error.max() < 0.3


def interpolated(volume: Volume, world):
    """Trilinear values at points that must lie on the volume's grid."""
    from scipy import ndimage

    index = nib.affines.apply_affine(np.linalg.inv(volume.affine), world).T
    highest = np.array(volume.data.shape[:3])[:, None] - 1
    assert (index > -1e-3).all() and (index < highest + 1e-3).all()
    return np.stack([ndimage.map_coordinates(volume.data[..., k], index, order=1, mode="nearest") for k in range(3)], 1)
