"""Everything that is wrong with a dataset: each case ends in a sentence, and the rest of the cohort goes on."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.bids.check import check
from anatcl.bids.index import build_index, refresh
from anatcl.bids.options import Options

ROOT = Path(__file__).resolve().parents[2]
SCAN = "sub-01/anat/sub-01_T1w.nii.gz"
LIMITS = Options().limits()


def see(text: object) -> None:
    """Note what the user reads (conftest puts its own function here)."""


def image(shape: tuple[int, ...] = (17, 18, 19), dtype: str = "uint8", voxel: float = 6.0) -> nib.Nifti1Image:
    """A small image of noise."""
    data = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    return nib.Nifti1Image(data, np.diag([voxel, voxel, voxel, 1]))


def packed(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def edited(**fields: object) -> bytes:
    """An image with fields of its header overwritten."""
    raw = image().to_bytes()
    header = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + raw[348:]


def rotated(**rows: list[float]) -> bytes:
    return edited(sform_code=1, qform_code=0, **rows)


def constant(value: float, dtype: str = "uint8", shape: tuple[int, ...] = (17, 18, 19)) -> bytes:
    return nib.Nifti1Image(np.full(shape, value, dtype), np.diag([6.0, 6, 6, 1])).to_bytes()


def of(data: np.ndarray, header: nib.Nifti1Header | None = None) -> bytes:
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(data, np.diag([6.0, 6, 6, 1]), header).to_bytes()


def rgb() -> bytes:
    data = np.zeros((17, 18, 19), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nib.Nifti1Image(data, np.eye(4)).to_bytes()


GOOD = image().to_bytes()
MIDDLE = packed(GOOD)
DAMAGED = MIDDLE[: len(MIDDLE) // 2] + bytes(16) + MIDDLE[len(MIDDLE) // 2 + 16 :]

# what is written to sub-01's T1w.nii.gz, and what the user reads
UNUSABLE: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "the file is empty"),
    "text instead of an image": (b"<html>404</html>", "is not compressed"),
    "not compressed": (GOOD, "is not compressed"),
    "gzip of text": (packed(b"x" * 4000), "not a NIfTI file"),
    "gzip magic only": (b"\x1f\x8b", "ends within its header"),
    "gzip of nothing": (packed(b""), "ends within its header"),
    "damaged gzip header": (b"\x1f\x8b\x09" + MIDDLE[3:], "compressed data are damaged"),
    "ends within the header": (packed(GOOD)[:60], "ends within its header"),
    "truncated gzip": (MIDDLE[: len(MIDDLE) // 2], "truncated or damaged"),
    "truncated by one byte": (MIDDLE[:-1], "truncated or damaged"),
    "fewer voxels than promised": (packed(GOOD[:3000]), "holds 3000 bytes where its header promises"),
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
    "large shape without voxels": (packed(edited(dim=[3, 1000, 1000, 1000, 1, 1, 1, 1])), "its header promises"),
    "negative shape": (packed(edited(dim=[3, -17, 18, 19, 1, 1, 1, 1])), "impossible shape"),
    "zero shape": (packed(edited(dim=[3, 0, 18, 19, 1, 1, 1, 1])), "impossible shape"),
    "no axes": (packed(edited(dim=[0, 17, 18, 19, 1, 1, 1, 1])), "names 0 axes"),
    "half of a pair": (packed(edited(magic=b"ni1")), "half of a NIfTI pair"),
    "ANALYZE": (packed(edited(magic=b"")), "ANALYZE"),
}  # fmt: skip

# accepted, with what is said of it
ACCEPTED: dict[str, tuple[bytes, str]] = {
    "four axes, one volume": (packed(image((17, 18, 19, 1)).to_bytes()), "single volume"),
    "signed 8-bit": (packed(image(dtype="int8").to_bytes()), "may have wrapped"),
    "no orientation": (packed(edited(sform_code=0, qform_code=0)), "left and right are a guess"),
    "sform and qform differ": (packed(edited(qform_code=1, qoffset_x=40)), "sform and qform differ"),
    "huge float64 values": (packed(of(image().get_fdata() * 1e300)), ""),
    "some NaN voxels": (packed(of(np.where(image().get_fdata() > 50, np.nan, 1))), ""),
    "big-endian": (packed(of(image().get_fdata(), nib.Nifti1Header(endianness=">"))), ""),
    "NIfTI-2": (packed(of(image().get_fdata(), nib.Nifti2Header())), ""),
    "several gzip members": (packed(GOOD[:2000]) + packed(GOOD[2000:]) + packed(b""), ""),
    "zeros behind the gzip data": (MIDDLE + bytes(512), ""),
    "more than promised": (packed(GOOD + bytes(5000)), ""),
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with one good participant, and room for a bad one."""
    folder = tmp_path / "data"
    write(folder, "sub-99/anat/sub-99_T1w.nii.gz", MIDDLE)
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-99\t40\n")
    return folder


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def only_exclusion(data: Path, out: Path, options: Options | None = None) -> dict[str, str]:
    """Index `data`: sub-99 must be there, and exactly one row is left out, with everything a user needs."""
    scans = refresh(data, out, options)
    assert list(scans["scan"]) == ["sub-99/anat/sub-99"]
    (row,) = read_tsv(out / "excluded.tsv").to_dict("records")
    assert row["stage"] == "bids" and row["reason"].endswith(".") and row["remedy"].endswith(".")
    assert row["file"].startswith(str(data)) and row["participant_id"].startswith("sub-")
    see(f"{row['reason']} {row['remedy']}")
    return row


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_image(data: Path, tmp_path: Path, case: str) -> None:
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD[:-1], "the file is truncated"),
        (GOOD[:100], "ends within its header"),
        (MIDDLE, "named .nii but is compressed"),
        (constant(0), "all its voxels are zero"),
        (constant(3, "int16", (60, 70, 80)), "all its voxels are the same value"),
        (b"x" * 5000, "not a NIfTI file"),
    ],
)
def test_unusable_uncompressed_image(data: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    write(data, "sub-01/anat/sub-01_T1w.nii", content)
    assert reason in only_exclusion(data, tmp_path / "out")["reason"]


def test_damage_that_keeps_the_length_is_found_by_full_verification(data: Path, tmp_path: Path) -> None:
    big = image((120, 130, 140), voxel=1.5).to_bytes()
    content = bytearray(packed(big))
    content[-8] ^= 1  # the checksum
    write(data, SCAN, bytes(content))
    assert len(refresh(data, tmp_path / "quick")) == 2
    assert "damaged" in only_exclusion(data, tmp_path / "full", Options(verify="full"))["reason"]


def test_damage_in_the_middle_of_a_small_file(data: Path, tmp_path: Path) -> None:
    write(data, SCAN, packed(constant(0, "int16", (160, 170, 180)))[:-9] + b"\0" * 9)
    assert "damaged" in only_exclusion(data, tmp_path / "out")["reason"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-01/anat/sub-01_T1w.mgz", "its extension (.mgz)"),
        ("sub-01/anat/sub-01_T1w.img", "its extension (.img)"),
        ("sub-01/anat/sub-01_T1w.NII.GZ", "wrong case"),
        ("sub-01/anat/sub-01_t1w.nii.gz", "wrong case"),
        ("sub-01/anat/sub-01_T1w.nii.gz.part", "its extension (.nii.gz.part)"),
        ("sub-01/anat/sub-01_T1w", "no extension"),
        ("sub-01/anat/sub-02_T1w.nii.gz", "its name says sub-02, its folder says sub-01"),
        ("sub-01/ses-1/anat/sub-01_T1w.nii.gz", "its name says sub-01, its folder says sub-01/ses-1"),
        ("sub-01/anat/sub-01_ses-1_T1w.nii.gz", "its name says sub-01/ses-1, its folder says sub-01"),
        ("sub-01/ses-1/anat/sub-01_ses-2_T1w.nii.gz", "its folder says sub-01/ses-1"),
        ("sub-01/sub-01_T1w.nii.gz", "not lie in a folder named anat"),
        ("sub-01/func/sub-01_T1w.nii.gz", "not lie in a folder named anat"),
        ("sub-01/anat/sub-01_space-MNI_T1w.nii.gz", "space-MNI in its name"),
        ("sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", "desc-preproc in its name"),
        ("sub-01/anat/sub-01_foo-1_T1w.nii.gz", "foo-1 in its name is not a BIDS entity"),
        ("sub-01/anat/sub-01_run-a_T1w.nii.gz", "run-a in its name must be a whole number"),
        ("sub-01/anat/sub-01_run-1_run-2_T1w.nii.gz", "an entity stands twice"),
        ("sub-01/anat/sub-01_part-phase_T1w.nii.gz", "the phase part"),
        ("sub-01/anat/sub-01_acq-a b_T1w.nii.gz", "not a BIDS name"),
        ("sub-01/anat/sub-01_acq-$(touch x)_T1w.nii.gz", "not a BIDS name"),
        ("sub-01/anat/sub-01_acq-a;b_T1w.nii.gz", "not a BIDS name"),
        ("sub-01/anat/sub-01_acq-'\"_T1w.nii.gz", "not a BIDS name"),
        ("sub-01/anat/sub-01_acq-a\nb_T1w.nii.gz", "not a BIDS name"),
        ("sub-ü/anat/sub-ü_T1w.nii.gz", "not a BIDS name"),
        ("sub-01_x/anat/sub-01_T1w.nii.gz", "its folder says sub-01_x"),
        (os.fsdecode(b"sub-01/anat/sub-01_acq-\xff_T1w.nii.gz"), "not a BIDS name"),
        ("sub-01/anat/sub-01_T2w.nii.gz", "no T1w image (found: T2w)"),
        ("sub-01/anat/sub-01_UNIT1.nii.gz", "no T1w image (found: UNIT1)"),
        ("sub-01/func/sub-01_task-rest_bold.nii.gz", "no T1w image (found: no anatomical image)"),
        ("sub-01/README", "no T1w image"),
    ],
)
def test_names(data: Path, tmp_path: Path, name: str, reason: str) -> None:
    write(data, name, MIDDLE)
    row = only_exclusion(data, tmp_path / "out")
    assert reason in row["reason"]
    assert "\n" not in "".join(map(str, row.values()))


