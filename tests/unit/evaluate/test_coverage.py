"""The command behind the table of docs/statistics.md: resumable, honest about its bars, fitted apart from judged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.coverage_worlds import SETTINGS, Setting

TINY = Setting("tiny", "regression", 30, 3, 0.8)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(coverage, "RESAMPLES", 30)


def test_a_stopped_run_goes_on_where_it_was(tmp_path, small):
    coverage.simulate([TINY], 3, tmp_path)
    file = coverage.file_of(tmp_path, TINY)
    whole = file.read_text()
    first, second, _ = whole.splitlines(keepends=True)
    file.write_text(first + second)
    coverage.simulate([TINY], 3, tmp_path)
    assert file.read_text() == whole
    rows = coverage.summary(TINY, coverage.load(tmp_path, TINY))
    assert [r["metric"] for r in rows] == ["mae", "r2", "pearson_r"]
    assert {r["intervals"] for r in rows} == {6}
    assert {r["tests"] for r in rows} == {3}


def test_settings_that_fit_constants_do_not_judge_them():
    judged = [s for s in SETTINGS if not s.fit]
    assert len(judged) >= 14
    assert any(s.fit for s in SETTINGS)
    fitted = {(s.kind, s.n, s.d, s.signal) for s in SETTINGS if s.fit}
    assert not fitted & {(s.kind, s.n, s.d, s.signal) for s in judged}


@pytest.mark.parametrize(
    ("covered", "rejected", "flags", "expected"),
    [
        (0.95, 0.05, "", "holds"),
        (0.90, 0.05, "", "outside: coverage"),
        (0.95, 0.08, "", "outside: rejection"),
        (0.90, 0.08, "small: # participants", "flagged"),
        (0.95, np.nan, "", "holds"),
    ],
)
def test_a_row_holds_its_bars_or_says_what_flags_it(covered, rejected, flags, expected):
    assert coverage.verdict({"coverage": covered, "rejected": rejected, "metric": "mae", "flags": flags}) == expected


def test_a_figure_near_its_bar_is_undecided():
    row = {"coverage": 0.91, "coverage_se": 0.02, "rejected": 0.05, "metric": "mae", "flags": ""}
    assert coverage.verdict(row) == "undecided"
    assert coverage.verdict(row | {"coverage_se": 0.004}) == "outside: coverage"


def test_few_cohorts_have_a_wide_standard_error(tmp_path, small):
    coverage.simulate([TINY], 2, tmp_path)
    row = coverage.summary(TINY, coverage.load(tmp_path, TINY))[0]
    assert row["coverage_se"] > 0.1
    assert json.loads(coverage.file_of(tmp_path, TINY).read_text().splitlines()[0])[0]["m"] == "mae"
