"""Scans that failed or were killed, and the chunks of a cohort."""

from __future__ import annotations

import os
import time

import pytest

from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.base.files import write_json, write_text
from anatcl.plan import Plan
from anatcl.run.failed import mark_missing, report_failed
from anatcl.spec.layout import FAILURES

SCANS = [f"sub-{n:02d}/anat/sub-{n:02d}" for n in range(1, 8)]


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{scan}\t/data/{scan}.nii.gz\n" for scan in SCANS)
    write_text("results/bids/scans.tsv", "scan\tpath\n" + rows)
    write_json("results/config.json", {})
    return Plan.of_job()


def test_a_killed_step_is_found_by_its_log(plan):
    start = time.time() - 1
    write_text(f"logs/bias_correct/{SCANS[0]}.log", "")  # began, no result
    write_text(f"logs/bias_correct/{SCANS[1]}.log", "")
    os.utime(f"logs/bias_correct/{SCANS[1]}.log", (1, 1))  # of an older run
    write_text(f"logs/bias_correct/{SCANS[2]}.log", "")
    write_text(f"results/preprocess/{SCANS[2]}_desc-preproc_T1w.nii.gz", "done")
    write_text(f"logs/skullstrip/{SCANS[2]}.log", "")  # began after the step before it had ended
    assert mark_missing(plan, start) == [SCANS[0], SCANS[2]]
    stages = failures.failed(FAILURES).set_index("scan")["stage"]
    assert stages[SCANS[2]] == "workflow skullstrip"
    assert Plan.of_job().cohort.scans == [SCANS[1], *SCANS[3:]]


def test_a_marker_of_the_step_itself_is_kept(plan):
    write_text(f"logs/bias_correct/{SCANS[0]}.log", "")
    failures.mark(FAILURES, SCANS[0], "preprocess bias_correct", InputError("it is empty."))
    assert mark_missing(plan, 0) == []
    assert "it is empty" in report_failed(Plan.of_job())
    assert "Run the same command again" in report_failed(Plan.of_job())
    assert (
        "is finished without them" in (done := report_failed(Plan.of_job(), finished=True)) and "again to" not in done
    )


def test_markers_of_scans_outside_the_cohort_do_not_count(plan):
    failures.mark(FAILURES, "sub-99/anat/sub-99", "preprocess register", "gone")
    assert plan.cohort.scans == SCANS


def test_no_scan_left_is_a_sentence(plan):
    for scan in SCANS:
        failures.mark(FAILURES, scan, "preprocess register", "x")
    with pytest.raises(InputError, match="no scan to process"):
        _ = Plan.of_job().cohort.scans


def test_chunks_hold_every_scan_once_and_people_stay_where_they_are(plan):
    write_json("results/config.json", {"measures": {"chunk": 2}})
    chunks = Plan.of_job().cohort.chunks
    assert sorted(s for part in chunks.values() for s in part) == SCANS
    rows = "".join(f"{scan}\t/x\n" for scan in SCANS[:-1])
    write_text("results/bids/scans.tsv", "scan\tpath\n" + rows)
    fewer = Plan.of_job().cohort.chunks
    assert all(set(part) <= set(chunks[name]) for name, part in fewer.items())


@pytest.fixture
def sessions(tmp_path, monkeypatch) -> list[str]:
    """A longitudinal run: two scans of one participant, one of another."""
    monkeypatch.chdir(tmp_path)
    scans = [*(f"sub-01/ses-{n}/anat/sub-01_ses-{n}" for n in (1, 2)), "sub-02/anat/sub-02"]
    write_text("results/bids/scans.tsv", "scan\tpath\n" + "".join(f"{scan}\tx.nii.gz\n" for scan in scans))
    write_json("results/config.json", {"measures": {"longitudinal": True}})
    for scan in scans:
        write_text(f"results/preprocess/{scan}_desc-preproc_T1w.nii.gz", "done")
    return scans


MEAN = "sub-01/anat/sub-01_rec-person"


def test_scans_go_their_own_way_where_their_mean_was_not_made(sessions):
    plan = Plan.of_job()
    assert plan.cohort.persons == {MEAN: sessions[:2]}
    assert [plan.cohort.person(scan) for scan in sessions] == [MEAN, MEAN, ""]
    write_text(f"logs/person_template/{MEAN}.log", "")  # began, left nothing
    assert mark_missing(plan, 0) == [MEAN]
    again = Plan.of_job()
    assert again.cohort.scans == sessions and again.cohort.persons == {} and again.cohort.failed.empty
    said = report_failed(again)
    assert "The mean of the scans of sub-01 could not be made" in said and "sub-01_rec-person.json" in said


def test_a_killed_alignment_is_that_of_its_scan(sessions):
    write_text(f"results/preprocess/{MEAN}_desc-preproc_T1w.nii.gz", "done")
    write_text(f"logs/person_align/{sessions[1]}.log", "")
    assert mark_missing(Plan.of_job(), 0) == [sessions[1]]
    again = Plan.of_job()
    assert again.cohort.persons == {}, "one scan is left, which needs no mean"
    assert failures.failed(FAILURES).set_index("scan")["stage"][sessions[1]] == "workflow person_align"


def test_the_mean_is_no_excluded_scan(sessions):
    from anatcl.report.records.exclusions import merge

    failures.mark(FAILURES, MEAN, "preprocess register", "x")
    failures.mark(FAILURES, sessions[2], "preprocess register", "y")
    assert list(merge([], FAILURES)["scan"]) == [sessions[2]]
