from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.preprocess.head import LABELS, HeadParameters, build_head, packaged_head

VOXEL_MM = 4.0


@pytest.fixture(scope="module")
def template():
    return packaged_head(VOXEL_MM)


def ball_brain(shape=(40, 44, 42)):
    """An ellipsoid of the size of a brain on a 4 mm RAS grid."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    mask = ((x - 19.5) / 17) ** 2 + ((y - 21.5) / 21) ** 2 + ((z - 20.5) / 18) ** 2 < 1
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = [-80, -90, -70]
    return mask * 100.0, mask, affine


def test_the_template_has_the_volumes_of_icbm152(template):
    litre = VOXEL_MM**3 / 1e6
    brain, icv = template.brain_mask.sum() * litre, template.icv_mask.sum() * litre
    assert brain == pytest.approx(1.887, rel=0.02)
    assert 1.07 < icv / brain < 1.13
    assert not (template.brain_mask & (1 - template.icv_mask)).any()


def test_tissues_fill_the_brain(template):
    total = template.gm + template.wm + template.csf
    np.testing.assert_allclose(total[template.brain_mask > 0], 1, atol=1e-5)
    assert total[template.brain_mask == 0].max() == 0
    assert template.gm.sum() > template.wm.sum() > template.csf.sum()


def test_all_volumes_share_one_ras_grid(template):
    volumes = (template.head_t1, template.brain_t1, template.brain_mask, template.icv_mask, template.gm, template.wm)
    assert len({v.shape for v in volumes}) == 1
    assert len(set(template.head_t1.shape)) == 3
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.diag(template.affine), [VOXEL_MM] * 3 + [1])
    assert {v.dtype.name for v in volumes} == {"float32", "uint8"}


@pytest.mark.parametrize("voxel_mm", [6.0, 8.0])
def test_the_brain_stays_in_place_at_every_voxel_size(template, voxel_mm):
    centres = []
    for one in (template, packaged_head(voxel_mm)):
        centre = ndimage.center_of_mass(one.brain_mask)
        centres.append(one.affine[:3, :3] @ centre + one.affine[:3, 3])
    np.testing.assert_allclose(*centres, atol=0.8)


def test_the_neck_and_the_scalp_fit(template):
    brain = np.argwhere(template.brain_mask)
    assert brain[:, 2].min() * VOXEL_MM >= 60
    lowest = template.head_t1[:, :, 0]
    assert (lowest > 0.2).sum() * VOXEL_MM**2 > 5_000, "the neck reaches the lowest slice"
    for axis in (0, 1):
        border = np.take(template.head_t1, [0, -1], axis=axis)[..., template.head_t1.shape[2] // 2 :]
        assert border.max() < 0.1
    assert template.head_t1[:, :, -1].max() < 0.1


def test_skull_is_dark_and_scalp_bright(template):
    away = ndimage.distance_transform_edt(1 - template.icv_mask, sampling=VOXEL_MM)
    height = np.arange(away.shape[2]) * VOXEL_MM + template.affine[2, 3]
    vault = np.broadcast_to(height > 20, away.shape)
    skull = template.head_t1[vault & (away > 2) & (away < 5)].mean()
    scalp = template.head_t1[vault & (away > 8) & (away < 12)].mean()
    assert skull < 0.4 < scalp
    assert template.head_t1[vault & (away > 26)].max() < 0.1


def test_the_head_does_not_depend_on_the_storage_order():
    brain, mask, affine = ball_brain()
    straight = build_head(brain, mask, affine)
    image = nib.Nifti1Image(mask.astype(np.uint8), affine)
    wanted = nib.orientations.axcodes2ornt("PSR")
    turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))
    other_mask = np.asarray(turned.dataobj) > 0
    other = build_head(other_mask * 100.0, other_mask, turned.affine)
    np.testing.assert_allclose(other.affine, straight.affine)
    np.testing.assert_array_equal(other.labels, straight.labels)
    np.testing.assert_allclose(other.t1, straight.t1, atol=1e-3)


def test_masks_are_nested_and_the_brain_is_kept():
    brain, mask, affine = ball_brain()
    head = build_head(brain, mask, affine)
    assert head.brain_mask.sum() == mask.sum()
    assert (head.icv_mask >= head.brain_mask).all()
    np.testing.assert_array_equal(head.t1[head.brain_mask], 100)
    assert (head.labels[head.brain_mask] == LABELS["brain"]).all()
    assert (head.labels[head.icv_mask & ~head.brain_mask] == LABELS["csf"]).all()
    centre = head.affine[:3, :3] @ ndimage.center_of_mass(head.brain_mask) + head.affine[:3, 3]
    np.testing.assert_allclose(centre, affine[:3, :3] @ ndimage.center_of_mass(mask) + affine[:3, 3])


def test_face_and_neck_can_be_left_out():
    brain, mask, affine = ball_brain()
    whole, bare = (build_head(brain, mask, affine, HeadParameters(face=f, neck=f)) for f in (True, False))
    assert (bare.labels > 0).sum() < 0.8 * (whole.labels > 0).sum()
    assert not (bare.labels == LABELS["eye"]).any()
    assert not (bare.labels == LABELS["cord"]).any()


def test_a_thicker_skull_makes_a_larger_head():
    brain, mask, affine = ball_brain()
    sizes = [
        (build_head(brain, mask, affine, HeadParameters(skull_mm=s, face=False, neck=False)).labels > 0).sum()
        for s in (4.0, 9.0)
    ]
    assert sizes[0] < sizes[1]


def test_bad_input_gets_a_sentence():
    brain, mask, affine = ball_brain()
    with pytest.raises(InputError, match="of one shape"):
        build_head(brain[1:], mask, affine)
    with pytest.raises(InputError, match="empty"):
        build_head(brain, mask & False, affine)
    with pytest.raises(InputError, match=r"0\.5 to 12 mm"):
        packaged_head(20.0)
