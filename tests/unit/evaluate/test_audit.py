"""Planted leaks are caught."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes import linear, prepare
from anatcl.evaluate.steps import audit
from anatcl.evaluate.steps.task import Settings, evaluate_task, run_audit
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from tests.unit.evaluate.helpers import AGE, SICK, make, make_cohort


def splits_of(problem):
    return make_splits(load_design({"kind": "repeated", "folds": 4}), problem, None, [-1], 0)["1x4-fold"]


@pytest.mark.parametrize("spec", [AGE, SICK, {**AGE, "covariates": ["sex"]}])
@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_the_protocol_is_untouched_by_tested_people(rng, spec, kind):
    problem, features = make(*make_cohort(rng, 40), spec)
    audit.check_untouched(problem, features, splits_of(problem)[0], 0, kind)


@pytest.mark.parametrize("spec", [AGE, SICK])
def test_a_scaler_fitted_on_everybody_is_caught(rng, spec, monkeypatch):
    problem, features = make(*make_cohort(rng, 40), spec)
    # The probe's own scaler would undo a linear scaling done before; it must be out of the way.
    monkeypatch.setattr(linear.Standardise, "fit", _identity)
    monkeypatch.setattr(Features, "of", lambda self, fold: _scaled_by_everybody(self.matrices[-1]))
    with pytest.raises(audit.LeakError, match="outside the training part"):
        audit.check_untouched(problem, features, splits_of(problem)[0], 0)


def _identity(self, x):
    self.mean_, self.inverse_ = np.zeros(x.shape[1]), np.ones(x.shape[1])
    return self


def _scaled_by_everybody(x):
    return (x - x.mean(0)) / x.std(0)


def test_combat_fitted_on_everybody_is_caught(rng, monkeypatch):
    pytest.importorskip("combatlearn")
    problem, features = make(*make_cohort(rng, 45), {**AGE, "harmonise": "combat"})
    split = splits_of(problem)[0]
    audit.check_untouched(problem, features, split, 0)

    def leaky(self, fold):
        return prepare.Combat("site").fit(self.matrices[-1], problem.rows).transform(self.matrices[-1], problem.rows)

    monkeypatch.setattr(Features, "of", leaky)
    with pytest.raises(audit.LeakError):
        audit.check_untouched(problem, features, split, 0)


def test_features_selected_by_all_labels_are_caught(rng, monkeypatch):
    table, x = make_cohort(rng, 40, d=300)
    problem, features = make(table, x, AGE)

    def leaky(self, fold):
        x, age = self.matrices[-1], problem.rows["age"]
        correlation = np.abs((x - x.mean(0)).T @ (age - age.mean()))
        return x[:, np.argsort(correlation)[-5:]]

    monkeypatch.setattr(Features, "of", leaky)
    with pytest.raises(audit.LeakError):
        audit.check_untouched(problem, features, splits_of(problem)[0], 0)


def test_overlap_by_name_alias_and_hash():
    assert audit.overlap(["a", "b"], ["b", "c"]) == ["b"]
    assert audit.overlap(["site1_0007"], ["sub-7", "sub-8"], {"sub-7": "site1_0007"}) == ["sub-7"]
    assert audit.overlap([audit.digest("sub-1")], ["sub-1", "sub-2"]) == ["sub-1"]


def encoders(folder, folds: pd.DataFrame, leak: str = "") -> None:
    for k in sorted(set(folds["fold"])):
        people = folds.loc[folds["fold"] != k, "participant_id"].tolist() + ([leak] if leak else [])
        write_json(folder / f"fold-{k}" / "model.json", {"train_participants": people})


@pytest.fixture
def cohort(tmp_path, rng):
    table, _ = make_cohort(rng, 12)
    folds = pd.DataFrame({"participant_id": table["participant_id"], "fold": np.arange(12) % 3})
    write_tsv(tmp_path / "scans.tsv", table)
    write_tsv(tmp_path / "folds.tsv", folds)
    return tmp_path, table, folds


def test_audit_of_clean_and_of_leaking_encoders(cohort):
    folder, _, folds = cohort
    encoders(folder / "m", folds)
    run_audit(folder / "scans.tsv", folder / "m", folder / "audit.tsv", folds=folder / "folds.tsv")
    assert set(read_tsv(folder / "audit.tsv")["verdict"]) == {"clean"}
    encoders(folder / "m", folds, leak="sub-0001")
    with pytest.raises(audit.LeakError, match="sub-0001"):
        run_audit(folder / "scans.tsv", folder / "m", folder / "audit.tsv", folds=folder / "folds.tsv")
    table = read_tsv(folder / "audit.tsv")
    assert table.loc[table["verdict"] == "LEAK", "overlap"].tolist() == ["sub-0001"]


def test_everybody_is_tested_where_the_cohort_is_not_that_of_pretraining(cohort):
    folder, _, folds = cohort
    encoders(folder / "m", folds)
    with pytest.raises(audit.LeakError, match="3 checks"):
        run_audit(folder / "scans.tsv", folder / "m", folder / "audit.tsv")


def test_each_split_is_checked_against_its_encoder(rng, cohort, tmp_path):
    folder, table, folds = cohort
    problem, _ = make(table, np.zeros((12, 1)), AGE)
    splits = make_splits(load_design("folds"), problem, folds, [-1], 0)["3-fold"]
    encoders(folder / "m", folds)
    audit.check_encoders(problem, splits, folder / "m")
    encoders(folder / "m", folds, leak="sub-0004")
    with pytest.raises(audit.LeakError, match="encoder 1"):
        audit.check_encoders(problem, splits, folder / "m")
    write_json(folder / "m" / "fold-0" / "model.json", {})
    with pytest.raises(InputError, match="does not list"):
        audit.check_encoders(problem, splits, folder / "m")


def test_known_overlaps_abort_for_their_cohort(cohort):
    folder, _, folds = cohort
    encoders(folder / "m", folds.assign(participant_id="other-" + folds["participant_id"]))
    (folder / "known.yaml").write_text("known_overlaps:\n- {cohort: OpenBHB, query: sick == 0, reason: controls}\n")
    paths = (folder / "scans.tsv", folder / "m", folder / "audit.tsv")
    for cohort_name in ("UK Biobank", ""):  # nothing would be checked
        with pytest.raises(InputError, match=r"OpenBHB.*--cohort"):
            run_audit(*paths, known_overlaps=folder / "known.yaml", cohort=cohort_name)
    with pytest.raises(audit.LeakError, match="controls"):
        run_audit(*paths, known_overlaps=folder / "known.yaml", cohort="OpenBHB")


def test_the_same_scan_under_two_names_is_found(rng):
    from scipy.ndimage import gaussian_filter

    shape = (11, 12, 13)
    common = gaussian_filter(rng.normal(size=shape), 2)
    volumes = np.stack([common + 0.3 * gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(8)])
    volumes[5] = volumes[2] * 1.7 + 3  # scaled
    volumes[7] = volumes[0] + 1e-4 * rng.normal(size=shape)  # stored with rounding
    volumes[6] = volumes[1]
    people = np.array(["a", "b", "c", "d", "e", "f", "b", "h"])  # 1 and 6 are one person: a repeat, not a leak
    assert audit.duplicates(volumes.astype(np.float16), people) == [(0, 7), (2, 5)]


def test_duplicates_across_folds_are_a_leak(cohort, rng):
    folder, table, folds = cohort
    encoders(folder / "m", folds)
    volumes = rng.normal(size=(12, 5, 6, 7))
    volumes[4] = volumes[0]  # folds 1 and 0
    found = audit.audit(table, folder / "m", folds=folds, volumes=(volumes, table))
    leaks = found[found["verdict"] == "LEAK"]
    assert leaks["overlap"].tolist() == ["sub-0000 = sub-0004", "sub-0004 = sub-0000"]
    volumes[4], volumes[3] = rng.normal(size=(5, 6, 7)), volumes[0]  # the same fold
    assert set(audit.audit(table, folder / "m", folds=folds, volumes=(volumes, table))["verdict"]) == {"clean"}


def test_the_command_finds_one_scan_under_two_names_for_any_of_several_methods(cohort, rng, caplog):
    from anatcl.cli.main import main

    folder, table, folds = cohort
    shape = (5, 6, 7)
    volumes = rng.random((12, *shape)).astype(np.float32)
    meta = array_meta(shape, np.eye(4), "vbm", [[0, n] for n in shape])
    for method in ("one", "two"):
        encoders(folder / method, folds)
    command = ["evaluate", "audit", "--pretrained", str(folder / "one"), str(folder / "two"), "--arrays",
               str(folder / "arrays"), "--scans", str(folder / "scans.tsv"), "--folds", str(folder / "folds.tsv"),
               "--out", str(folder / "audit.tsv")]  # fmt: skip
    write_arrays(folder / "arrays", volumes, table, meta)
    assert main(command) == 0
    volumes[7] = volumes[2]  # folds 1 and 2
    write_arrays(folder / "arrays", volumes, table, meta)
    assert main(command) == 1
    assert "sub-0007 = sub-0002" in caplog.text
    found = read_tsv(folder / "audit.tsv")
    assert found.groupby("method")["verdict"].apply(lambda v: (v == "LEAK").sum()).to_dict() == {"one": 2, "two": 2}


def test_features_of_one_matrix_are_copied_not_changed(rng):
    problem, features = make(*make_cohort(rng, 30), AGE)
    before = features.matrices[-1].copy()
    audit.check_untouched(problem, features, splits_of(problem)[0], 0)
    np.testing.assert_array_equal(features.matrices[-1], before)
    assert isinstance(features, Features)


def test_encoders_of_this_cohort_are_not_tested_outside_their_folds(rng, cohort):
    _, table, folds = cohort
    features = Features({k: rng.normal(size=(12, 3)) for k in range(3)}, np.ones(12, bool), list("abc"))
    settings = Settings({"kind": "repeated", "folds": 3}, n_bootstrap=5, shuffles=0)
    with pytest.raises(audit.LeakError, match="pretraining folds"):
        evaluate_task(load_task(AGE), "m", table, features, folds, settings)
    predictions, _ = evaluate_task(load_task(AGE), "m", table, features, None, settings)  # another cohort
    assert set(predictions["encoder"]) == {0, 1, 2}