@pytest.mark.parametrize(
    "name", ["sub-01/anat/._sub-01_T1w.nii.gz", "sub-01.txt", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz"]
)
def test_names_that_are_none_of_our_business(data: Path, tmp_path: Path, name: str) -> None:
    write(data, SCAN, MIDDLE + bytes(8))
    write(data, name, b"")
    assert len(refresh(data, tmp_path / "out")) == 2
    assert read_tsv(tmp_path / "out" / "excluded.tsv").empty


def test_the_same_scan_twice(data: Path, tmp_path: Path) -> None:
    write(data, "sub-99/anat/sub-99_T1w.nii", GOOD)
    assert "the same scan in another format" in only_exclusion(data, tmp_path / "out")["reason"]


def test_the_same_image_under_two_names_is_said(data: Path) -> None:
    write(data, SCAN, MIDDLE)
    texts = [w["warning"] for w in build_index(data).warnings]
    assert any("sub-01/anat/sub-01, sub-99/anat/sub-99 hold the same image" in text for text in texts)


def link(target: str, name: str) -> Callable[[Path], None]:
    def make(data: Path) -> None:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).symlink_to(target)

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link("../../.git/annex/objects/x.nii.gz", SCAN), "broken symlink"),
        (link("sub-01_T1w.nii.gz", SCAN), "cannot be followed"),
        (link("nowhere", "sub-01"), "broken symlink"),
        (link("sub-01", "sub-01"), "cannot be followed"),
        (link("nowhere", "sub-01/anat"), "broken symlink"),
        (link("..", "sub-01/anat"), "symlink loop"),
        (link(".", "sub-01/ses-1"), "symlink loop"),
        (link(".", "sub-01"), "symlink loop"),
        (lambda data: (data / SCAN).mkdir(parents=True), "it is not a file"),
        (lambda data: ((data / SCAN).parent.mkdir(parents=True), os.mkfifo(data / SCAN)), "it is not a file"),
    ],
)
def test_links_and_what_is_no_file(data: Path, tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(data)
    assert reason in only_exclusion(data, tmp_path / "out")["reason"]


@pytest.mark.parametrize("name", ["all", "ses-1/all", "anat/deeper"])
def test_links_beside_the_scans_are_not_followed(data: Path, tmp_path: Path, name: str) -> None:
    write(data, SCAN, MIDDLE + bytes(8))
    link("/", f"sub-01/{name}")(data)
    start = time.monotonic()
    assert len(refresh(data, tmp_path / "out")) == 2
    assert time.monotonic() - start < 5


def test_links_to_good_files_and_folders_are_used(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "store", "object.nii.gz", MIDDLE + bytes(8))
    link(str(tmp_path / "store" / "object.nii.gz"), SCAN)(data)
    write(tmp_path / "other", "anat/sub-02_T1w.nii.gz", MIDDLE + bytes(16))
    link("../other", "sub-02")(data)
    scans = refresh(data, tmp_path / "out")
    assert list(scans["participant_id"]) == ["sub-01", "sub-02", "sub-99"]
    assert scans["path"].iloc[0] == f"{data}/{SCAN}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything, so a file without permission cannot be made")
