"""Folds: by participant, balanced, independent of row order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.pretrain.folds import make_folds


def scans(people: int, seed: int = 0, sites: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"participant_id": f"sub-{i}", "age": age, "site": f"s{rng.integers(sites)}"}
        for i, age in enumerate(rng.uniform(18, 90, people))
        for _ in range(rng.integers(1, 4))
    ]
    return pd.DataFrame(rows)


@given(people=st.integers(5, 60), folds=st.integers(2, 5), seed=st.integers(0, 9))
def test_each_person_once_and_sizes_even(people, folds, seed):
    table = make_folds(scans(people, seed), folds, seed)
    assert table["participant_id"].is_unique and len(table) == people
    sizes = table["fold"].value_counts()
    assert set(sizes.index) == set(range(folds)) and sizes.max() - sizes.min() <= 1


def test_ages_are_balanced():
    table = scans(200)
    folds = make_folds(table, 5)
    age = table.groupby("participant_id")["age"].mean()
    means = folds.assign(age=folds["participant_id"].map(age)).groupby("fold")["age"].mean()
    assert means.max() - means.min() < 2


def test_seed_and_row_order():
    table = scans(40)
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(make_folds(table, 5, 3), make_folds(shuffled, 5, 3))
    assert not make_folds(table, 5, 3)["fold"].equals(make_folds(table, 5, 4)["fold"])


def test_unknown_ages_are_spread():
    table = scans(20).assign(age=np.nan)
    assert make_folds(table, 4)["fold"].value_counts().eq(5).all()
    assert len(make_folds(table.drop(columns="age"), 4)) == 20


def test_sites_stay_whole():
    table = scans(60, sites=9)
    folds = make_folds(table, 3, group="site")
    site = table.groupby("participant_id")["site"].first()
    merged = folds.assign(site=folds["participant_id"].map(site))
    assert merged.groupby("site")["fold"].nunique().eq(1).all()
    assert merged["fold"].nunique() == 3


@pytest.mark.parametrize(
    ("people", "folds", "group"), [(3, 5, "participant_id"), (1, 2, "participant_id"), (20, 9, "site")]
)
def test_no_more_folds_than_can_be_filled(people, folds, group, caplog):
    table = scans(people, sites=4)
    made = make_folds(table, folds, group=group)
    there = table[group].nunique()
    assert sorted(made["fold"].unique()) == list(range(there)) and there < folds
    assert f"cannot fill {folds} folds" in caplog.text


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"folds": 1}, "hold out"),
        ({"folds": 2, "group": "scanner"}, "no such column"),
    ],
)
def test_what_cannot_be_is_said(kwargs, words):
    with pytest.raises(InputError, match=words):
        make_folds(scans(20), **kwargs)
