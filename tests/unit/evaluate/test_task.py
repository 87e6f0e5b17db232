"""Tasks from YAML, JSON and names; labels; refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.evaluate.data.problem import Refused, make_problem
from anatcl.spec.task import SHIPPED, canonical, load_task


@pytest.fixture
def table(rng) -> pd.DataFrame:
    n = 20
    return pd.DataFrame(
        {
            "scan": [f"sub-{i:02d}/anat/sub-{i:02d}" for i in range(n)],
            "participant_id": [f"sub-{i:02d}" for i in range(n)],
            "age": rng.uniform(20, 80, n).round(1),
            "sex": ["M", "F"] * (n // 2),
            "diagnosis": ["patient"] * 6 + ["HC"] * 12 + [None, "other"],
            "dx_group": [1] * 8 + [2] * 12,
        }
    )


@pytest.mark.parametrize(
    ("value", "expected"), [(1, "1"), (1.0, "1"), (" 1 ", "1"), ("1.0", "1"), (1.5, "1.5"), ("HC", "HC"), (None, "")]
)
def test_canonical(value, expected):
    assert canonical(value) == expected


@pytest.mark.parametrize("name", ["age", "sex"])
def test_shipped_simple_tasks_load(name):
    assert load_task(name).name == name
    assert (SHIPPED / f"{name}.yaml").is_file()


def test_task_from_json_and_file(tmp_path):
    spec = {"name": "dx", "kind": "binary", "target": "dx_group", "positives": [1], "negatives": [2.0]}
    (tmp_path / "dx.json").write_text(json.dumps(spec))
    assert load_task(json.dumps(spec)) == load_task(tmp_path / "dx.json") == load_task(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "a", "kind": "regression", "target": "age", "positivs": [1]}, "did you mean 'positives'"),
        ({"name": "a", "kind": "ordinal", "target": "age"}, "ordinal"),
        ({"name": "a/b", "kind": "regression", "target": "age"}, "file name"),
        ({"name": "a", "kind": "binary", "target": "sex", "positives": ["M"]}, "negatives"),
        (
            {"name": "a", "kind": "binary", "target": "s", "positives": [1], "negatives": ["1.0", 2]},
            "both positive and negative",
        ),
        ({"name": "a", "kind": "regression"}, "target"),
    ],
)
def test_wrong_tasks_are_named(spec, message):
    with pytest.raises(InputError, match=message):
        load_task(spec)


def test_unknown_name_lists_the_shipped():
    with pytest.raises(InputError, match="sex"):
        load_task("no-such-task")


def test_binary_labels_and_counts(table):
    task = load_task(
        {"name": "d", "kind": "binary", "target": "diagnosis", "positives": ["patient"], "negatives": ["HC"]}
    )
    problem = make_problem(task, table)
    assert (problem.y.sum(), len(problem.y), problem.n_dropped) == (6, 18, 2)


def test_numeric_codes_match_text(table):
    task = load_task({"name": "d", "kind": "binary", "target": "dx_group", "positives": ["1"], "negatives": [2]})
    assert make_problem(task, table).y.sum() == 8


def test_missing_target_leaves_only_that_task(table):
    table.loc[3, "age"] = np.nan
    problem = make_problem(load_task("age"), table)
    assert (len(problem.y), problem.n_dropped) == (19, 1)
    assert "sub-03" not in problem.groups
    assert len(make_problem(load_task("sex"), table).y) == 20


def test_query_selects(table):
    spec = {"name": "a", "kind": "regression", "target": "age", "query": "sex == 'F'"}
    assert set(make_problem(load_task(spec), table).rows["sex"]) == {"F"}
    with pytest.raises(InputError, match="cannot be evaluated"):
        make_problem(load_task({**spec, "query": "nothing == 1"}), table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(age=50.0), "constant"),
        (lambda t: t.iloc[:5], "5 participants"),
        (lambda t: t.drop(columns="age"), "no column 'age'"),
        (lambda t: t.assign(age=np.nan), "0 participants"),
    ],
)
def test_regression_refusals(table, change, message):
    with pytest.raises(Refused, match=message):
        make_problem(load_task("age"), change(table))


def test_class_refusals_have_counts(table):
    with pytest.raises(Refused, match="positive: 20"):
        make_problem(load_task("sex"), table.assign(sex="M"))
    with pytest.raises(Refused, match="positive: 1"):
        make_problem(load_task("sex"), table.assign(sex=["M"] + ["F"] * 19))


def test_rare_classes_are_left_out_of_multiclass(table):
    table["site"] = ["a"] * 10 + ["b"] * 8 + ["c"] * 2
    problem = make_problem(load_task({"name": "site", "kind": "multiclass", "target": "site"}), table)
    assert problem.classes == ("a", "b")
    assert problem.n_dropped == 2


def test_one_scan_per_participant_where_asked(table):
    again = table.assign(scan=table["participant_id"] + "/ses-2/anat/x")
    both = pd.concat([table, again], ignore_index=True)
    both.loc[0, "age"] = np.nan  # the first scan of sub-00 has no age: the second one counts
    problem = make_problem(
        load_task({"name": "a", "kind": "regression", "target": "age", "per_participant": "first"}), both
    )
    assert len(problem.y) == 20
    assert problem.rows["scan"].iloc[0] == "sub-00/ses-2/anat/x"
    assert problem.n_dropped == 1


@pytest.mark.parametrize(("threshold", "positives"), [("median", 10), (0, 20), (1e9, None)])
def test_a_score_is_binarised(table, threshold, positives):
    task = load_task({"name": "a", "kind": "binary", "target": "age", "threshold": threshold})
    if positives in (None, 20):
        with pytest.raises(Refused):
            make_problem(task, table)
    else:
        assert make_problem(task, table).y.sum() == positives


def test_a_file_of_several_tasks_is_not_one(tmp_path):
    with pytest.raises(InputError, match="abide1-autism"):
        load_task(SHIPPED / "abide1.yaml")
    assert load_task("abide1-autism").dataset == "ABIDE-I"
