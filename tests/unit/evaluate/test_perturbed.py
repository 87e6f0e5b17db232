"""Changed scans: what each change does to a volume, and what a score loses by it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from evaluate.helpers import AGE, SICK, make_cohort

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.data.changed import changed_parts, rows_of_fold
from anatcl.evaluate.data.features import Features, write_embeddings
from anatcl.evaluate.data.perturb import KINDS, perturbed
from anatcl.evaluate.steps.perturbed import perturbed_rows, run_perturbed
from anatcl.evaluate.steps.rivals import run_rival
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays
from anatcl.spec.names import PERTURBATIONS
from anatcl.spec.task import load_task

SHAPE = (12, 13, 11)


@pytest.fixture
def volume(rng):
    """A smooth ball in an empty field."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij"))
    return np.clip(1 - (grid**2).sum(0) / 25, 0, None).astype(np.float32)


def test_each_change_is_what_it_says(volume):
    assert tuple(KINDS) == PERTURBATIONS
    made = {kind: perturbed(volume, kind, "sub-01") for kind in PERTURBATIONS}
    assert all(v.shape == SHAPE and v.dtype == np.float32 and np.isfinite(v).all() for v in made.values())
    np.testing.assert_allclose(made["gain"], 1.15 * volume, rtol=1e-6)
    assert made["blur"].max() < volume.max() and made["blur"].sum() == pytest.approx(volume.sum(), rel=0.01)
    noise = (made["noise"] - volume)[volume > 0.5]
    assert noise.std() == pytest.approx(0.1 * volume[volume > 0].mean(), rel=0.25) and made["noise"].min() == 0
    assert np.abs(made["resample"] - volume).max() < 0.25 and made["resample"].std() < volume.std()
    bright = np.percentile(volume[volume > 0], 99)
    np.testing.assert_allclose(made["contrast"], bright * (volume / bright) ** 1.25, rtol=1e-4, atol=1e-6)


def test_noise_is_the_same_for_the_same_scan_and_empty_volumes_stay(volume):
    first, again, other = (perturbed(volume, "noise", s) for s in ("sub-01", "sub-01", "sub-02"))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    empty = np.zeros(SHAPE, np.float32)
    assert all(np.isfinite(perturbed(empty, kind, "x")).all() for kind in PERTURBATIONS)
    np.testing.assert_allclose(perturbed(np.full(SHAPE, 2, np.float32), "resample", "x"), 2, rtol=1e-6)


def test_the_fold_s_people_alone_are_changed(rng, tmp_path):
    rows = pd.DataFrame({"scan": list("abcdef"), "participant_id": list("abcdef")})
    stored = rng.random((6, *SHAPE)).astype(np.float32)
    write_arrays(tmp_path, stored, rows, array_meta(SHAPE, np.eye(4), "vbm", [], 0.5), "float16")
    write_tsv(tmp_path / "folds.tsv", pd.DataFrame({"participant_id": list("abcde"), "fold": [0, 1, 0, 1, 1]}))
    packed = open_arrays(tmp_path)
    chosen = rows_of_fold(packed, tmp_path / "folds.tsv", 0)
    assert chosen.tolist() == [0, 2, 5]  # f is in no fold
    (part,) = changed_parts(packed, "gain", chosen)
    assert part.rows["scan"].tolist() == ["a", "c", "f"]
    np.testing.assert_allclose(part.true(1), 1.15 * packed.true(2), rtol=1e-5)


def as_features(x):
    return Features({-1: x}, np.ones(len(x), bool), [f"e{i}" for i in range(x.shape[1])])


def test_what_is_invariant_loses_nothing_and_noise_costs(rng):
    """A gain on a gain-invariant embedding changes no score; features that become noise leave a guess."""
    table, x = make_cohort(rng, 150, signal=3.0)
    folds = pd.DataFrame({"participant_id": table["participant_id"], "fold": np.arange(150) % 3})
    changed = {"gain": as_features(x.copy()), "noise": as_features(rng.normal(size=x.shape))}
    for spec, sign in ((SICK, -1), (AGE, 1)):
        rows = perturbed_rows(load_task(spec), "m", table, as_features(x), changed, folds, 200, 0)
        rows = rows.set_index("perturbation")
        assert rows.loc["gain", "change"] == 0 and rows.loc["gain", "p"] == 1
        assert rows.loc["gain", "value"] == rows.loc["gain", "clean"]
        loss = rows.loc["noise"]
        assert sign * loss["change"] > 0 and loss["p"] < 0.01
        assert loss["low"] < loss["change"] < loss["high"] and sign * (loss["low"] if sign > 0 else loss["high"]) > 0
    assert rows["n_participants"].tolist() == [150, 150]


