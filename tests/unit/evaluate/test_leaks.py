"""Leaks through names, feature tables and duplicated people: planted ones are caught, clean cases are silent."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.evaluate.data import identity, leaky
from anatcl.evaluate.data.features import Features, load_table, used_columns
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.steps import audit
from anatcl.evaluate.steps.task import Settings, evaluate_task, run_audit, run_task
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from tests.unit.evaluate.helpers import AGE, SICK, make, make_cohort


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ("sub-0050002", "50002"),
        ("50002", "sub-0050002"),
        ("SUB-0050002", " sub-50002 "),
        ("ABIDE_0050002", "sub-0050002"),
        ("002_S_0295", "sub-ADNI002S0295"),
        ("50002.0", "0050002"),
        ("IXI002-Guys-0828", "sub-ixi002guys0828"),
    ],
)
def test_one_person_under_two_spellings_is_a_leak(trained, tested):
    assert audit.overlap([trained, "sub-0099999"], [tested, "sub-0088888"]) == [tested]


@given(st.integers(1, 99999), st.integers(1, 99999), st.integers(0, 4))
@settings(max_examples=60)
def test_numbers_agree_whatever_their_zeros_and_differ_when_they_differ(a, b, zeros):
    assert (identity.normal(f"sub-{a}") == identity.normal(f"{'0' * zeros}{b}")) == (a == b)


def test_groups_of_digits_are_not_run_together():
    assert audit.overlap(["1_11"], ["11_1"]) == []


def test_a_list_that_tells_spellings_apart_is_taken_at_its_word():
    assert audit.overlap(["sub-01"], ["sub-1", "sub-01"]) == ["sub-01"]
    assert audit.overlap(["patient001", "control002"], ["control001"]) == []


def test_hashes_are_compared_by_usual_spellings():
    assert audit.overlap([audit.digest("50002")], ["sub-0050002"]) == ["sub-0050002"]


@pytest.fixture
def scans(tmp_path, rng):
    table, _ = make_cohort(rng, 6)
    write_tsv(tmp_path / "scans.tsv", table)
    return tmp_path


def verdicts(folder, people, **options):
    write_json(folder / "m" / "fold-0" / "model.json", {"train_participants": people})
    run_audit(folder / "scans.tsv", folder / "m", folder / "audit.tsv", **options)
    return read_tsv(folder / "audit.tsv")


@pytest.mark.parametrize(
    ("people", "why"),
    [(["other-sub-0001"], "prefix"), (["HC_LeftHanded"], "different ways"), ([], "does not list"), (None, "not list")],
)
def test_what_could_not_be_compared_is_not_called_clean(scans, people, why, caplog):
    table = verdicts(scans, people)
    assert table["verdict"].tolist() == ["not checked"]
    assert why in table.loc[0, "overlap"]
    assert "not checked" in caplog.text


def test_other_people_of_the_same_naming_are_clean(scans):
    assert verdicts(scans, ["sub-0100", "sub-0101"])["verdict"].tolist() == ["clean"]


def test_a_spelling_aborts_the_command(scans):
    with pytest.raises(audit.LeakError, match="sub-0003"):
        verdicts(scans, ["3"])


def test_a_known_overlap_that_cannot_be_looked_for_is_a_sentence(scans):
    rule = [{"cohort": "OpenBHB", "query": "no_such_column == 1"}]
    write_json(scans / "m" / "fold-0" / "model.json", {"train_participants": ["sub-0100"]})
    with pytest.raises(InputError, match="cannot be checked"):
        audit.audit(read_tsv(scans / "scans.tsv"), scans / "m", known=rule, cohort="openbhb")


def test_warnings_of_names_stand_beside_the_figures(rng, tmp_path):
    table, x = make_cohort(rng, 40)
    features = Features({0: x}, np.ones(40, bool), list("abcdef"))
    write_json(tmp_path / "fold-0" / "model.json", {"train_participants": ["HC_LeftHanded"]})
    settings_ = Settings({"kind": "repeated"}, n_bootstrap=20, shuffles=0, pretrained=tmp_path)
    _, rows = evaluate_task(load_task(AGE), "m", table, features, None, settings_)
    assert rows["flags"].str.contains("overlap with pretraining not checked").all()


def again_under_new_names(table, x, rng):
    """Everybody twice, the second time stored with less digits."""
    twin = table.assign(scan=table["scan"] + "b", participant_id="new-" + table["participant_id"])
    return pd.concat([table, twin], ignore_index=True), np.vstack([x, np.round(x, 4)])


@pytest.mark.parametrize("spec", [AGE, SICK])
@pytest.mark.parametrize("d", [4, 6, 60])
def test_everybody_again_under_new_names_is_caught(rng, spec, d):
    problem, features = make(*again_under_new_names(*make_cohort(rng, 100, d=d), rng), spec)
    splits = make_splits(load_design("repeated"), problem, None, [-1], 0)["1x5-fold"]
    with pytest.raises(audit.LeakError, match="same features"):
        audit.check_features(problem, features, splits)


def test_the_remedy_for_people_under_two_names_works(rng):
    table, x = again_under_new_names(*make_cohort(rng, 60), rng)
    table["person"] = table["participant_id"].str.removeprefix("new-")
    problem, features = make(table, x, {**AGE, "group": "person"})
    splits = make_splits(load_design("repeated"), problem, None, [-1], 0)["1x5-fold"]
    assert audit.check_features(problem, features, splits) == []


@pytest.mark.parametrize("name", ["correlated", "age and sex", "counts", "one column", "constant"])
def test_clean_features_are_silent(rng, name):
    n = 400
    table, x = make_cohort(rng, n)
    made = {
        "correlated": rng.normal(size=(n, 1)) * np.ones(50) + 0.3 * rng.normal(size=(n, 50)),
        "age and sex": np.column_stack([rng.integers(18, 60, n), rng.integers(0, 2, n)]),
        "counts": rng.integers(0, 3, (n, 8)) @ rng.integers(0, 2, (8, 30)),
        "one column": rng.normal(size=(n, 1)) * np.ones(12),
        "constant": np.zeros((n, 4)),
    }[name].astype(float)
    problem, features = make(table, made, SICK)
    splits = make_splits(load_design("repeated"), problem, None, [-1], 0)["1x5-fold"]
    assert audit.check_features(problem, features, splits) == []
    assert x.shape[0] == n


def test_scans_of_one_person_may_be_alike(rng):
    table, x = make_cohort(rng, 50)
    table = pd.concat([table, table.assign(scan=table["scan"] + "_2")], ignore_index=True)
    problem, features = make(table, np.vstack([x, x]), AGE)
    assert leaky.same_rows(problem, features) == []


@pytest.mark.parametrize("spec", [AGE, SICK, {"name": "site", "kind": "multiclass", "target": "site"}])
@pytest.mark.parametrize("how", ["plain", "noisy", "coded"])
def test_a_column_that_is_the_target_is_named(rng, spec, how):
    table, x = make_cohort(rng, 200)
    y = pd.Series(pd.factorize(table[spec["target"]], sort=True)[0] if spec is not AGE else table["age"]).astype(float)
    noise = rng.normal(size=200)
    column = {
        "plain": y,
        "noisy": y + 0.02 * y.std() * noise,
        "coded": (y - y.mean()) ** 3 if spec is AGE else 7 - 3 * y,
    }[how]
    problem, features = make(table, np.column_stack([x, column]), spec)
    (found,) = leaky.determined(problem, features)
    assert "f6" in found
    assert spec["target"] in found


def test_strong_but_honest_features_are_not_named(rng):
    table, x = make_cohort(rng, 400)
    x = np.column_stack([x, table["age"] + 0.5 * table["age"].std() * rng.normal(size=400)])  # r = .9
    problem, features = make(table, x, AGE)
    assert leaky.determined(problem, features) == []


@pytest.mark.parametrize(("n", "cases"), [(8, 4), (12, 6), (40, 4), (300, 5)])
def test_the_best_of_many_noise_features_is_not_named(rng, n, cases):
    y = (np.arange(n) < cases).astype(float)
    hits = sum(len(leaky.telling_columns(rng.normal(size=(n, 300)), y, "binary")) for _ in range(30))
    assert hits == 0


def test_all_takes_no_column_of_a_task(tmp_path, rng, caplog):
    scans, _ = make_cohort(rng, 30)
    table = scans[["participant_id"]].assign(Age=scans["age"], dx_group=1.0, sick=scans["sick"], thick=0.5, tiv_mm3=1.0)
    write_tsv(tmp_path / "f.tsv", table)
    task = load_task({**SICK, "covariates": ["dx_group"]})
    with caplog.at_level(logging.WARNING):
        found = load_table(tmp_path / "f.tsv", "all", scans, used_columns([task]))
    assert found.names == ["thick", "tiv_mm3"]
    assert "Age" in caplog.text
    assert load_table(tmp_path / "f.tsv", "sick|thick", scans).names == ["sick", "thick"]  # named by the user


def test_repeated_rows_are_a_sentence_with_a_remedy(tmp_path, rng):
    scans, _ = make_cohort(rng, 20)
    write_tsv(tmp_path / "scans.tsv", scans)
    measures = scans[["scan"]].assign(tiv_mm3=1.0)
    write_tsv(tmp_path / "measures.tsv", pd.concat([measures, measures.iloc[:1]]))
    outs = (tmp_path / "p.tsv", tmp_path / "s.tsv")
    with pytest.raises(InputError, match="more than once"):
        run_task(AGE, "m", tmp_path / "scans.tsv", None, *outs, measures=tmp_path / "measures.tsv")
    write_tsv(tmp_path / "scans.tsv", pd.concat([scans, scans.iloc[:1]]))
    with pytest.raises(InputError, match="more than once"):
        run_task(AGE, "m", tmp_path / "scans.tsv", None, *outs)


def test_people_whom_only_another_seed_has_seen_are_audited(tmp_path):
    for place, people in (("fold-0", ["a", "b"]), ("seed-1/fold-0", ["b", "c"])):
        (tmp_path / place).mkdir(parents=True)
        write_json(tmp_path / place / "model.json", {"train_participants": people})
    assert audit.trained_on(tmp_path) == {0: ["a", "b", "c"]}
    scans = pd.DataFrame({"participant_id": ["c", "d"]})
    folds = pd.DataFrame({"participant_id": ["c", "d"], "fold": [0, 0]})
    found = audit.audit(scans, tmp_path, folds=folds)
    assert "LEAK" in set(found["verdict"])
