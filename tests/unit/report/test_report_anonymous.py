"""The page that may be sent out: what is planted in a run is not on it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.cli.main import main
from anatcl.report.page import anonymous as page
from anatcl.report.records import anonymous
from anatcl.report.records.results import Sources

AGE = 43.87  # of nobody else, and printed nowhere by chance


@pytest.fixture
def run(results_dir: Path, build_report: Callable[[Path, Path], Sources], tmp_path: Path) -> Path:
    """A finished run in which a name, an age and a path are planted wherever a table can hold them."""
    folder = tmp_path / "secret-folder"
    results = folder / "results"
    shutil.copytree(results_dir, results)
    shutil.copytree(results_dir.parent / "benchmarks", folder / "benchmarks")
    scans = read_tsv(results / "bids" / "scans.tsv")
    scans.loc[scans["participant_id"] == "sub-02", "age"] = AGE
    write_tsv(results / "bids" / "scans.tsv", scans, float_format=None)
    for path in (results / "evaluate").glob("*/age_predictions.tsv"):
        table = read_tsv(path)
        table.loc[table["participant_id"] == "sub-02", "y_true"] = AGE
        write_tsv(path, table, float_format=None)
    (results / "report").mkdir()
    build_report(results, results / "report")
    write_json(results / "config.json", {"bids_dir": str(folder / "bids"), "report": {"title": "A study"}})
    write_json(folder / "bids" / "dataset_description.json", {"Name": "Study of <many>"})
    note = f"sub-02 of {folder}/bids is {AGE} years old"
    write_tsv(results / "bids" / "notes.tsv", pd.DataFrame([{"about": "sub-02", "note": note, "remedy": ""}]))
    methods = results / "report" / "methods.md"
    methods.write_text(f"{methods.read_text()}\nTheir parameters follow the recipe `{folder}/my.json`.\n")
    return folder


def test_no_name_age_or_path_is_on_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--anonymise", str(run)]) == 0
    assert "anonymous.html" in capsys.readouterr().out
    text = (run / "results" / "report" / "anonymous.html").read_text()
    assert not re.search(r"sub-\d", text)
    assert str(AGE) not in text and "secret-folder" not in text and "/data/" not in text
    assert "Guy" not in text and "site 1" in text
    assert "my.json" in text and "Study of &lt;many&gt;" in text and "Anonymised" in text
    assert 'class="qc"' not in text and "show a face" in text
    assert "2 left out: 1 in bids, 1 in preprocess register" in text
    assert "cut short" not in text  # a reason quotes what it was read from
    assert text.count("<svg") > 20  # scores, ages and embeddings are drawn


def test_ages_are_drawn_in_steps_of_five_years(run: Path, tmp_path: Path) -> None:
    sources, names = anonymous.copy_run(run, tmp_path / "copy")
    for name, column in ((sources.scans, "age"), (tmp_path / "copy/evaluate/y-aware/age_predictions.tsv", "y_true")):
        ages = read_tsv(name)[column].dropna()
        assert len(ages) > 20 and (ages % 5 == 0).all()
    assert anonymous.rounded(pd.Series([97.0, 12.4, None])).tolist()[:2] == [90.0, 10.0]
    assert len(set(names.scans.values())) == 28


def test_new_names_do_not_keep_the_order() -> None:
    scans = pd.DataFrame({"scan": [f"s{n:03d}" for n in range(99)], "participant_id": [f"p{n:03d}" for n in range(99)]})
    assert list(anonymous.new_names(scans).people) != sorted(scans["participant_id"])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("the recipe `/home/me/my.json`.", "the recipe `my.json`."),
        ("see ../a/c.tsv of x", "see c.tsv of x"),
        ("study/own.yaml", "own.yaml"),
        ("https://doi.org/10.1016/j.neuroimage.2020.1", "https://doi.org/10.1016/j.neuroimage.2020.1"),
        ("grey/white border", "grey/white border"),
    ],
)
def test_paths_are_cut_down_to_names(text: str, clean: str) -> None:
    assert anonymous.without_paths(text) == clean


def test_a_page_that_would_name_somebody_is_not_written(run: Path) -> None:
    write_json(run / "results" / "config.json", {"report": {"title": "What sub-02 told us"}})
    with pytest.raises(InputError, match="sub-02"):
        page.write_anonymous(run)
    assert not (run / "results" / "report" / "anonymous.html").exists()


def test_an_unfinished_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no report"):
        page.write_anonymous(tmp_path)
    assert main(["report"]) == 1
