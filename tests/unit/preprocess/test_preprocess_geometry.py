"""Grids of unequal size with anisotropic, oblique voxels: nothing moves, nothing is flipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anatcl.base.errors import InputError
from anatcl.images import Volume, load, save
from anatcl.preprocess import alignment, geometry
from anatcl.preprocess.alignment import SCALP_MM, SCALP_SHARE, Pose, find_pose, first_guess, write_itk
from anatcl.preprocess.bias_correct import conform, head_mask, orthogonal
from anatcl.preprocess.head import packaged_head
from anatcl.preprocess.mask_numbers import cut_area
from anatcl.preprocess.pictures import canonical
from anatcl.preprocess.skullstrip import close_mm

SHAPE = (7, 8, 9)


def oblique(spacing=(0.8, 1.1, 2.5), angles=(10, -20, 30), order=(0, 1, 2)) -> np.ndarray:
    """An affine with rotation, unequal spacing and axes in any order."""
    affine = np.eye(4)
    affine[:3, :3] = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * np.array(spacing))[:, order]
    affine[:3, 3] = (-12.0, 7.0, 31.0)
    return affine


def test_an_image_survives_the_disk(rng, tmp_path):
    volume = Volume(rng.random(SHAPE).astype(np.float32), oblique(order=(2, 0, 1)))
    save(tmp_path / "a.nii.gz", volume)
    again = load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.data, volume.data)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)


def test_equal_images_are_equal_bytes(rng, tmp_path):
    volume = Volume(rng.random(SHAPE).astype(np.float32), oblique())
    for name in ("a.nii.gz", "b.nii.gz"):
        save(tmp_path / name, volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_scaled_integers_keep_the_values(rng, tmp_path):
    volume = Volume((rng.random(SHAPE) * 300).astype(np.float32), oblique())
    save(tmp_path / "a.nii.gz", volume, np.int16, scaled=True)
    np.testing.assert_allclose(load(tmp_path / "a.nii.gz").data, volume.data, atol=300 / 60000)


@given(st.floats(1.0, 6.0), st.permutations([0, 1, 2]))
def test_coarse_voxels_lie_where_their_parts_lay(spacing, order):
    """A ramp along an oblique direction in mm is the same ramp on the coarse grid."""
    fine = Volume(np.zeros((24, 30, 18), np.float32), oblique(order=tuple(order)))

    def ramp(volume):
        index = np.indices(volume.data.shape).reshape(3, -1).T
        return (geometry.coordinates(volume, index) @ [0.3, -0.5, 0.8]).reshape(volume.data.shape)

    coarse = geometry.coarsen(Volume(ramp(fine).astype(np.float32), fine.affine), spacing)
    np.testing.assert_allclose(coarse.data, ramp(coarse), atol=1e-3)
    assert (coarse.spacing <= np.maximum(fine.spacing, spacing * 1.5)).all()


def test_crop_keeps_coordinates():
    volume = Volume(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), oblique())
    part = geometry.crop(volume, (slice(2, 5), slice(1, 4), slice(3, 9)))
    index = np.array([[1, 2, 4]])
    np.testing.assert_allclose(
        geometry.coordinates(part, index), geometry.coordinates(volume, index + np.array([2, 1, 3])), atol=1e-9
    )
    assert part.data[1, 2, 4] == volume.data[3, 3, 7]


@pytest.mark.parametrize("function", [geometry.dilate_mm, geometry.close_mm])
def test_growing_holds_the_mask_and_knows_millimetres(function):
    mask = np.zeros((21, 23, 25), bool)
    mask[10, 11, 12] = True
    volume = Volume(mask, np.diag([1.0, 2.0, 4.0, 1.0]))
    grown = function(mask, volume, 4.0)
    assert (grown & mask).sum() == mask.sum()
    if function is geometry.dilate_mm:
        reach = [int(np.ptp(np.flatnonzero(grown.any(axis=axes)))) for axes in ((1, 2), (0, 2), (0, 1))]
        assert reach == [8, 4, 2]


def test_closing_bridges_a_gap_at_the_border():
    mask = np.ones((9, 10, 11), bool)
    mask[4] = False
    closed = close_mm(mask, Volume(mask, np.eye(4)), 2.0)
    assert closed[4, 5, 5] and closed.sum() > mask.sum()
    assert closed[0].all() and closed[-1].all()


def test_canonical_is_ras_and_moves_nothing(rng):
    data = rng.random(SHAPE).astype(np.float32)
    volume = Volume(data, oblique(angles=(5, 5, 5), order=(2, 0, 1)))
    turned = canonical(volume)
    peak = np.array([np.unravel_index(data.argmax(), SHAPE)])
    again = np.array([np.unravel_index(turned.data.argmax(), turned.data.shape)])
    np.testing.assert_allclose(geometry.coordinates(volume, peak), geometry.coordinates(turned, again), atol=1e-4)
    assert (np.diag(turned.affine)[:3] > 0).all()


def test_a_sheared_affine_is_refused_and_a_rounded_one_mended():
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    with pytest.raises(InputError, match="right angles"):
        orthogonal(sheared, "scan.nii")
    rounded = np.round(oblique(), 4)
    fixed = orthogonal(rounded, "scan.nii")
    directions = fixed[:3, :3] / np.linalg.norm(fixed[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(fixed, rounded, atol=1e-3)


@pytest.mark.parametrize(
    ("data", "affine", "words"),
    [
        (np.zeros(SHAPE), np.eye(4), "same value"),
        (np.full(SHAPE, np.nan), np.eye(4), "not finite"),
        (np.random.default_rng(0).random((7, 8, 9, 3)), np.eye(4), "4 axes"),
    ],
)
def test_a_scan_without_content_gets_a_sentence(data, affine, words, tmp_path):
    import nibabel as nib

    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match=words) as caught:
        conform(tmp_path / "scan.nii.gz")
    assert "scan.nii.gz" in str(caught.value) and caught.value.remedy


@pytest.fixture(scope="module")
def template():
    """The packaged head on a coarse grid."""
    return packaged_head(5.0)


@pytest.mark.parametrize("angles", [(0, 0, 0), (15, 5, -5), (-18, -6, 8)])
def test_the_pose_of_a_turned_head_is_found(angles, template):
    true = Pose(angles, (6.0, -8.0, 5.0), 1.05).matrix(np.zeros(3))
    inverse = np.linalg.inv(template.affine) @ np.linalg.inv(true) @ template.affine
    turned = ndimage.affine_transform(template.head_t1, inverse[:3, :3], inverse[:3, 3], order=1)
    scan, fixed = Volume(turned, template.affine), Volume(template.head_t1, template.affine)
    found = find_pose(scan, head_mask(scan), fixed, template.icv_mask > 0, SCALP_MM)
    corners = np.array([[60, 0, 0, 1], [-60, 0, 0, 1], [0, 75, 0, 1], [0, -75, 0, 1], [0, 0, 60, 1]], float)
    error = np.linalg.norm((corners @ (found - true).T)[:, :3], axis=1)
    assert error.max() < 8  # mm, before any registration


@pytest.mark.parametrize("turn", [(0, 0, 180), (180, 0, 0), (0, 180, 0), (90, 0, 90)])
def test_a_header_that_is_wrong_about_the_orientation_is_not_believed(turn, template):
    """The face to the back, the head on its vertex, or lying on its side."""
    header = np.eye(4)
    header[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix().round()
    scan = Volume(template.head_t1, header @ template.affine)
    fixed = Volume(template.head_t1, template.affine)
    found = find_pose(scan, head_mask(scan), fixed, template.icv_mask > 0, SCALP_MM)
    corners = np.array([[60, 0, 0, 1], [-60, 0, 0, 1], [0, 75, 0, 1], [0, -75, 0, 1], [0, 0, 60, 1]], float)
    error = np.linalg.norm((corners @ (found - header).T)[:, :3], axis=1)
    assert error.max() < 8  # mm, before any registration


def test_a_cranium_that_reaches_into_the_scalp_is_made_smaller(template):
    scan, icv = Volume(template.head_t1, template.affine), template.icv_mask > 0
    head = head_mask(scan)
    inside = geometry.coordinates(scan, np.argwhere(icv))
    score = alignment._Score(geometry.coarsen(scan, alignment.SEARCH_MM), scan, icv, inside.mean(axis=0))
    room = alignment._Room(scan, head, SCALP_MM, score)
    guess = first_guess(geometry.coordinates(scan, np.argwhere(head)), inside)
    right, wrong = Pose(), Pose(scale=1.35)
    assert room.lacks(right) < SCALP_SHARE < room.lacks(wrong)
    assert alignment._leave_room(score, right, guess, room) is right
    found = alignment._leave_room(score, wrong, guess, room)
    assert found.scale == pytest.approx(1, abs=0.03) and np.abs(found.shift).max() < 4


@pytest.mark.slow
@pytest.mark.parametrize("scan", ["sub-01/ses-2/anat/sub-01_ses-2", "sub-12/ses-1/anat/sub-12_ses-1"])
def test_thick_slices_with_a_bright_scalp(scan, template, shared_data):
    """Mutual information alone puts the skull on the outside of these heads, 1.12 times the template."""
    volume = conform(shared_data / "ms_two_sessions" / f"{scan}_T1w.nii.gz")
    fixed = Volume(template.head_t1, template.affine)
    found = find_pose(volume, head_mask(volume), fixed, template.icv_mask > 0, SCALP_MM)
    assert 0.75 < np.linalg.det(found[:3, :3]) ** (1 / 3) < 0.95


def test_the_first_guess_puts_the_vertex_under_the_scalp():
    inside = np.array([[x, y, z] for x in (-60, 60) for y in (-80, 80) for z in (-60, 70)], float)
    scan = np.array([[x, y, z] for x in (-65, 75) for y in (-85, 95) for z in np.linspace(-200, 95, 60)], float)
    shift = first_guess(scan, inside)
    np.testing.assert_allclose(shift, (5, 5, 95 - 10 - 70), atol=1.0)


def test_an_itk_transform_is_in_lps(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 2, 3)
    write_itk(tmp_path / "t.txt", matrix)
    numbers = (tmp_path / "t.txt").read_text().splitlines()[3].split()[1:]
    assert [float(n) for n in numbers[9:]] == [-1, -2, 3]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_brain_cut_by_the_field_of_view_is_seen(order):
    """A ball whose top third is not in view shows a disc of that size; one with a rim of air shows nothing."""
    spacing = np.array([2.0, 3.0, 2.5])
    x, y, z = np.meshgrid(
        *((np.arange(n) - n / 2 + 0.5) * s for n, s in zip((60, 40, 48), spacing, strict=True)), indexing="ij"
    )
    ball = x**2 + y**2 + z**2 < 50**2
    cut = z < 30
    scan = np.where(cut, 10.0, 0.0)  # padded with zeros above
    affine = np.diag([*spacing[list(order)], 1.0])
    whole, seen, mask = (Volume(np.transpose(v, order), affine) for v in (scan * 0 + 1, scan, ball & cut))
    assert cut_area(seen, mask) == pytest.approx(np.pi * 4.0**2, rel=0.1)  # radius 40 mm at 30 mm above the centre
    assert cut_area(whole, Volume(np.transpose(ball, order), affine)) == 0
