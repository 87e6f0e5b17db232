"""Whether what is asked of Snakemake ends at the scans."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from asked import scans_alone

from anatcl.plan import stops_at_scans
from anatcl.spec import layout

RULES = Path(__file__).resolve().parents[3] / "rules"


def test_rules_of_scans_are_those_of_three_stages_and_the_pages() -> None:
    stages = ("bids", "preprocess", "measures")
    files = [file for file in RULES.glob("*.smk") if file.stem.split("_")[0] in stages or file.stem == "report_pages"]
    names = [name for file in files for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)]
    assert len(files) == 6 and sorted(names) == sorted(layout.OF_SCANS)


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        ([], False),
        (["participant"], True),
        (["measures", "results/preprocess/qc.tsv"], True),
        (["measures", "report"], False),
        (["results/preprocessed"], False),
        (["results/evaluate/scores.tsv"], False),
    ],
)
def test_what_is_asked_for(asked: list[str], ends: bool) -> None:
    assert stops_at_scans(asked) is ends


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["--cores", "2"], False),
        (["participant", "--directory", "out", "--cores", "1"], True),
        (["-n", "--until", "qc", "measure", "--cores", "1"], True),
        (["--until", "measures", "pack"], False),
        (["report", "--until", "measures"], True),
        (["--forcerun", "measure"], False),
        (["--configfile", "measures"], False),
    ],
)
def test_words_of_a_command(words: list[str], ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["snakemake", *words])
    assert scans_alone() is ends
