"""The merged table of exclusions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.failures import mark
from anatcl.base.files import read_tsv
from anatcl.bids.exclusions import MERGED, merge, merge_files


def test_stages_are_merged_in_order(tmp_path: Path) -> None:
    bids, qc, out = tmp_path / "bids.tsv", tmp_path / "qc.tsv", tmp_path / "report" / "excluded.tsv"
    bids.write_text(
        "scan\tparticipant_id\tstage\treason\tfile\tremedy\nsub-02/anat/sub-02\tsub-02\tbids\tempty\tf\tcopy\n"
    )
    qc.write_text("scan\tstage\treason\nsub-01/anat/sub-01\tmeasures\tDice too low\n")
    failures = tmp_path / "failures"
    mark(failures, "sub-01/ses-1/anat/sub-01_ses-1", "preprocess register", "killed", log="logs/x.log")
    mark(failures, "sub-01/anat/sub-01", "preprocess qc", InputError("blurred", "f", "look at it"))
    merged = merge_files(bids, failures, qc, out)
    assert list(merged.columns) == MERGED
    assert list(merged["stage"]) == ["preprocess qc", "measures", "preprocess register", "bids"]
    assert list(merged["participant_id"]) == ["sub-01", "sub-01", "sub-01", "sub-02"]
    written = read_tsv(out)
    assert written.loc[2, "log"] == "logs/x.log" and pd.isna(written.loc[0, "log"])
    first = out.read_bytes()
    merge_files(bids, failures, qc, out)
    assert out.read_bytes() == first


def test_nothing_left_out(tmp_path: Path) -> None:
    bids, out = tmp_path / "bids.tsv", tmp_path / "out.tsv"
    bids.write_text("scan\tparticipant_id\tstage\treason\tfile\tremedy\n")
    assert merge_files(bids, tmp_path / "none", tmp_path / "none.tsv", out).empty
    assert out.read_text() == "\t".join(MERGED) + "\n"


def test_equal_rows_stand_once() -> None:
    row = pd.DataFrame({"scan": ["sub-01/anat/sub-01"], "stage": ["bids"], "reason": ["empty"]})
    assert len(merge(row, row, pd.DataFrame())) == 1


def test_a_missing_or_foreign_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such table"):
        merge_files(tmp_path / "none.tsv", None, None, tmp_path / "out.tsv")
    (tmp_path / "other.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(InputError, match="no column 'scan'"):
        merge_files(tmp_path / "other.tsv", None, None, tmp_path / "out.tsv")
