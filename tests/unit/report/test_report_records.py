"""Runtime, exclusions, methods text and summary."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.report.page import summary
from anatcl.report.records import exclusions, methods, runtime
from anatcl.report.tables import build as tables
from anatcl.report.tables import headline, vocabulary


def test_runtime_adds_up_by_rule_and_passes_over_other_tables(results_dir: Path, tmp_path: Path) -> None:
    runtime.write_runtime(results_dir.parent / "benchmarks", tmp_path / "runtime.tsv")
    table = read_tsv(tmp_path / "runtime.tsv").set_index("rule")
    assert list(table.index) == ["bias_correct", "register", "pack"]  # data flow, and no `results/measures.tsv`
    jobs = table.loc["register", "jobs"]
    assert table.loc["register", "total_s"] == sum(12 + index for index in range(jobs))
    assert table.loc["register", "peak_mb"] == 400 + jobs - 1
    assert pd.isna(table.loc["pack", "peak_mb"])  # too short to be measured


def test_runtime_of_an_empty_folder(tmp_path: Path) -> None:
    runtime.write_runtime(tmp_path, tmp_path / "out.tsv")
    assert list(read_tsv(tmp_path / "out.tsv").columns) == runtime.COLUMNS


def test_exclusions_join_tables_and_markers(results_dir: Path) -> None:
    joined = exclusions.merge([results_dir / "bids" / "excluded.tsv", "absent.tsv"], results_dir / "failures")
    assert list(joined["participant_id"]) == ["sub-90", "sub-91"]
    assert list(joined["stage"]) == ["bids", "preprocess register"]
    assert list(joined.columns) == exclusions.COLUMNS


def test_no_exclusions_still_give_a_table(tmp_path: Path) -> None:
    exclusions.write_exclusions([], None, tmp_path / "excluded.tsv")
    assert read_tsv(tmp_path / "excluded.tsv").empty


def test_methods_text_says_what_ran_and_only_that(results_dir: Path) -> None:
    text = methods.methods_text(
        results_dir / "preprocess", [results_dir / s for s in ("measures", "pretrain", "evaluate")]
    )
    assert "corrected with N4 (Tustison et al., 2010)" in text
    assert "28 T1-weighted scans" in text
    assert "AnatCL (global) weights pairs" in text
    assert "Rank-N-Contrast" not in text
    assert "Atropos" not in text
    assert "warping the template's masks to the scan" in text  # from the name of the sidecar and the method in it
    assert "20 epochs of batches of 8 at a learning rate of 0.0001" in text
    assert "in 3 folds" in text
    assert "Tasks: ad-hc, age, mci-hc, score, sex." in text
    assert "antspyx 0.6.3" in text


def test_methods_cites_each_named_work_once(results_dir: Path) -> None:
    text = methods.methods_text(results_dir / "preprocess", [results_dir / "pretrain"])
    assert text.count("@article{n4,") == 1
    assert "@inproceedings{rnc," not in text


def test_methods_of_nothing_is_a_heading() -> None:
    assert methods.methods_text(None, []).strip() == "# Methods"


def test_every_citation_has_an_entry_and_every_entry_its_key() -> None:
    references = methods._data("references.yaml")
    cited = {
        key for stage in methods._data("methods.yaml") for rule in stage["sentences"] for key in rule.get("cite", ())
    }
    assert cited <= set(references)
    for key, entry in references.items():
        assert entry["bibtex"].split("{", 1)[1].startswith(f"{key},")
        assert entry["bibtex"].count("{") == entry["bibtex"].count("}")


def test_facts_are_found_however_deep(tmp_path: Path) -> None:
    about = {"parameters": [{"Recipe": "fast"}], "Template": {"name": "T", "sha256": "x"}}
    write_json(tmp_path / "preprocess" / "a.json", about)
    records = methods.read_records([tmp_path / "preprocess" / "a.json"])
    assert records.facts["recipe"] == ["fast"]
    assert records.facts["template"] == ["T"]


def test_headline_takes_the_best_trained_method_beside_all_baselines(results_dir: Path) -> None:
    scores = tables.load_scores(results_dir / "evaluate" / "scores.tsv")
    age = headline.headlines(scores)[0]
    kept = scores[(scores.task == "age") & (scores.metric == "mae") & (scores.protocol == "cross-validation")]
    trained = kept[~kept.method.isin(vocabulary.BASELINES)]
    assert age.rows[0][0] == trained.loc[trained["value"].idxmin(), "method"]
    assert [name for name, _ in age.rows[1:]] == ["untrained", "regional-measures", "tissue-volumes", "majority-median"]


def test_summary_names_counts_and_places(results_dir: Path, tmp_path: Path) -> None:
    report = results_dir / "report" / "index.html"
    write_tsv(
        tmp_path / "excluded.tsv", exclusions.merge([results_dir / "bids" / "excluded.tsv"], results_dir / "failures")
    )
    text = summary.summary_text(results_dir / "evaluate" / "scores.tsv", report, excluded=tmp_path / "excluded.tsv")
    assert "Scans in: 28 of 24 participants; 2 excluded (1 in bids, 1 in preprocess register" in text
    assert str(report) in text
    assert "Majority / median" in text


def test_data_files_are_yaml_lists_of_sentences() -> None:
    stages = yaml.safe_load((Path(methods.__file__).parent / "methods.yaml").read_text())
    assert [stage["stage"] for stage in stages] == list(methods.STAGES)


@pytest.mark.parametrize(
    ("path", "stage"), [("results/pretrain/y-aware/fold-0/run.json", "pretrain"), ("x/run.json", "")]
)
def test_stage_of_a_record_is_read_off_its_path(path: str, stage: str) -> None:
    assert methods.stage_of(Path(path)) == stage


def test_nothing_excluded_is_an_empty_table(tmp_path):
    from anatcl.base.files import read_tsv
    from anatcl.report.records.exclusions import COLUMNS, write_exclusions

    (tmp_path / "bids.tsv").write_text("\t".join(COLUMNS) + "\n")
    write_exclusions([tmp_path / "bids.tsv"], tmp_path / "failures", tmp_path / "out.tsv")
    assert list(read_tsv(tmp_path / "out.tsv").columns) == list(COLUMNS) and read_tsv(tmp_path / "out.tsv").empty