@pytest.mark.parametrize("name", [SCAN, "sub-01/anat", "sub-01"])
def test_unreadable(data: Path, tmp_path: Path, name: str) -> None:
    write(data, SCAN, MIDDLE)
    (data / name).chmod(0)
    try:
        row = only_exclusion(data, tmp_path / "out")
    finally:
        (data / name).chmod(0o755)
    assert "Permission denied" in row["reason"] and "permission" in row["remedy"]
    assert len(refresh(data, tmp_path / "out")) == 2  # not remembered


def test_permission_is_reported_even_where_root_reads_everything(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(data, SCAN, MIDDLE)

    def refuse(path: Path, limits: list) -> dict:
        if "sub-01" in path.name:
            raise PermissionError(13, "Permission denied", str(path))
        return check(path, limits)

    monkeypatch.setattr("anatcl.bids.check.check", refuse)
    row = only_exclusion(data, tmp_path / "out")
    assert "Permission denied" in row["reason"] and "permission" in row["remedy"]
    monkeypatch.undo()
    assert len(refresh(data, tmp_path / "out")) == 2  # not remembered


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "quo'te\"s",
        "new\nline",
        "ümlaut 脳",
        "$(touch executed)",
        ";touch executed",
        "[0]*?",
        ".hidden",
        "a.b",
    ],
)
def test_odd_names_of_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data, out = tmp_path / name, tmp_path / "out"
    data.mkdir()
    monkeypatch.chdir(tmp_path)
    write(data, "sub-99/anat/sub-99_T1w.nii.gz", MIDDLE)
    write(data, SCAN, b"")
    row = only_exclusion(data, out)
    assert row["file"] == f"{data}/{SCAN}"
    assert Path(read_tsv(out / "scans.tsv")["path"][0]).is_file()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", [b"a\xff", b"re\rturn"])
