"""Headers that contradict themselves, and such that the standard reads: settled and said, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from faulty import SCAN, Exclusion, edited, packed, write

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.base.nifti import affine_of
from anatcl.bids.index import refresh
from anatcl.images import load
from anatcl.spec.bids import Options

Say = Callable[[object], None]


def forms(sform: np.ndarray | None, qform: np.ndarray | None, codes: tuple[int, int], **fields: object) -> bytes:
    """A small image whose two affines are given."""
    data = np.random.default_rng(0).integers(1, 100, (17, 18, 19)).astype("uint8")
    image = nib.Nifti1Image(data, np.diag([6.0, 6, 6, 1]))
    image.set_qform(np.diag([6.0, 6, 6, 1]) if qform is None else qform, codes[1])
    image.set_sform(np.zeros((4, 4)) if sform is None else sform, codes[0])
    raw = image.to_bytes()
    header = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return packed(header.binaryblock + raw[348:])


SIX, BIG = np.diag([6.0, 6, 6, 1]), np.diag([6.8, 6.8, 6.8, 1])
MIRROR = np.diag([-6.0, 6, 6, 1])
# content, side of the first voxel, what is said
READ: dict[str, tuple[bytes, float, str]] = {
    "sform of a template, qform of the scanner": (forms(BIG, SIX, (4, 1)), 6, "qform is the scanner's"),
    "sform aligned, qform of the scanner": (forms(BIG, SIX, (2, 1)), 6, "qform is the scanner's"),
    "sform of the scanner, qform aligned": (forms(SIX, BIG, (1, 2)), 6, "sform is the scanner's"),
    "one axis stretched": (forms(np.diag([6.0, 6, 7, 1]), SIX, (3, 1)), 6, "qform is the scanner's"),
    "mirrored, scanner's qform": (forms(MIRROR, SIX, (4, 1)), 6, "left and right"),
    "sform of zeros": (forms(None, SIX, (1, 1)), 6, "the qform is used"),
    "singular sform": (forms(np.diag([6.0, 6, 0, 1]), SIX, (2, 1)), 6, "the qform is used"),
    "quaternion too long by rounding": (forms(SIX, SIX, (1, 1), quatern_d=1.0001), 6, "differ"),
    "quaternion too long, no sform": (forms(None, SIX, (0, 1), quatern_b=0.0, quatern_d=1.001), 6, ""),
    "impossible quaternion beside a good sform": (forms(SIX, SIX, (1, 1), quatern_c=7.0), 6, ""),
    "pixdim[0] is 0": (forms(SIX, SIX, (0, 1), pixdim=[0, 6, 6, 6, 1, 1, 1, 1]), 6, ""),
    "negative sides": (forms(SIX, SIX, (1, 1), pixdim=[1, -6, 6, 6, 1, 1, 1, 1]), 6, ""),
    "sizes by rounding": (forms(np.diag([5.97, 6, 6, 1]), SIX, (1, 1)), 5.97, "sform is used"),
    "micrometres": (forms(None, SIX * 1e3, (0, 1), xyzt_units=3), 6, "micrometres and were converted"),
    "metres": (forms(np.diag([6e-3, 6e-3, 6e-3, 1]), None, (1, 0), xyzt_units=1), 6, "metres and were converted"),
    "metres that are mm": (forms(SIX, SIX, (1, 1), xyzt_units=1), 6, "read as mm"),
    "vox_offset 0": (forms(SIX, SIX, (1, 1), vox_offset=0), 6, ""),
}


@pytest.mark.parametrize("case", READ)
def test_a_header_that_is_read(case: str, data: Path, tmp_path: Path, see: Say) -> None:
    content, side, note = READ[case]
    file = write(data, SCAN, content)
    assert len(refresh(data, tmp_path / "out")) == 2
    said = [w["warning"] for w in read_json(tmp_path / "out" / "run.json")["warnings"] if w["about"] in SCAN]
    assert note in " ".join(said)
    volume = load(file)
    assert volume.spacing[0] == pytest.approx(side, abs=0.005) and volume.data.std() > 1
    see(" ".join(said) or "read as the standard says")


REFUSED: dict[str, tuple[bytes, str]] = {
    "both say scanner": (forms(BIG, SIX, (1, 1)), "its sform says voxels of 6.8 x 6.8 x 6.8 mm"),
    "neither says scanner": (forms(BIG, SIX, (4, 2)), "its qform of 6 x 6 x 6 mm"),
    "mirrored, both scanner": (forms(MIRROR, SIX, (1, 1)), "disagree about left and right"),
    "sform against pixdim": (edited(sform_code=4, qform_code=0, srow_x=[7.2, 0, 0, 0]), "its pixdim of 6 x 6 x 6 mm"),
    "quaternion far too long": (forms(None, SIX, (0, 1), quatern_c=3.0), "its quaternion is 3 long"),
    "voxels inside the header": (edited(vox_offset=200), "start at byte 200, inside the header"),
    "voxels one byte early": (edited(vox_offset=351), "start at byte 351"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_header_that_is_refused(case: str, data: Path, only_exclusion: Exclusion, tmp_path: Path) -> None:
    content, reason = REFUSED[case]
    write(data, SCAN, content if content.startswith(b"\x1f") else packed(content))
    assert reason in only_exclusion(data, tmp_path / "out")["reason"]


def test_scans_without_orientation_are_taken_where_config_says_so(data: Path, tmp_path: Path, see: Say) -> None:
    write(data, SCAN, packed(edited(sform_code=0, qform_code=0)))
    assert len(refresh(data, tmp_path / "out")) == 1
    assert len(refresh(data, tmp_path / "out", Options(unoriented="accept"))) == 2
    said = [w["warning"] for w in read_json(tmp_path / "out" / "run.json")["warnings"]]
    assert any("left and right are a guess" in text for text in said)
    see(" ".join(said))


POINTERS = {
    "git-annex pointer": (b"/annex/objects/SHA256E-s9--ab.nii.gz\n", "datalad get"),
    "link as text": (b"../../.git/annex/objects/Xx/MD5E-s9--ab.nii.gz", "datalad get"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "git lfs pull"),
}


@pytest.mark.parametrize("case", POINTERS)
@pytest.mark.parametrize("name", [SCAN, SCAN.removesuffix(".gz")])
def test_an_image_that_was_not_fetched(
    case: str, name: str, data: Path, only_exclusion: Exclusion, tmp_path: Path
) -> None:
    content, remedy = POINTERS[case]
    write(data, name, content)
    row = only_exclusion(data, tmp_path / "out")
    assert "not fetched" in row["reason"] and remedy in row["remedy"]


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/ses-1.5T/anat/sub-01_ses-1.5T_T1w.nii.gz",
        "sub-01/ses-2020.01.02/anat/sub-01_ses-20200102_T1w.nii.gz",
        "sub-01/anat.old/sub-01_T1w.nii.gz",
        "sub-01/anat/backup/deep/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w_defaced.nii.gz",
        "sub-01/anat/sub-01_T1w (1).nii.gz",
        "sub-01/anat/T1w.nii.gz",
        "sub-01/T1w/sub-01-T1w.nii.gz",
    ],
)
def test_what_looks_like_a_scan_is_listed(name: str, data: Path, only_exclusion: Exclusion, tmp_path: Path) -> None:
    write(data, name, packed(edited()))
    assert only_exclusion(data, tmp_path / "out")["file"].endswith(name)


def test_our_affine_is_nibabels_where_the_header_is_sound(rng: np.random.Generator) -> None:
    for _ in range(50):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = rotation * rng.uniform(0.5, 3, 3)
        affine[:3, 3] = rng.normal(0, 50, 3)
        image = nib.Nifti1Image(np.zeros((5, 6, 7), "uint8"), np.eye(4))
        image.set_sform(affine, int(rng.integers(0, 2)))
        image.set_qform(affine, 1)
        header = nib.Nifti1Header(image.to_bytes()[:348])
        assert np.allclose(affine_of(header)[0], header.get_best_affine(), atol=1e-4)


def test_no_form_at_all_is_read_as_nibabel_does() -> None:
    header = nib.Nifti1Header(edited(sform_code=0, qform_code=0)[:348])
    affine, notes = affine_of(header)
    assert np.allclose(affine, header.get_best_affine()) and "guess" in notes[0]


def test_sides_of_zero_are_refused() -> None:
    header = nib.Nifti1Header(edited(sform_code=0, qform_code=1, pixdim=[1, 0, 6, 6, 1, 1, 1, 1])[:348], check=False)
    with pytest.raises(InputError, match="singular"):
        affine_of(header)
