"""A whole table from one file: other tools' features beside ours, byte-equal on every run, published figures apart."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.cli import evaluate
from anatcl.evaluate.statistics.published import PROTOCOL, load_published, published_rows
from anatcl.evaluate.statistics.scores import COLUMNS
from anatcl.evaluate.steps.gather import gather
from anatcl.evaluate.steps.table import load_spec, run_table
from anatcl.report.tables.build import write_tables
from tests.unit.evaluate.helpers import make_cohort

N = 30


@pytest.fixture
def place(tmp_path, rng) -> Path:
    """A cohort, somebody's table by participant with two people missing, and a file that names it."""
    table, x = make_cohort(rng, N)
    write_tsv(tmp_path / "here" / "scans.tsv", table)
    write_tsv(tmp_path / "here" / "folds.tsv", pd.DataFrame({"participant_id": table["participant_id"],
                                                              "fold": np.arange(N) % 3}))  # fmt: skip
    foreign = pd.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])]).assign(note="text")
    foreign.insert(0, "participant_id", table["participant_id"])
    foreign.iloc[2:].to_csv(tmp_path / "foreign.csv", index=False)
    spec = {
        "scans": "{here}/scans.tsv",
        "folds": "{here}/folds.tsv",
        "tasks": ["age", {"name": "sick", "kind": "binary", "target": "sick", "positives": [1], "negatives": [0]}],
        "methods": {"foreign": {"features": "foreign.csv", "columns": "f.*"}, "age-sex-tiv": {"columns": "age-sex-tiv"},
                    "majority-median": None},
        "protocols": ["folds", {"kind": "few-shot", "sizes": [8]}, "leave-site-out"],
        "subgroups": ["sex"],
        "bootstrap": 30,
        "shuffles": 1,
    }  # fmt: skip
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return tmp_path


def run(place: Path, out: str) -> Path:
    """By the command, and on to the tables of the report."""
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    args = parser.parse_args(["evaluate", "table", "--config", str(place / "table.yaml"), "--where",
                              f"here={place / 'here'}", "--out-dir", str(place / out)])  # fmt: skip
    args.function(args)
    folder = place / out
    write_tables(
        folder / "scores.tsv", folder / "report" / "benchmark.tsv", folder / "report", folder / "comparisons.tsv"
    )
    return folder


def test_two_runs_give_byte_equal_tables_whatever_the_order_of_rows(place):
    first = run(place, "one")
    for file in (place / "here" / "scans.tsv", place / "here" / "folds.tsv"):
        write_tsv(file, read_tsv(file).iloc[::-1])
    second = run(place, "two")
    files = sorted(p.relative_to(first) for p in first.rglob("*.*"))
    assert Path("report/benchmark.tsv") in files
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_external_features_join_with_intervals_tests_and_subgroups(place):
    folder = run(place, "one")
    scores = read_tsv(folder / "scores.tsv")
    assert list(dict.fromkeys(scores["method"])) == ["foreign", "age-sex-tiv", "majority-median"]
    assert set(scores["protocol"]) == {"3-fold", "few-shot-8", "few-shot-all", "leave-site-out"}
    row = scores.set_index(["method", "task", "protocol", "metric"]).loc["foreign", "age", "3-fold", "mae"]
    assert row["low"] < row["value"] < row["high"]
    assert row["n"] == N - 2
    tests = read_tsv(folder / "comparisons.tsv").set_index(["task", "protocol", "metric", "method_a", "method_b"])
    assert tests.loc["age", "3-fold", "mae", "foreign", "majority-median"]["difference"] < 0
    assert set(read_tsv(folder / "subgroups.tsv")["subgroup"]) == {"sex=F", "sex=M"}


def test_wrong_files_are_named(place):
    with pytest.raises(InputError, match="--where here=FOLDER"):
        load_spec(place / "table.yaml", {})
    text = (place / "table.yaml").read_text()
    (place / "table.yaml").write_text(text.replace("columns: f", "colums: f"))
    with pytest.raises(InputError, match="'columns'"):
        run_table(place / "table.yaml", place / "out", {"here": str(place / "here")})


def test_published_figures_agree_with_the_score_that_they_state():
    rows = pd.DataFrame(load_published()).pivot(index="method", columns=["task", "metric"], values="value")
    made = rows["openbhb-age"]["external_mae"] * rows["openbhb-site"]["balanced_accuracy"] ** 0.3
    np.testing.assert_allclose(made, rows["openbhb-age"]["openbhb_score"], atol=0.003)


def row(**values) -> dict:
    common = {"kind": "regression", "group": "brain_age", "protocol": "5-fold", "metric": "mae", "flags": None}
    return dict.fromkeys(COLUMNS) | common | values


def test_published_figures_are_cited_rows_of_their_own_and_never_ranked(tmp_path):
    ours = [
        row(method=m, task="openbhb-age", value=v, low=v - 1, high=v + 1, n=9) for m, v in (("expw", 4.0), ("b", 5))
    ]
    ours += [row(method="expw", task="openbhb-site", metric="balanced_accuracy", kind="multiclass", value=0.2)]
    write_tsv(tmp_path / "in.tsv", pd.DataFrame(ours, columns=COLUMNS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gather([tmp_path / "in.tsv"], [], tmp_path / "scores.tsv")
    table = read_tsv(tmp_path / "scores.tsv")
    published = table[table["protocol"] == PROTOCOL]
    assert {"expw", "y-aware", "threshold"} == set(published["method"])
    assert published["flags"].str.contains("arXiv 2211.08326.*hidden").all()
    assert published[["low", "high"]].isna().all(axis=None)
    assert table.loc[table["metric"] == "openbhb_score", "value"].iloc[0] == pytest.approx(4 * 0.2**0.3)
    write_tables(tmp_path / "scores.tsv", tmp_path / "benchmark.tsv", tmp_path / "tables")
    marks = read_tsv(tmp_path / "benchmark.tsv").set_index("protocol")["marks"]
    assert marks.loc[PROTOCOL].isna().all()
    assert published_rows(["age"], pd.DataFrame(columns=COLUMNS)) == []


def test_a_published_figure_needs_a_source(tmp_path):
    (tmp_path / "p.yaml").write_text("rows:\n- {task: a, method: b, metric: mae, value: 1}\n")
    with pytest.raises(InputError, match="source"):
        load_published(tmp_path / "p.yaml")
