"""Files are written whole or not at all, and tables survive a round trip."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.base.files import DAY, HOST, atomic_path, read_tsv, write_json, write_tsv


def test_an_error_leaves_the_old_file(tmp_path):
    target = tmp_path / "table.tsv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic_path(tmp_path / "image.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == tmp_path
        temporary.write_text("x")


@given(st.lists(st.sampled_from(["sub-01", "01", "007", "sub-A"]), min_size=1, unique=True))
def test_identifiers_stay_text(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("t") / "t.tsv"
    write_tsv(path, pd.DataFrame({"participant_id": names, "age": range(len(names)), "note": None}))
    table = read_tsv(path)
    assert list(table["participant_id"]) == names
    assert table["note"].isna().all()


def test_a_marker_is_removed_by_the_stage_that_left_it(tmp_path):
    scan = "sub-01/anat/sub-01"
    error = InputError("it is empty.", "x.nii", "Copy it again.")
    failures.mark(tmp_path, scan, "preprocess segment", error, "a.log")
    failures.clear(tmp_path, scan, "preprocess register")
    row = failures.failed(tmp_path).iloc[0]
    assert (row["reason"], row["file"], row["remedy"]) == ("it is empty.", "x.nii", "Copy it again.")
    failures.clear(tmp_path, scan, "preprocess segment")
    assert failures.failed(tmp_path).empty


def test_an_unknown_error_gets_a_remedy(tmp_path):
    failures.mark(tmp_path, "sub-01/anat/sub-01", "measures measure", ValueError("odd"))
    row = failures.failed(tmp_path).iloc[0]
    assert row["reason"] == "ValueError: odd." and "retry" in row["remedy"]


def test_a_damaged_marker_folder_is_empty(tmp_path):
    assert failures.failed(tmp_path / "absent").empty
    write_json(tmp_path / "a.json", {"scan": "s", "stage": "x", "reason": "y", "log": "", "file": "", "remedy": ""})
    assert len(failures.failed(tmp_path)) == 1


def test_what_a_killed_writer_left_is_removed_and_that_of_one_at_work_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {"killed": f"{HOST}-{ended.pid}", "at work": f"{HOST}-{os.getppid()}", "elsewhere": "0a1b2c3d-7"}
    left = {who: tmp_path / f".{name}.tmp.table [1].tsv" for who, name in names.items()}
    left["elsewhere, old"] = tmp_path / ".4e5f6a7b-7.tmp.table [1].tsv"
    left["of another file"] = tmp_path / f".{HOST}-{ended.pid}.tmp.table [2].tsv"
    for path in left.values():
        path.write_text("half")
    os.utime(left["elsewhere, old"], (time.time() - 2 * DAY,) * 2)
    with atomic_path(tmp_path / "table [1].tsv") as temporary:
        temporary.write_text("whole")
    assert {who for who, path in left.items() if path.exists()} == {"at work", "elsewhere", "of another file"}
    assert (tmp_path / "table [1].tsv").read_text() == "whole"
