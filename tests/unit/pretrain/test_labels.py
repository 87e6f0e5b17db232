"""Missing measures are filled from the training people alone; the control exchanges them within sex and age decade."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.pretrain.cohort import Cohort, covariates
from anatcl.pretrain.labels import imputed, permuted


def cohort(ages, sexes, measures, people=None, tiv=None) -> Cohort:
    n = len(ages)
    people = people or [f"sub-{i:02d}" for i in range(n)]
    rows = pd.DataFrame({"scan": [f"s{i}" for i in range(n)], "participant_id": people, "sex": sexes, "age": ages})
    measures = np.asarray(measures, np.float32)
    table = pd.DataFrame({"tiv_mm3": tiv if tiv is not None else np.arange(n) + 1.4e6})
    regions = [f"lh_{k}" for k in range(measures.shape[1])]
    return Cohort(np.arange(n), rows, np.asarray(ages, np.float32), measures, regions, ["thickness"], table)


def test_a_missing_measure_is_its_mean_given_age_and_sex(rng):
    """A measure that is exactly linear in age and sex comes back exactly; what was there does not move."""
    ages, sexes = rng.uniform(20, 80, 30), rng.choice(["M", "F"], 30)
    truth = 3 - 0.01 * ages[:, None, None] + np.where(sexes == "M", 0.2, 0)[:, None, None] * np.ones((1, 4, 1))
    gaps = rng.random(truth.shape) < 0.2
    found = imputed(cohort(ages, sexes, np.where(gaps, np.nan, truth)))
    np.testing.assert_allclose(found.measures, truth, atol=1e-5)
    np.testing.assert_array_equal(found.measures[~gaps], truth.astype(np.float32)[~gaps])
    assert found.imputed == {"scans": int(gaps.any((1, 2)).sum()), "values": int(gaps.sum())}


def test_the_fill_equals_a_plain_regression(rng):
    from sklearn.linear_model import LinearRegression

    ages, sexes = rng.uniform(20, 80, 20), rng.choice(["M", "F"], 20)
    values = rng.normal(size=(20, 2, 1))
    values[[3, 7], 1, 0] = np.nan
    x = np.column_stack([np.float32(ages), sexes == "M"])
    known = np.isfinite(values[:, 1, 0])
    expected = LinearRegression().fit(x[known], values[known, 1, 0]).predict(x[~known])
    np.testing.assert_allclose(imputed(cohort(ages, sexes, values)).measures[~known, 1, 0], expected, rtol=1e-5)


def test_complete_measures_are_left_alone_and_unknown_ages_do_no_harm(rng):
    whole = cohort(rng.uniform(20, 80, 6), list("MFMFMF"), rng.normal(size=(6, 2, 1)))
    assert imputed(whole) is whole and not whole.imputed
    values = rng.normal(size=(6, 2, 1))
    values[0, 0, 0] = np.nan
    found = imputed(cohort([np.nan] * 6, ["n/a"] * 6, values))
    assert found.measures[0, 0, 0] == pytest.approx(values[1:, 0, 0].mean(), rel=1e-5)


def test_a_region_that_no_training_scan_has_is_left_out(rng):
    values = rng.normal(size=(6, 3, 1))
    values[:, 1] = np.nan
    found = imputed(cohort(rng.uniform(20, 80, 6), list("MFMFMF"), values))
    assert found.regions == ["lh_0", "lh_2"] and found.measures.shape == (6, 2, 1)


@given(st.integers(0, 10_000), st.integers(2, 30))
def test_measures_are_exchanged_within_sex_and_decade(seed, n):
    """Every giver has the taker's sex and decade, gives once, and is the taker only when alone in the cell."""
    rng = np.random.default_rng(seed)
    ages, sexes = rng.uniform(20, 60, n), rng.choice(["M", "F"], n)
    before = cohort(ages, sexes, np.arange(n).reshape(n, 1, 1))
    cell = [(sex, age // 10) for sex, age in zip(sexes, ages, strict=True)]
    alone = [cell.count(c) == 1 for c in cell]
    if all(alone):
        with pytest.raises(InputError, match="no measures can be exchanged"):
            permuted(before, seed)
        return
    after = permuted(before, seed)
    giver = after.measures[:, 0, 0].astype(int)
    assert sorted(giver) == list(range(n))
    for i, g in enumerate(giver):
        assert cell[g] == cell[i] and (g == i) == alone[i]
    assert after.permuted == {"people": n, "cells": len(set(cell)), "kept_their_own": sum(alone)}
    np.testing.assert_array_equal(covariates(after)[:, 2], covariates(before)[giver, 2])
    np.testing.assert_array_equal(covariates(after)[:, :2], covariates(before)[:, :2])


def test_all_scans_of_a_person_take_those_of_one_giver():
    people = ["a", "a", "b", "b", "b", "c"]
    before = cohort([30.0, 31, 33, 34, 35, 38], list("MMMMMM"), np.arange(6).reshape(6, 1, 1), people)
    after = permuted(before, 1)
    owner = dict(enumerate(people))
    for person in "abc":
        givers = {owner[int(v)] for v in after.measures[after.rows["participant_id"] == person].ravel()}
        assert len(givers) == 1 and givers != {person}


def test_the_seed_decides(rng):
    one = cohort(rng.uniform(20, 30, 20), ["M"] * 20, np.arange(20).reshape(20, 1, 1))
    np.testing.assert_array_equal(permuted(one, 3).measures, permuted(one, 3).measures)
    assert (permuted(one, 3).measures != permuted(one, 4).measures).any()
    shuffled = dataclasses.replace(one, rows=one.rows)
    np.testing.assert_array_equal(permuted(shuffled, 3).measures, permuted(one, 3).measures)


def test_training_records_what_was_filled_and_exchanged(pretrain, cohort_files, tmp_path, caplog):
    caplog.set_level("INFO")
    table = read_tsv(cohort_files["measures.tsv"])
    folds = read_tsv(cohort_files["folds.tsv"])
    row = int(table.index[table["participant_id"].isin(folds.loc[folds["fold"] == 1, "participant_id"])][0])
    table.loc[row, "thickness_lh_insula"] = np.nan
    write_tsv(tmp_path / "m.tsv", table)
    files = {**cohort_files, "measures.tsv": tmp_path / "m.tsv"}
    model = read_json(pretrain("anatcl-z", "a", epochs=1, files=files, permuted=True) / "model.json")
    assert model["imputed"] == {"scans": 1, "values": 1} and model["train_scans"] == 16
    assert (
        model["permuted"]["people"] == 16
        and f"with their own measures: {model['permuted']['kept_their_own']}" in caplog.text
    )
    assert "missing, and filled with the mean given age and sex: 1 measure of 1 scan" in caplog.text
    dropped = read_json(pretrain("anatcl-z", "b", epochs=1, files=files, missing_measures="drop") / "model.json")
    alike = read_json(pretrain("y-aware", "c", epochs=1, files=files, missing_measures="drop") / "model.json")
    assert dropped["train_scans"] == 15 and dropped["train_participants"] == alike["train_participants"]


@pytest.mark.parametrize("method", ["anatcl-global", "anatcl-local", "anatcl-z"])
def test_the_control_trains_another_encoder(pretrain, method):
    own, others = (pretrain(method, str(p), epochs=1, permuted=p) for p in (False, True))
    one, two = ((folder / "encoder.safetensors").read_bytes() for folder in (own, others))
    assert one != two