def test_names_of_the_dataset_that_no_table_can_hold(tmp_path: Path, name: bytes) -> None:
    data = tmp_path / os.fsdecode(name)
    data.mkdir()
    with pytest.raises(InputError, match="cannot be written in a table"):
        build_index(data)


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        build_index(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no such folder"):
        build_index(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no sub-\* folder"):
        build_index(tmp_path / "empty")


def test_output_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="the index cannot be written") as caught:
        refresh(data, tmp_path / "out")
    assert "--directory" in caught.value.remedy


def _in_process(data: Path, out: Path, limit: int = 0) -> subprocess.Popen[str]:
    """Start `refresh` in a process of its own, with a limit on the size of files (bytes)."""
    code = (
        "import sys; from anatcl.bids.index import refresh; from anatcl.base.errors import InputError\n"
        "try: refresh(sys.argv[1], sys.argv[2])\n"
        "except InputError as error: sys.exit(str(error))\n"
    )

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", code, str(data), str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited if limit else None,
    )


def test_disk_full(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refresh(data, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    for i in range(40):
        write(data, f"sub-{i:02}/anat/sub-{i:02}_T1w.nii.gz", MIDDLE + bytes(i))
    process = _in_process(data, out, limit=1024)
    message = process.communicate(timeout=600)[1]
    assert process.returncode == 1 and "the index cannot be written" in message and "Traceback" not in message
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert len(refresh(data, out)) == 41


@pytest.mark.slow
def test_killed_and_doubled_runs_end_in_the_same_tables(data: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    for i in range(200):
        write(data, f"sub-{i:03}/anat/sub-{i:03}_T1w.nii.gz", MIDDLE + bytes(i))
    whole, out = tmp_path / "whole", tmp_path / "out"
    refresh(data, whole)
    for wait in rng.uniform(0.1, 1.2, 5):
        process = _in_process(data, out)
        time.sleep(wait)
        process.kill()
        process.communicate()
    both = [_in_process(data, out) for _ in range(2)]
    for process in both:
        message = process.communicate(timeout=600)[1]
        assert process.returncode == 0, message
    refresh(data, out)
    for name in ("scans.tsv", "excluded.tsv", "participants.tsv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


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
