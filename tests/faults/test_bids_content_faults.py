"""Everything that is wrong with an image: a sentence names the reason and the remedy, and nothing is allocated."""

from __future__ import annotations

import multiprocessing
import resource
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from faulty import GOOD, MIDDLE, SCAN, Exclusion, constant, edited, image, of, packed, rgb, rotated, write
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.bids.check import check
from anatcl.bids.index import refresh
from anatcl.spec.bids import Options

LIMITS = Options().limits()


def see(text: object) -> None:
    """Note what the user reads (conftest puts its own function here)."""


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"
# what is written to sub-01's T1w.nii.gz, and what the user reads
UNUSABLE: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "the file is empty"),
    "text instead of an image": (b"<html>404</html>", "a text file, not an image (it begins with '<html>404</html>')"),
    "link written out as text": (b"../../../sourcedata/sub-01_T1w.nii.gz", "a text file, not an image"),
    "zeros alone": (bytes(4000), "not a NIfTI file, compressed or not"),
    "old LFS pointer": (b"version https://hawser.github.com/spec/v1\noid sha256:1\nsize 5\n", "a Git LFS pointer"),
    "LFS pointer with a byte-order mark": (b"\xef\xbb\xbf" + LFS, "a Git LFS pointer"),
    "annex link of Windows": (b"..\\..\\.git\\annex\\objects\\Xx\\MD5E", "a git-annex pointer"),
    "not compressed": (GOOD, "is not compressed"),
    "gzip of text": (packed(b"x" * 4000), "a text file, not an image"),
    "gzip magic only": (b"\x1f\x8b", "ends within its header"),
    "gzip of nothing": (packed(b""), "ends within its header"),
    "damaged gzip header": (b"\x1f\x8b\x09" + MIDDLE[3:], "compressed data are damaged"),
    "ends within the header": (packed(GOOD)[:60], "ends within its header"),
    "truncated gzip": (MIDDLE[: len(MIDDLE) // 2], "truncated or damaged"),
    "truncated by one byte": (MIDDLE[:-1], "truncated or damaged"),
    "fewer voxels than promised": (packed(GOOD[:3000]), "holds 3000 bytes where its header says"),
    "all zero": (packed(constant(0)), "all its voxels are zero"),
    "all zero, large": (packed(constant(0, "int16", (160, 170, 180))), "all its voxels are zero"),
    "constant": (packed(constant(7, "float32")), "all its voxels are the same value"),
    "all NaN": (packed(constant(np.nan, "float32")), "all its voxels are the same value"),
    "NaN in sform": (packed(rotated(srow_x=[np.nan, 0, 0, 0])), "NaN or infinite"),
    "infinite sform": (packed(rotated(srow_y=[0, np.inf, 0, 0])), "NaN or infinite"),
    "NaN in sform's offset": (packed(rotated(srow_z=[0, 0, 6, np.nan])), "NaN or infinite"),
    "NaN in qform": (packed(edited(sform_code=0, qform_code=1, quatern_b=np.nan)), "affine"),
    "NaN voxel size": (packed(edited(pixdim=[1, np.nan, 6, 6, 1, 1, 1, 1])), "not a finite number"),
    "singular affine": (packed(rotated(srow_x=[0, 6, 0, 0])), "its affine is singular"),
    "zero affine": (packed(rotated(srow_x=[0, 0, 0, 0])), "its affine is singular"),
    "sheared affine": (packed(rotated(srow_x=[5, 0, 0, 0], srow_y=[2, 5, 0, 0])), "not at right angles"),
    "no orientation": (packed(edited(sform_code=0, qform_code=0)), "left and right are a guess"),
    "one slice": (packed(image((17, 18)).to_bytes()), "single slice"),
    "one slice in 3-D": (packed(image((17, 18, 1)).to_bytes()), "single slice"),
    "four axes": (packed(image((17, 18, 19, 3)).to_bytes()), "4 axes (17 x 18 x 19 x 3), not 3"),
    "five axes": (packed(image((17, 18, 19, 1, 3)).to_bytes()), "5 axes"),
    "RGB": (packed(rgb()), "RGB colours"),
    "complex": (packed(image(dtype="complex64").to_bytes()), "complex numbers"),
    "unknown voxel type": (packed(edited(datatype=9999)), "voxel type or scaling is not usable"),
    "128-bit floats": (packed(edited(datatype=1536)), "voxel type"),
    "infinite intercept": (packed(edited(scl_slope=1, scl_inter=np.inf)), "voxel type or scaling"),
    "0.1 mm voxels": (packed(image(voxel=0.1).to_bytes()), "0.1 x 0.1 x 0.1 mm"),
    "10 mm voxels": (packed(image(voxel=10).to_bytes()), "10 x 10 x 10 mm"),
    "1 cm of head": (packed(image(voxel=1).to_bytes()), "covers only 17 mm"),
    "giant shape": (packed(edited(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])), "shape is implausible"),
    "large shape without voxels": (packed(edited(dim=[3, 1000, 1000, 1000, 1, 1, 1, 1])), "its header says"),
    "negative shape": (packed(edited(dim=[3, -17, 18, 19, 1, 1, 1, 1])), "impossible shape"),
    "zero shape": (packed(edited(dim=[3, 0, 18, 19, 1, 1, 1, 1])), "impossible shape"),
    "no axes": (packed(edited(dim=[0, 17, 18, 19, 1, 1, 1, 1])), "names 0 axes"),
    "half of a pair": (packed(edited(magic=b"ni1")), "half of a NIfTI pair"),
    "ANALYZE": (packed(edited(magic=b"")), "ANALYZE"),
}  # fmt: skip

