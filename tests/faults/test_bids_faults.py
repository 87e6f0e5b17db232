"""Everything that is wrong with a dataset: each case ends in a sentence, and the rest of the cohort goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faulty import GOOD, MIDDLE, SCAN, Exclusion, write

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.bids.check import check
from anatcl.bids.index import build_index, refresh

ROOT = Path(__file__).resolve().parents[2]


def see(text: object) -> None:
    """Note what the user reads (conftest puts its own function here)."""


NAMES = {
    "sub-01/anat/sub-01_T1w.mgz": "its extension (.mgz)",
    "sub-01/anat/sub-01_T1w.img": "its extension (.img)",
    "sub-01/anat/sub-01_T1w.NII.GZ": "wrong case",
    "sub-01/anat/sub-01_t1w.nii.gz": "wrong case",
    "sub-01/anat/sub-01_T1w.nii.gz.part": "its extension (.nii.gz.part)",
    "sub-01/anat/sub-01_T1w": "no extension",
    "sub-01/anat/sub-02_T1w.nii.gz": "its name says sub-02, its folder says sub-01",
    "sub-01/ses-1/anat/sub-01_T1w.nii.gz": "its name says sub-01, its folder says sub-01/ses-1",
    "sub-01/anat/sub-01_ses-1_T1w.nii.gz": "its name says sub-01/ses-1, its folder says sub-01",
    "sub-01/ses-1/anat/sub-01_ses-2_T1w.nii.gz": "its folder says sub-01/ses-1",
    "sub-01/sub-01_T1w.nii.gz": "not in a folder named anat",
    "sub-01/func/sub-01_T1w.nii.gz": "not in a folder named anat",
    "sub-01/anat/sub-01_space-MNI_T1w.nii.gz": "space-MNI in its name",
    "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz": "desc-preproc in its name",
    "sub-01/anat/sub-01_foo-1_T1w.nii.gz": "foo-1 in its name is not a BIDS entity",
    "sub-01/anat/sub-01_run-a_T1w.nii.gz": "run-a in its name must be a whole number",
    "sub-01/anat/sub-01_run-1_run-2_T1w.nii.gz": "an entity occurs twice",
    "sub-01/anat/sub-01_part-phase_T1w.nii.gz": "the phase part",
    "sub-01/anat/sub-01_acq-a b_T1w.nii.gz": "not a BIDS name",
    "sub-01/anat/sub-01_acq-$(touch x)_T1w.nii.gz": "not a BIDS name",
    "sub-01/anat/sub-01_acq-a;b_T1w.nii.gz": "not a BIDS name",
    "sub-01/anat/sub-01_acq-'\"_T1w.nii.gz": "not a BIDS name",
    "sub-01/anat/sub-01_acq-a\nb_T1w.nii.gz": "not a BIDS name",
    "sub-ü/anat/sub-ü_T1w.nii.gz": "not a BIDS name",
    "sub-01_x/anat/sub-01_T1w.nii.gz": "its folder says sub-01_x",
    os.fsdecode(b"sub-01/anat/sub-01_acq-\xff_T1w.nii.gz"): "not a BIDS name",
    "sub-01/anat/sub-01_T2w.nii.gz": "no T1w image (found: T2w)",
    "sub-01/anat/sub-01_UNIT1.nii.gz": "no T1w image (found: UNIT1)",
    "sub-01/func/sub-01_task-rest_bold.nii.gz": "no T1w image (found: no anatomical image)",
    "sub-01/README": "no T1w image",
    "sub-01/anat/sub-01_T1.nii.gz": "does not end in _T1w.nii",
    "sub-01/anat/sub-01_MPRAGE.nii.gz": "does not end in _T1w.nii",
    "sub-01/ses-1.nii/anat/sub-01_ses-1_T1w.nii.gz": "its folder says sub-01/ses-1.nii",
    "sub-01/ses-1.raw/anat/sub-01_ses-1_T1w.nii.gz": "its folder says sub-01/ses-1.raw",
    "sub-01/meg/sub-01_meg.ds/sub-01_T1w.nii.gz": "no T1w image",
    "sub-01_T1w.nii.gz": "not in the folder of a participant",
}


@pytest.mark.parametrize("name", ["Sub-01", "SUB-01", "sub_01", "sub01"])
def test_folders_that_are_nearly_participants(data: Path, tmp_path: Path, see: Callable, name: str) -> None:
    write(data, f"{name}/anat/{name}_T1w.nii.gz", MIDDLE)
    assert len(refresh(data, tmp_path / "out")) == 1
    (row,) = read_tsv(tmp_path / "out" / "excluded.tsv").to_dict("records")
    assert row["file"] == name and "does not begin with 'sub-'" in row["reason"]
    see(f"{row['reason']} {row['remedy']}")


@pytest.mark.parametrize("name", NAMES)
def test_names(data: Path, only_exclusion: Exclusion, tmp_path: Path, name: str) -> None:
    write(data, name, MIDDLE)
    row = only_exclusion(data, tmp_path / "out")
    assert NAMES[name] in row["reason"]
    assert "\n" not in "".join(map(str, row.values()))


@pytest.mark.parametrize(
    "name", ["sub-01/anat/._sub-01_T1w.nii.gz", "sub-01.txt", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz"]
)
def test_names_that_are_none_of_our_business(data: Path, tmp_path: Path, name: str) -> None:
    write(data, SCAN, MIDDLE + bytes(8))
    write(data, name, b"")
    assert len(refresh(data, tmp_path / "out")) == 2
    assert read_tsv(tmp_path / "out" / "excluded.tsv").empty


def test_the_same_scan_twice(data: Path, only_exclusion: Exclusion, tmp_path: Path) -> None:
    write(data, "sub-99/anat/sub-99_T1w.nii", GOOD)
    assert "the same scan in another format" in only_exclusion(data, tmp_path / "out")["reason"]


def test_the_same_image_under_two_names_is_reported(data: Path) -> None:
    write(data, SCAN, MIDDLE)
    texts = [w["warning"] for w in build_index(data).warnings]
    assert any("sub-01/anat/sub-01, sub-99/anat/sub-99 hold the same image" in text for text in texts)
    see(" ".join(texts))


def link(target: str, name: str) -> Callable[[Path], None]:
    def make(data: Path) -> None:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).symlink_to(target)

    return make


LINKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "scan, not fetched": (link("../../.git/annex/objects/x.nii.gz", SCAN), "broken symlink"),
    "scan, to itself": (link("sub-01_T1w.nii.gz", SCAN), "cannot be followed"),
    "participant, to nowhere": (link("nowhere", "sub-01"), "broken symlink"),
    "participant, to itself": (link("sub-01", "sub-01"), "cannot be followed"),
    "anat, to nowhere": (link("nowhere", "sub-01/anat"), "broken symlink"),
    "anat, to its own folder": (link("..", "sub-01/anat"), "symlink loop"),
    "session, to its own folder": (link(".", "sub-01/ses-1"), "symlink loop"),
    "participant, to the dataset": (link(".", "sub-01"), "symlink loop"),
    "a folder for a scan": (lambda data: (data / SCAN).mkdir(parents=True), "it is not a file"),
    "a pipe for a scan": (
        lambda data: ((data / SCAN).parent.mkdir(parents=True), os.mkfifo(data / SCAN)),
        "it is not a file",
    ),
}


@pytest.mark.parametrize("case", LINKS)
def test_links_and_what_is_not_a_file(data: Path, only_exclusion: Exclusion, tmp_path: Path, case: str) -> None:
    make, reason = LINKS[case]
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
    assert scans["path"].iloc[0] == SCAN


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything, so a file without permission cannot be made")
@pytest.mark.parametrize("name", [SCAN, "sub-01/anat", "sub-01"])
def test_unreadable(data: Path, only_exclusion: Exclusion, tmp_path: Path, name: str) -> None:
    write(data, SCAN, MIDDLE)
    (data / name).chmod(0)
    try:
        row = only_exclusion(data, tmp_path / "out")
    finally:
        (data / name).chmod(0o755)
    assert "Permission denied" in row["reason"] and "permission" in row["remedy"]
    assert len(refresh(data, tmp_path / "out")) == 2  # not remembered


def test_permission_is_reported_even_where_root_reads_everything(
    data: Path, only_exclusion: Exclusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
def test_odd_names_of_the_dataset(
    tmp_path: Path, only_exclusion: Exclusion, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, out = tmp_path / name, tmp_path / "out"
    data.mkdir()
    monkeypatch.chdir(tmp_path)
    write(data, "sub-99/anat/sub-99_T1w.nii.gz", MIDDLE)
    write(data, SCAN, b"")
    row = only_exclusion(data, out)
    assert row["file"] == SCAN
    assert (data / read_tsv(out / "scans.tsv")["path"][0]).is_file()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", [b"a\xff", b"re\rturn"])
def test_names_of_the_dataset_that_no_table_can_hold(tmp_path: Path, name: bytes) -> None:
    data = tmp_path / os.fsdecode(name)
    data.mkdir()
    with pytest.raises(InputError, match="cannot be written in a table") as caught:
        build_index(data)
    see(caught.value)


NO_DATASET: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda path: None, "no such folder"),
    "a file": (lambda path: path.write_text(""), "no such folder"),
    "an empty folder": (Path.mkdir, r"no sub-\* folder"),
}


@pytest.mark.parametrize("case", NO_DATASET)
def test_no_dataset(case: str, tmp_path: Path) -> None:
    make, reason = NO_DATASET[case]
    make(tmp_path / "data")
    with pytest.raises(InputError, match=reason) as caught:
        build_index(tmp_path / "data")
    see(caught.value)


def test_output_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="the index cannot be written") as caught:
        refresh(data, tmp_path / "out")
    assert "--directory" in caught.value.remedy
    see(caught.value)


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
    see(message)
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
    see("the same tables")
