"""The docs page of one run: what it says, what it never shows, and equal bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cohort_page
import markdown_tables
import nibabel as nib
import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json
from anatcl.report.records.results import Sources
from anatcl.spec.config import Config

Built = tuple[Path, Path]
DEFAULTS = Config().model_dump(mode="json", by_alias=True)
ABOUT = cohort_page.About(
    "A cohort", "Somebody, CC BY", "anatcl run -- --cores 2", "Our own remark.", "two cores", DEFAULTS
)


@pytest.fixture(scope="module")
def built(
    build_results: Callable[[Path, int], Path],
    build_report: Callable[[Path, Path], Sources],
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """A finished run and its page."""
    results = build_results(tmp_path_factory.mktemp("run"), 24)
    build_report(results, results / "report")
    values = Config.model_validate({"bids_dir": "/secret/place", "pretrain": {"epochs": 6}})
    write_json(results / "config.json", values.model_dump(mode="json", by_alias=True))
    write_json(results / "run.json", {"versions": {"anatcl": "0.1.0"}, "hardware": {"system": "/secret/host"}})
    for scan in read_tsv(results / "bids" / "scans.tsv")["scan"]:
        brain = np.zeros((7, 8, 9), np.float32)
        brain[2:5, 2:6, 2:7] = 0.5
        path = results / "preprocess" / f"{scan}_space-X_desc-affine_T1w.nii.gz"
        nib.save(nib.Nifti1Image(brain, np.eye(4)), path)
    out = tmp_path_factory.mktemp("docs") / "cohort.md"
    cohort_page.write_cohort_page(results, out, ABOUT)
    return results, out


def test_it_says_what_ran_and_what_came_out(built: Built) -> None:
    text = built[1].read_text()
    for words in ("# A cohort", "*Data: Somebody, CC BY*", "```sh\nanatcl run -- --cores 2", "epochs: 6", "Seed 0",
                  "### Brain age", "AnatCL (global)", "Our own remark.", "two cores", "anatcl 0.1.0"):  # fmt: skip
        assert words in text
    assert "folds:" not in text  # what is as the default is not repeated
    assert "Different from untrained encoder: AnatCL (global), AnatCL (local)." in text
    assert "1 x The file is cut short" in text


def test_no_path_of_the_machine_gets_into_it(built: Built) -> None:
    assert "secret" not in built[1].read_text()
    assert str(built[0]) not in built[1].read_text()


def test_its_pictures_are_there_and_small(built: Built) -> None:
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", built[1].read_text())
    assert {Path(name).name for name in named} >= {"forest.svg", "brain_age.svg", "brains.png"}
    assert all((built[1].parent / name).stat().st_size < 300_000 for name in named)


def test_same_run_same_bytes(built: Built) -> None:
    files = sorted(path for path in built[1].parent.rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    cohort_page.write_cohort_page(built[0], built[1], ABOUT)
    assert [path.read_bytes() for path in files] == before


def test_an_unfinished_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"benchmark\.tsv"):
        cohort_page.read_run(tmp_path)


def test_what_differs_is_found_at_any_depth() -> None:
    values = {"a": 1, "b": {"c": 2, "d": [1]}, "e": {"f": 0}}
    assert cohort_page.difference(values, {"a": 1, "b": {"c": 3, "d": [1]}, "e": {"f": 0}}) == {"b": {"c": 2}}


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert markdown_tables.table(("x", "y"), [("a|b", "1")]).splitlines()[-1] == "| a&#124;b | 1 |"