def test_the_clean_score_is_that_of_the_tables_and_seeds_are_paired(rng):
    from anatcl.evaluate.steps.task import Settings, evaluate_task

    table, x = make_cohort(rng, 120, signal=2.0)
    folds = pd.DataFrame({"participant_id": table["participant_id"], "fold": np.arange(120) % 3})
    clean = as_features(x)
    rows = perturbed_rows(load_task(SICK), "m", table, clean, {"blur": as_features(0.5 * x)}, folds, 100, 0)
    _, scores = evaluate_task(load_task(SICK), "m", table, clean, folds, Settings(shuffles=0, n_bootstrap=50))
    expected = scores.set_index("metric").loc["roc_auc", "value"]
    assert rows["clean"].iloc[0] == pytest.approx(expected, abs=1e-12)
    other = as_features(rng.normal(size=x.shape))
    two = dataclasses.replace(clean, other_seeds=(other,))
    same = {"gain": dataclasses.replace(clean, other_seeds=(other,))}
    assert perturbed_rows(load_task(SICK), "m", table, two, same, folds, 100, 0)["change"].iloc[0] == 0


def test_files_by_perturbation_seed_and_fold(rng, tmp_path):
    table, x = make_cohort(rng, 90, signal=3.0)
    fold = np.arange(90) % 3
    write_tsv(tmp_path / "scans.tsv", table)
    write_tsv(tmp_path / "folds.tsv", pd.DataFrame({"participant_id": table["participant_id"], "fold": fold}))
    for place in ("m", "m/seed-1"):
        for k in range(3):
            for home, rows in ((tmp_path / "clean", np.arange(90)), (tmp_path / "gain", np.flatnonzero(fold == k))):
                file = home / place / f"fold-{k}" / "embeddings.npz"
                file.parent.mkdir(parents=True)
                part = table.iloc[rows]
                write_embeddings(file, part["scan"], part["participant_id"], x[rows].astype(np.float32) * (k + 1))
    places = {"scans": tmp_path / "scans.tsv", "folds": tmp_path / "folds.tsv", "out": tmp_path / "out.tsv"}
    told = {"n_bootstrap": 50, "seeds": 2}
    run_perturbed(SICK, "m", tmp_path / "clean" / "m", {"gain": tmp_path / "gain" / "m"}, **places, **told)
    found = read_tsv(tmp_path / "out.tsv")
    assert found["perturbation"].tolist() == ["gain"] and found["change"].iloc[0] == 0
    for file in (tmp_path / "gain" / "m" / "seed-1").rglob("*.npz"):
        file.unlink()
    (tmp_path / "gain" / "m" / "seed-1").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="1 seeds of changed scans, 2 of clean ones"):
        run_perturbed(SICK, "m", tmp_path / "clean" / "m", {"gain": tmp_path / "gain" / "m"}, **places, **told)


def test_a_rival_is_fitted_on_scans_as_they_are(rng, tmp_path):
    people = [f"sub-{i:02d}" for i in range(24)]
    rows = pd.DataFrame({"scan": people, "participant_id": people})
    volumes = rng.random((24, *SHAPE)).astype(np.float32)
    write_arrays(tmp_path / "arrays", volumes, rows, array_meta(SHAPE, np.eye(4), "vbm", []), "float32")
    write_tsv(tmp_path / "folds.tsv", pd.DataFrame({"participant_id": people, "fold": np.arange(24) % 3}))
    found = {}
    for kind in ("", "gain"):
        run_rival(tmp_path / "arrays", tmp_path / "folds.tsv", 0, "voxel-pca", tmp_path / f"{kind}.npz",
                  tmp_path / f"{kind}.json", perturb=kind)  # fmt: skip
        with np.load(tmp_path / f"{kind}.npz") as data:
            found[kind] = (data["scan"].tolist(), data["embedding"])
    assert found["gain"][0] == people[::3]
    whole = found[""][1][::3]
    assert whole.shape == found["gain"][1].shape and not np.allclose(whole, found["gain"][1])
    moved = np.linalg.norm(found["gain"][1] - whole, axis=1)  # all gains are one direction of the voxels
    assert moved.min() > 0
