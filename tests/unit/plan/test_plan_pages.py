"""Which job writes which participant's page."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from anatcl.plan.cohort import PAGE_JOBS, Cohort
from anatcl.spec.config import Config


def cohort(people: int, sessions: int = 1) -> Cohort:
    found = Cohort(Config())
    scans = [f"sub-{p:05d}/ses-{s}/anat/sub-{p:05d}_ses-{s}" for p in range(people) for s in range(sessions)]
    index = pd.DataFrame({"scan": scans, "age": 40.0, "site": None, "path": "x"})
    found.index = index.set_index("scan", drop=False)
    found.failed = pd.DataFrame({"scan": []})
    return found


def test_few_participants_have_a_job_each() -> None:
    groups = cohort(7, sessions=2).page_groups
    assert list(groups) == [f"sub-{p:05d}" for p in range(7)]
    assert all(len(scans) == 2 for scans in groups.values())


@pytest.mark.parametrize("people", [PAGE_JOBS + 1, 10_000])
def test_many_participants_share_jobs(people: int) -> None:
    groups = cohort(people, sessions=2).page_groups
    assert len(groups) <= PAGE_JOBS and sum(map(len, groups.values())) == 2 * people
    homes = {scan.split("/")[0]: group for group, scans in groups.items() for scan in scans}
    assert all(homes[scan.split("/")[0]] == group for group, scans in groups.items() for scan in scans)
    more = cohort(people + 1, sessions=2).page_groups  # somebody new moves nobody
    assert all(set(scans) <= set(more[group]) for group, scans in groups.items())


def test_what_is_said_of_people_is_plain_text() -> None:
    found = json.loads(cohort(2).people_text(["sub-00001/ses-0/anat/sub-00001_ses-0"]))
    assert found == {"sub-00001/ses-0/anat/sub-00001_ses-0": {"age": 40.0, "site": None}}
