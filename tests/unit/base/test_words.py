"""Words that count: one of a kind, and several."""

from __future__ import annotations

import pytest

from anatcl.base.words import does, plural


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "scan", "1 scan"),
        (0, "scan", "0 scans"),
        (12345, "voxel", "12,345 voxels"),
        (1, "participant with scans", "1 participant with scans"),
        (2, "row of the table", "2 rows of the table"),
        (3, "person", "3 people"),
        (2, "axis", "2 axes"),
        (2, "process", "2 processes"),
        (2, "value of 'axis'", "2 values of 'axis'"),
    ],
)
def test_a_number_and_its_noun_agree(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


def test_a_number_and_its_verb_agree() -> None:
    assert does(1, "has", "have") == "has" and does(0, "has", "have") == "have" == does(2, "has", "have")
