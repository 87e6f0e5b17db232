"""What `anatcl status` says of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.base.files import write_json
from anatcl.run.status import status, text
from anatcl.spec.config import Config

SCANS = ["sub-01/anat/sub-01", "sub-02/anat/sub-02"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one scan corrected, one failed, one encoder trained."""
    values = {"pretrain": {"methods": ["y-aware"], "folds": 2}}
    write_json(
        tmp_path / "results" / "config.json", Config.model_validate(values).model_dump(mode="json", by_alias=True)
    )
    table = "scan\tpath\tparticipant_id\n" + "".join(f"{scan}\t/x\t{scan[:6]}\n" for scan in SCANS)
    (tmp_path / "results" / "bids").mkdir()
    (tmp_path / "results" / "bids" / "scans.tsv").write_text(table)
    excluded = "scan\tparticipant_id\tstage\treason\tfile\tremedy\nn/a\tsub-03\tbids\ttruncated\tx\ty\n"
    (tmp_path / "results" / "bids" / "excluded.tsv").write_text(excluded)
    done = tmp_path / "results" / "preprocess" / f"{SCANS[0]}_desc-preproc_T1w.nii.gz"
    encoder = tmp_path / "results" / "pretrain" / "y-aware" / "fold-0" / "encoder.safetensors"
    for path in (done, encoder):
        path.parent.mkdir(parents=True)
        path.touch()
    failures.mark(tmp_path / "results" / "failures", SCANS[1], "preprocess bias_correct", "no memory", "x.log")
    return tmp_path


def test_done_failed_excluded(run: Path) -> None:
    found = status(run)
    steps = {rule: (done, of) for rule, done, of in found.steps}
    assert steps["bias_correct"] == (1, 2)
    assert steps["skullstrip"] == (0, 2)
    assert steps["train"] == (1, 4)  # two methods, the untrained among them, of two folds
    assert steps["report"] == (0, 1)
    assert (found.process, found.locked, found.running) == (None, False, [])
    words = text(found)
    assert "failed: 1\n  sub-02/anat/sub-02: preprocess bias_correct: no memory" in words
    assert "excluded: 1\n  1 x truncated" in words
    assert "not written yet" in words


def test_the_lock_of_a_dead_run_is_told(run: Path) -> None:
    lock = run / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert status(run).locked
    assert lock.exists()  # told, not removed


def test_a_folder_without_a_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run was started"):
        status(tmp_path)
