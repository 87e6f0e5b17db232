"""Benchmark tables: arrangement, intervals, bold, formats."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.report.tables import build as tables
from anatcl.report.tables import formats
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.marks import mark
from anatcl.report.tables.table import number


@pytest.fixture(scope="session")
def written(results_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    evaluate = results_dir / "evaluate"
    tables.write_tables(evaluate / "scores.tsv", out / "benchmark.tsv", out / "tables", evaluate / "comparisons.tsv")
    return out


def test_every_declared_file_is_written_even_without_a_task(written: Path) -> None:
    names = {path.name for path in (written / "tables").iterdir()}
    assert names == {f"{group}.{kind}" for group in tables.ALWAYS for kind in ("md", "tex", "csv")}
    assert "No task" in (written / "tables" / "site.md").read_text()


def test_benchmark_keeps_every_score_in_the_order_of_the_tables(results_dir: Path, written: Path) -> None:
    scores, benchmark = read_tsv(results_dir / "evaluate" / "scores.tsv"), read_tsv(written / "benchmark.tsv")
    assert len(scores) == len(benchmark)
    assert list(benchmark["group"].unique()) == ["brain_age", "diagnosis", "clinical_scores", "sex"]
    age = benchmark[benchmark["task"] == "age"]
    assert list(age["protocol"].unique()) == ["cross-validation", "shuffled labels"]  # controls come last


def test_bold_and_dagger_only_where_a_test_says_so(written: Path) -> None:
    table = tables.build_table(tables.load_scores(written / "benchmark.tsv"), "brain_age")
    best = [(row.method, row.protocol) for row in table.rows for cell in row.cells if cell and cell.best]
    above = [(row.method, row.protocol) for row in table.rows for cell in row.cells if cell and cell.above]
    assert best == [("anatcl-global", "cross-validation")]
    assert above == [("anatcl-global", "cross-validation"), ("anatcl-local", "cross-validation")]
    assert formats.to_markdown(table).count("**") == 2
    assert formats.to_tex(table).count(r"\textbf") == 1
    assert formats.to_tex(table).count(r"\dagger") == 3  # two cells and the caption


def test_the_spread_over_several_encoders_of_a_method_is_shown(results_dir: Path) -> None:
    scores = tables.load_scores(results_dir / "evaluate" / "scores.tsv")
    assert "SD" not in formats.to_markdown(tables.build_table(scores, "brain_age"))
    several = (scores["method"] == "anatcl-local") & (scores["metric"] == "mae") & (scores["task"] == "age")
    table = tables.build_table(scores.assign(seed_sd=0.314159 * several.where(several)), "brain_age")
    markdown, tex = formats.to_markdown(table), formats.to_tex(table)
    assert markdown.count("SD 0.31") == several.sum() and "SD: over a method's encoders" in markdown
    assert tex.count("SD 0.31") == several.sum() and formats.to_csv(table).count("0.314159") == several.sum()


def test_nothing_is_marked_without_tests(results_dir: Path) -> None:
    table = tables.build_table(tables.load_scores(results_dir / "evaluate" / "scores.tsv"), "brain_age")
    assert not any(cell.best or cell.above for row in table.rows for cell in row.cells if cell)


def test_a_significant_loss_is_no_mark() -> None:
    scores = pd.DataFrame({"task": "t", "protocol": "p", "metric": "mae", "method": ["y-aware", "majority-median"]})
    scores["value"] = [3.0, 2.0]
    test = {"task": "t", "protocol": "p", "metric": "mae", "method_a": "majority-median", "method_b": "y-aware"}
    assert list(mark(scores, pd.DataFrame([test | {"p_holm": 0.001}]))) == ["", "best"]
    assert list(mark(scores, pd.DataFrame([test | {"p_holm": float("nan")}]))) == ["", ""]


def test_baselines_stand_below_and_unknown_methods_between() -> None:
    order = words.order_methods(["majority-median", "my-new-loss", "y-aware", "untrained", "anatcl-z"])
    assert order == ["anatcl-z", "y-aware", "my-new-loss", "untrained", "majority-median"]


def test_csv_holds_the_numbers(results_dir: Path, written: Path) -> None:
    scores = read_tsv(results_dir / "evaluate" / "scores.tsv")
    rows = list(csv.DictReader((written / "tables" / "sex.csv").open()))
    score = scores[(scores.task == "sex") & (scores.method == "untrained") & (scores.metric == "roc_auc")].iloc[0]
    row = next(row for row in rows if row["method"] == "untrained")
    assert float(row["sex.roc_auc.low"]) == pytest.approx(score["low"], rel=1e-5)
    assert row["sex.roc_auc.n"] == "26"


def test_tex_column_count_matches(written: Path) -> None:
    text = (written / "tables" / "diagnosis.tex").read_text()
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in body} == {6}
    assert r"\begin{tabular}{lrrrrrr}" in text


@given(st.text(max_size=30))
def test_tex_leaves_no_command_character_bare(text: str) -> None:
    safe = formats.tex(text.replace("\n", " "))
    for sign in "&%#_":
        assert safe.count(sign) == safe.count("\\" + sign)


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(-0.001, 2, "0.00"), (-1.5, 1, "−1.5"), (0.1234, 3, "0.123"), (12, 2, "12.00")]
)
def test_number(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_scores_without_optional_columns(tmp_path: Path) -> None:
    bare = pd.DataFrame(
        {"method": ["m", "m"], "task": ["brain_age_bhb", "autism"], "metric": ["mae", "roc_auc"], "value": [3.0, 0.5]}
    )
    write_tsv(tmp_path / "scores.tsv", bare)
    loaded = tables.load_scores(tmp_path / "scores.tsv")
    assert list(loaded["group"]) == ["brain_age", "diagnosis"]
    assert tables.build_table(loaded, "diagnosis").rows[0].cells[0].text == "0.500"


def test_missing_column_is_named(tmp_path: Path) -> None:
    write_tsv(tmp_path / "scores.tsv", pd.DataFrame({"method": ["m"], "task": ["age"]}))
    with pytest.raises(InputError, match="metric, value"):
        tables.load_scores(tmp_path / "scores.tsv")


def test_table_of_a_group_that_vanished_is_removed(tmp_path: Path) -> None:
    row = {"method": "m", "task": "x", "metric": "mae", "value": 1.0, "group": "other"}
    write_tsv(tmp_path / "a.tsv", pd.DataFrame([row]))
    write_tsv(tmp_path / "b.tsv", pd.DataFrame([row | {"group": "sex"}]))
    tables.write_tables(tmp_path / "a.tsv", tmp_path / "bench.tsv", tmp_path / "tables")
    assert (tmp_path / "tables" / "other.md").exists()
    tables.write_tables(tmp_path / "b.tsv", tmp_path / "bench.tsv", tmp_path / "tables")
    assert not (tmp_path / "tables" / "other.md").exists()


def test_flags_say_whose_they_are_unless_all_share_them() -> None:
    rows = pd.DataFrame({"method": ["y-aware", "untrained"], "flags": ["small: 9; leak?", "small: 9"]})
    assert tables.flag_lines(rows) == ["small: 9", "leak? (y-Aware)"]


def test_metrics_that_are_too_many_for_print_stay_out_of_it() -> None:
    names = ["rmse", "mae", "p_chance", "pearson_r_shuffled", "gap_g_AD"]
    scores = pd.DataFrame({"method": "m", "task": "age", "metric": names, "value": 1.0})
    for name, default in tables.DEFAULTS.items():
        scores[name] = default
    scores["group"] = "brain_age"
    shown = [column.metric for column in tables.build_table(scores, "brain_age", main_only=True).columns]
    assert shown == ["mae", "gap_g_AD", "pearson_r_shuffled"]
    assert len(tables.build_table(scores, "brain_age").columns) == 5
    assert words.metric_of("pearson_r_shuffled").label == "r, labels shuffled"
    assert words.metric_of("gap_g_AD").label == "Gap, Hedges g AD"


def test_sizes_give_a_range_where_methods_differ() -> None:
    rows = pd.DataFrame({"n": [20, 24], "n_participants": [20, 20], "n_sites": [1, 1]})
    assert tables.size_text(rows) == "20–24 scans, 20 participants, 1 site"
