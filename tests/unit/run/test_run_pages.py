"""A run until the measures makes the pages of the scans."""

from __future__ import annotations

import pytest

from anatcl.run.passes import with_pages


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["--until", "measures", "--cores", "2"], ["--until", "cohort_page", "--cores", "2"]),
        (["-n", "-U", "qc", "measures"], ["-n", "-U", "qc", "cohort_page"]),
        (["--until=measures"], ["--until", "cohort_page"]),
        (["measures"], ["measures"]),
        (["--until", "qc", "--config", "measures"], ["--until", "qc", "--config", "measures"]),
    ],
)
def test_pages_come_with_the_measures(said: list[str], meant: list[str]) -> None:
    assert with_pages(said) == meant
