"""Labels, tables and options that a researcher may well bring: each ends in numbers that hold, or in a sentence."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.losses.kernels import age_rbf, perplexity, without_weight
from anatcl.models.registry import SMALLEST, build_encoder
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.cohort import covariates, held_out_part, load_cohort, training_part
from anatcl.pretrain.folds import fold_of
from anatcl.pretrain.session import Run
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse


@pytest.fixture
def changed(cohort_files, tmp_path):
    """Copy the small cohort with one of its tables changed: ``changed(measures=function)``."""

    def make(**changes):
        folder = tmp_path / "changed"
        shutil.copytree(cohort_files["arrays"].parent, folder)
        places = {"measures": "measures.tsv", "rows": "arrays/rows.tsv", "folds": "folds.tsv"}
        for name, change in changes.items():
            write_tsv(folder / places[name], change(read_tsv(folder / places[name])))
        return {name: folder / name for name in cohort_files}

    return make


def test_an_encoder_of_everybody_is_not_probed(pretrain):
    folder = pretrain("y-aware", fold=-1, probe_every=1)
    assert read_tsv(folder / "history.tsv").columns.tolist() == ["epoch", "step", "loss", "lr"]


def test_a_chunk_of_one_is_never_made(pretrain):
    assert read_json(pretrain("y-aware", epochs=1, batch_size=5, chunk=2) / "model.json")["steps"] == 3


def test_a_person_has_one_fold(changed):
    files = changed(folds=lambda t: pd.concat([t, t.iloc[:1].assign(fold=(t["fold"].iloc[0] + 1) % 3)]))
    cohort, folds = load_cohort(open_arrays(files["arrays"])), read_tsv(files["folds.tsv"])
    for part in (lambda: training_part(cohort, folds, 0, ()), lambda: held_out_part(cohort, folds, 0)):
        with pytest.raises(InputError, match="sub-000 occurs in the folds table more than once"):
            part()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"participant_id": ["a"]}, "lacks the columns"),
        ({"participant_id": ["a", "b"], "fold": [0, np.nan]}, "participant b is not a whole number"),
        ({"participant_id": ["a", "b"], "fold": ["0", "x"]}, "participant b is not a whole number"),
        ({"participant_id": ["a", "b"], "fold": [0.5, 1]}, "participant a is not a whole number"),
    ],
)
def test_wrong_folds_are_named(table, words):
    with pytest.raises(InputError, match=words):
        fold_of(pd.DataFrame(table))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_spoilt_volume_is_named_where_the_loss_is_not_finite(pretrain, changed, value):
    files = changed()
    volumes = np.lib.format.open_memmap(files["arrays"] / "volumes.npy", "r+")
    volumes[5, 3, 3, 3] = value
    volumes.flush()
    with pytest.raises(InputError, match=r"1 volume with NaN or infinite voxels, that of sub-005/anat/sub-005 first"):
        pretrain("y-aware", files=files, fold=-1)
    volumes[5] = 1
    volumes.flush()
    with pytest.raises(InputError, match="Lower the learning rate"):
        pretrain("age-regression", files=files, epochs=4, learning_rate=1e10)


def test_volumes_of_a_type_that_is_not_stored_are_refused(changed):
    files = changed()
    np.save(files["arrays"] / "volumes.npy", np.load(files["arrays"] / "volumes.npy").astype(np.float64))
    with pytest.raises(InputError, match="numbers of type float64; allowed are float16, float32, uint8"):
        open_arrays(files["arrays"])


def test_volumes_too_small_for_a_network_are_refused(pretrain):
    """The bound is the network's: one voxel more and it embeds."""
    with pytest.raises(InputError, match="14 x 16 x 12 voxels are too small for densenet121, which needs 29 an axis"):
        pretrain("y-aware", encoder="densenet121")
    side = SMALLEST["densenet121"]
    with torch.inference_mode():
        assert build_encoder("densenet121").eval()(torch.rand(1, 1, side, side, side)).shape == (1, 1024)


def test_simclr_without_augmentation_is_said(pretrain, caplog):
    pretrain("simclr", epochs=1, augment="none")
    assert "simclr compares views of a participant, and without augmentation these are the same volume" in caplog.text


def test_a_head_size_of_nothing_is_missing(changed):
    files = changed(measures=lambda t: t.assign(tiv_mm3=[0, -1, *t["tiv_mm3"][2:]]))
    found = covariates(load_cohort(open_arrays(files["arrays"]), files["measures.tsv"]))
    assert np.isnan(found[:, 2]).tolist() == [True, True] + [False] * 22


def test_impossible_measures_are_missing(changed, caplog):
    def spoil(table):
        table["thickness_lh_insula"] = table["thickness_lh_insula"].astype(object)
        for row, value in enumerate((-999, 0, np.inf, "failed")):
            table.loc[row, "thickness_lh_insula"] = value
        return table

    files = changed(measures=spoil)
    cohort = load_cohort(open_arrays(files["arrays"]), files["measures.tsv"])
    column = cohort.measures[:, cohort.regions.index("lh_insula"), 0]
    assert np.isnan(column).tolist() == [True] * 4 + [False] * 20
    assert "counted as missing: 3 measures of 3 scans" in caplog.text


def test_what_is_no_age_is_missing(changed, caplog):
    files = changed(rows=lambda t: t.assign(age=[-1, 999, "45Y", "n/a", *t["age"][4:]]))
    cohort = load_cohort(open_arrays(files["arrays"]))
    assert np.isnan(cohort.age).tolist() == [True] * 4 + [False] * 20
    assert (
        "no age from 0 to 120 years" in caplog.text and "sub-001 (999)" in caplog.text and "(3 in all)" in caplog.text
    )


