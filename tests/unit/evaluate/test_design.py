"""Outer splits: everybody tested as the protocol says, nobody on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.evaluate.data.problem import Refused
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.steps.audit import LeakError, check_splits
from anatcl.spec.protocol import load_design
from tests.unit.evaluate.helpers import AGE, SICK, make, make_cohort


@pytest.fixture
def cohort(rng):
    return make_cohort(rng, 60)


@pytest.fixture
def folds(cohort):
    people = cohort[0]["participant_id"]
    return pd.DataFrame({"participant_id": people, "fold": np.arange(len(people)) % 5})


@pytest.mark.parametrize("spec", [AGE, SICK])
@pytest.mark.parametrize(
    ("design", "name", "runs"),
    [
        ("folds", "5-fold", 1),
        ({"kind": "repeated", "folds": 4, "repeats": 3}, "3x4-fold", 3),
        ("leave-site-out", "leave-site-out", 1),
    ],
)
def test_everybody_is_tested_once_per_run(cohort, folds, spec, design, name, runs):
    problem, _ = make(*cohort, spec)
    splits = make_splits(load_design(design), problem, folds, [-1], 0)[name]
    check_splits(problem, splits)
    tested = np.concatenate([s.test for s in splits])
    np.testing.assert_array_equal(np.sort(tested), np.repeat(np.arange(60), runs))
    assert all(len(s.train) + len(s.test) == 60 for s in splits)


def test_encoders_are_evaluated_apart_where_folds_are_not_those_of_pretraining(cohort):
    problem, _ = make(*cohort, AGE)
    splits = make_splits(load_design({"kind": "repeated", "folds": 3}), problem, None, [0, 1], 0)["1x3-fold"]
    assert [s.encoder for s in splits] == [0, 0, 0, 1, 1, 1]


def test_transfer_trains_on_one_cohort_and_tests_another(cohort):
    problem, _ = make(*cohort, AGE)
    design = load_design({"kind": "transfer", "column": "site", "train": ["a"], "test": ["b", "c"]})
    (split,) = make_splits(design, problem, None, [-1], 0)["a-to-b+c"]
    assert set(problem.rows["site"].iloc[split.train]) == {"a"}
    assert set(problem.rows["site"].iloc[split.test]) == {"b", "c"}


def test_travelling_participants_are_not_trained_on_where_tested(cohort):
    table, x = cohort
    table.loc[1, "participant_id"] = table.loc[0, "participant_id"]  # scanned at sites a and b
    problem, _ = make(table, x, AGE)
    check_splits(problem, make_splits(load_design("leave-site-out"), problem, None, [-1], 0)["leave-site-out"])


@pytest.mark.parametrize("spec", [AGE, SICK])
def test_few_shot_draws_stratified_participants(cohort, folds, spec):
    problem, _ = make(*cohort, spec)
    design = load_design({"kind": "few-shot", "sizes": [8, 16, 100], "repeats": 2})
    found = make_splits(design, problem, folds, [-1], 0)
    assert list(found) == ["few-shot-8", "few-shot-16", "few-shot-all"]
    assert all(len(s.train) == 8 for s in found["few-shot-8"])
    full = problem.y.mean()
    means = [problem.y[s.train].mean() for s in found["few-shot-16"]]
    assert abs(np.mean(means) - full) < 0.2 * problem.y.std()
    if spec is SICK:
        assert min(np.bincount(problem.y[s.train], minlength=2).min() for s in found["few-shot-8"]) >= 2


def test_training_query_leaves_rows_to_test_only(cohort, folds):
    problem, _ = make(*cohort, {**AGE, "train_query": "sick == 0"})
    splits = make_splits(load_design("folds"), problem, folds, [-1], 0)["5-fold"]
    assert all((problem.rows["sick"].iloc[s.train] == 0).all() for s in splits)
    assert sum(len(s.test) for s in splits) == 60


def test_wrong_protocols_are_named(cohort):
    problem, _ = make(*cohort, AGE)
    with pytest.raises(InputError, match="'repeats'"):
        load_design({"kind": "repeated", "repeat": 3})
    with pytest.raises(InputError, match="unknown"):
        load_design("bootstrap")
    with pytest.raises(InputError, match="folds table"):
        make_splits(load_design("folds"), problem, None, [-1], 0)
    with pytest.raises(Refused, match="no column"):
        make_splits(load_design({"kind": "leave-site-out", "column": "x"}), problem, None, [-1], 0)


def test_a_person_on_both_sides_is_a_leak(cohort, folds):
    table, x = cohort
    table.loc[1, "participant_id"] = table.loc[0, "participant_id"]
    problem, _ = make(table, x, {**AGE, "group": "scan"})
    splits = make_splits(load_design({"kind": "repeated", "folds": 5, "repeats": 10}), problem, None, [-1], 0)
    with pytest.raises(LeakError, match="sub-0000"):
        check_splits(problem, splits["10x5-fold"])


def test_few_shot_of_another_cohort_deals_its_own_folds(cohort):
    problem, _ = make(*cohort, SICK)
    found = make_splits(load_design({"kind": "few-shot", "sizes": [16]}), problem, None, [0, 1], 0)
    assert len(found["few-shot-16"]) == 2 * 5 * 10  # encoders, folds, draws
    assert {s.encoder for s in found["few-shot-all"]} == {0, 1}


def test_a_transfer_is_evaluated_by_encoders_that_saw_nobody_whom_it_tests(cohort):
    problem, _ = make(*cohort, AGE)
    design = load_design({"kind": "transfer", "column": "site", "train": ["a"], "test": ["b", "c"]})
    people = problem.rows["participant_id"].astype(str)
    tested = problem.rows["site"].isin(["b", "c"]).to_numpy()
    seen = {0: people[tested].tolist(), 1: people[~tested].tolist()}
    (splits,) = make_splits(design, problem, None, [0, 1], 0, seen).values()
    assert [split.encoder for split in splits] == [1]
    (splits,) = make_splits(design, problem, None, [0, 1], 0, {0: seen[0], 1: seen[0]}).values()
    assert [split.encoder for split in splits] == [0, 1]  # the audit says so