# accepted, with what is said of it
ACCEPTED: dict[str, tuple[bytes, str]] = {
    "four axes, one volume": (packed(image((17, 18, 19, 1)).to_bytes()), "single volume"),
    "6 mm by rounding": (packed(image(voxel=6.0004).to_bytes()), ""),
    "signed 8-bit": (packed(image(dtype="int8").to_bytes()), "may have wrapped"),
    "sform and qform differ": (packed(edited(qform_code=1, qoffset_x=40)), "sform and qform differ"),
    "huge float64 values": (packed(of(image().get_fdata() * 1e300)), ""),
    "some NaN voxels": (packed(of(np.where(image().get_fdata() > 50, np.nan, 1))), ""),
    "big-endian": (packed(of(image().get_fdata(), nib.Nifti1Header(endianness=">"))), ""),
    "NIfTI-2": (packed(of(image().get_fdata(), nib.Nifti2Header())), ""),
    "several gzip members": (packed(GOOD[:2000]) + packed(GOOD[2000:]) + packed(b""), ""),
    "zeros behind the gzip data": (MIDDLE + bytes(512), ""),
    "more than promised": (packed(GOOD + bytes(5000)), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_image(data: Path, only_exclusion: Exclusion, tmp_path: Path, case: str) -> None:
    content, reason = UNUSABLE[case]
    write(data, SCAN, content)
    row = only_exclusion(data, tmp_path / "out")
    assert reason in row["reason"] and row["scan"] == "sub-01/anat/sub-01"


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_image(data: Path, tmp_path: Path, case: str) -> None:
    content, note = ACCEPTED[case]
    write(data, SCAN, content)
    assert len(refresh(data, tmp_path / "out")) == 2
    notes = [
        w["warning"] for w in read_json(tmp_path / "out" / "run.json")["warnings"] if w["about"] == "sub-01/anat/sub-01"
    ]
    assert len(notes) == bool(note) and note in "".join(notes)
    see("".join(notes) or "kept")


UNCOMPRESSED = {
    "truncated by one byte": (GOOD[:-1], "the file is truncated"),
    "ends within the header": (GOOD[:100], "ends within its header"),
    "compressed": (MIDDLE, "named .nii but is compressed"),
    "all zero": (constant(0), "all its voxels are zero"),
    "constant": (constant(3, "int16", (60, 70, 80)), "all its voxels are the same value"),
    "text instead of an image": (b"x" * 5000, "a text file, not an image"),
}


@pytest.mark.parametrize("case", UNCOMPRESSED)
def test_unusable_uncompressed_image(data: Path, only_exclusion: Exclusion, tmp_path: Path, case: str) -> None:
    content, reason = UNCOMPRESSED[case]
    write(data, "sub-01/anat/sub-01_T1w.nii", content)
    assert reason in only_exclusion(data, tmp_path / "out")["reason"]


def test_damage_that_keeps_the_length_is_found_by_full_verification(
    data: Path, only_exclusion: Exclusion, tmp_path: Path
) -> None:
    big = image((120, 130, 140), voxel=1.5).to_bytes()
    content = bytearray(packed(big))
    content[-8] ^= 1  # the checksum
    write(data, SCAN, bytes(content))
    assert len(refresh(data, tmp_path / "quick")) == 2
    assert "damaged" in only_exclusion(data, tmp_path / "full", Options(verify="full"))["reason"]


def test_damage_in_the_middle_of_a_small_file(data: Path, only_exclusion: Exclusion, tmp_path: Path) -> None:
    write(data, SCAN, packed(constant(0, "int16", (160, 170, 180)))[:-9] + b"\0" * 9)
    assert "damaged" in only_exclusion(data, tmp_path / "out")["reason"]


def _peak(path: Path) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError):
        check(path, LIMITS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (1000, 1000, 1000)])
def test_giant_headers_allocate_nothing(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    content = packed(edited(dim=[3, *shape, 1, 1, 1, 1], datatype=64, bitpix=64) + bytes(1 << 24))
    path = write(tmp_path, "sub-01_T1w.nii.gz", content)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_peak, (path,)) < 64 * 1024  # KiB


@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), max_size=12), st.booleans())
def test_any_header_is_accepted_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], zipped: bool
) -> None:
    raw = bytearray(GOOD)
    for position, value in changes:
        raw[position] = value
    name = "x_T1w.nii.gz" if zipped else "x_T1w.nii"
    path = write(tmp_path_factory.mktemp("fuzz"), name, packed(bytes(raw)) if zipped else bytes(raw))
    try:
        assert set(check(path, LIMITS)) == {"notes", "print"}
    except InputError as error:
        assert error.reason.endswith(".") and error.remedy.endswith(".")


@given(st.binary(max_size=800), st.booleans())
def test_any_bytes_are_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, zipped: bool
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), "x_T1w.nii.gz", packed(raw) if zipped else raw)
    with pytest.raises(InputError):
        check(path, LIMITS)