def test_a_method_says_why_nobody_is_left(pretrain, changed):
    files = changed(rows=lambda t: t.drop(columns="age"))
    with pytest.raises(InputError, match=r"0 scans are left to train on \(age is missing: 16\)"):
        pretrain("y-aware", files=files)
    assert read_json(pretrain("anatcl-global", files=files, epochs=1, alpha_age=0) / "model.json")["train_scans"] == 16


def test_an_empty_table_of_measures_is_none(pretrain, changed, caplog):
    files = changed(measures=lambda t: t.iloc[:0])
    assert read_json(pretrain("y-aware", files=files, epochs=1) / "model.json")["train_scans"] == 16
    assert "the measures table has no cortical measure of these scans" in caplog.text
    with pytest.raises(InputError, match="needs cortical measures and there are none"):
        pretrain("regress", files=files)


def test_a_control_that_exchanges_nothing_is_refused(pretrain, changed, caplog):
    everybody_apart = changed(rows=lambda t: t.assign(age=4.9 * np.arange(len(t)) + 2))
    with pytest.raises(InputError, match="each participant is alone with their sex and age decade"):
        pretrain("anatcl-z", files=everybody_apart, permuted=True)
    pretrain("anatcl-z", epochs=1, permuted=True)
    assert [r.levelname for r in caplog.records if "permuted: the measures of 16" in r.getMessage()] == ["WARNING"]


def test_a_kernel_without_weights_is_said(pretrain, changed, caplog):
    """Measures that are the same for everybody have cosines of 0 after min-max: the anatomical term is nothing."""
    files = changed(measures=lambda t: t.assign(**{c: 7.0 for c in t if c.startswith(("thick", "vol", "area"))}))
    about = read_json(pretrain("anatcl-local", files=files, epochs=1) / "model.json")
    assert about["weights_perplexity"]["anatomy"] == 0
    assert "weights of anatomy: 100.0 % of the training scans have zero weight with all others" in caplog.text
    assert "weights of age" not in caplog.text


def test_rows_without_weight():
    far = age_rbf(torch.tensor([20.0, 21.0, 500.0]), 1.0)
    assert without_weight(far) == pytest.approx(1 / 3) and without_weight(torch.ones(4, 4)) == 0
    assert perplexity(far) == pytest.approx(perplexity(far[:2, :2]) / 2)
    assert perplexity(torch.eye(5)) == 0 and without_weight(torch.eye(5)) == 1


@pytest.mark.parametrize("joint", [{}, {"both": {"anatcl-z": 1.0, "y-aware": 1.0}}])
def test_two_factors_of_nothing_are_refused_before_and_in_training(pretrain, joint):
    method = "both" if joint else "anatcl-global"
    told = {"lambda": 0, "alpha_age": 0, "joint": joint}
    ((place, error),) = check_files_and_names(parse({"pretrain": {**told, "methods": [method]}}))
    assert place == ("pretrain", "lambda") and "nothing left to learn" in str(error)
    assert not list(check_files_and_names(parse({"pretrain": {**told, "methods": ["y-aware"]}})))
    with pytest.raises(InputError, match="both 0"):
        pretrain(method, **told)


def test_options_longer_than_the_training_are_said(pretrain, caplog):
    pretrain("y-aware", warmup_steps=8, ema=0.9)
    assert "warmup_steps is 8 and the training has 8 steps" in caplog.text
    assert "ema 0.9 averages over some 10 steps and the training has 8" in caplog.text
    caplog.clear()
    pretrain("y-aware", "fits", warmup_steps=7, ema=0.8)
    assert "warmup_steps" not in caplog.text and "ema" not in caplog.text


def test_a_signal_at_the_last_step_of_a_bounded_training_loses_no_epoch(pretrain, tmp_path, monkeypatch):
    pretrain("y-aware", "straight", epochs=3, max_steps=6)
    monkeypatch.setattr(Run, "must_stop", lambda run, stop: setattr(stop, "received", 15) or run.step == 6)
    pretrain("y-aware", "signalled", epochs=3, max_steps=6)
    for name in ("encoder.safetensors", "history.tsv", "model.json"):
        assert (tmp_path / "signalled" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_what_changes_no_weight_starts_nothing_anew(pretrain, caplog):
    """A probe turned on, an objective of another method added: the training goes on, to the same weights."""
    caplog.set_level("INFO")
    straight = load_file(pretrain("one", "straight", epochs=3, joint={"one": {"anatcl-z": 1}}) / "encoder.safetensors")
    pretrain("one", epochs=2, joint={"one": {"anatcl-z": 1}}, permuted=["other"])
    more = {"one": {"anatcl-z": 1}, "two": {"supcon": 1}}
    folder = pretrain("one", epochs=3, joint=more, probe_every=1, permuted=False)
    assert "resumed after epoch 2" in caplog.text and "starts from the beginning" not in caplog.text
    found = load_file(folder / "encoder.safetensors")
    assert all(torch.equal(found[name], value) for name, value in straight.items())
    assert read_tsv(folder / "history.tsv")["probe_age_mae"].notna().tolist() == [False, False, True]
    pretrain("one", epochs=3, joint={"one": {"anatcl-z": 2}})
    assert "option joint one anatcl-z (was 1.0, is 2.0)" in caplog.text
