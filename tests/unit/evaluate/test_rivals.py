"""Linear rivals of the encoders: known answers, nothing of the fold that is tested, and files as an encoder's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.evaluate.data.features import load_embeddings
from anatcl.evaluate.steps import rivals
from anatcl.evaluate.steps.audit import trained_on
from anatcl.evaluate.steps.rivals import run_rival
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays

N, SHAPE = 30, (7, 8, 9)


@pytest.fixture
def cohort(rng, tmp_path):
    """Volumes whose first factor makes a regional measure."""
    factor = rng.normal(size=(N, 2))
    patterns = rng.normal(size=(2, *SHAPE))
    volumes = np.tensordot(factor, patterns, 1).astype(np.float32) + 0.1 * rng.normal(size=(N, *SHAPE))
    people = [f"sub-{i:02d}" for i in range(N)]
    rows = pd.DataFrame({"scan": people, "participant_id": people})
    meta = array_meta(SHAPE, np.diag([2.0, 2, 2, 1]), "vbm", [[0, n] for n in SHAPE])
    write_arrays(tmp_path / "arrays", iter(volumes.astype(np.float32)), rows, meta, "float32")
    write_tsv(tmp_path / "folds.tsv", pd.DataFrame({"participant_id": people, "fold": np.arange(N) % 3}))
    measures = rows.assign(thickness_lh_cuneus=2.5 + 0.1 * factor[:, 0], volume_lh_cuneus=900 - 30 * factor[:, 1])
    write_tsv(tmp_path / "measures.tsv", measures.iloc[:-1])
    return tmp_path, factor


def run(folder, kind, fold=0):
    out = folder / "out" / kind / f"fold-{fold}"
    run_rival(folder / "arrays", folder / "folds.tsv", fold, kind, out / "embeddings.npz", out / "model.json",
              folder / "measures.tsv")  # fmt: skip
    return load_embeddings(out.parent, open_arrays(folder / "arrays").rows["scan"]).of(fold)


def test_components_and_measures_carry_what_the_voxels_do(cohort):
    folder, factor = cohort
    scores = run(folder, "voxel-pca")
    design = np.column_stack([np.ones(N), scores[:, :2]])
    left = factor - design @ np.linalg.lstsq(design, factor, rcond=None)[0]
    assert (left.var(0) / factor.var(0)).max() < 0.05
    found = run(folder, "voxel-ridge")
    assert found.shape == (N, 2)
    for column, truth in zip(found.T, factor.T, strict=True):
        assert abs(np.corrcoef(column, truth)[0, 1]) > 0.95


def test_nothing_of_the_tested_fold_is_learnt(cohort):
    folder, _ = cohort
    before = {kind: run(folder, kind) for kind in ("voxel-pca", "voxel-ridge")}
    assert len(trained_on(folder / "out" / "voxel-pca")[0]) == 20
    assert "sub-00" not in json.loads((folder / "out/voxel-pca/fold-0/model.json").read_text())["train_participants"]
    volumes = np.load(folder / "arrays" / "volumes.npy", mmap_mode="r+")
    tested = np.arange(0, N, 3)
    volumes[tested[1:]] = 7 - 3 * np.asarray(volumes[tested[1:]])
    volumes.flush()
    keep = np.setdiff1d(np.arange(N), tested[1:])
    for kind, first in before.items():
        np.testing.assert_allclose(run(folder, kind)[keep], first[keep], rtol=1e-5, atol=1e-6)


def test_training_people_get_the_prediction_of_a_model_without_them(rng):
    x, y = rng.normal(size=(12, 40)), rng.normal(size=(12, 2))
    x -= x.mean(0)
    y = (y - y.mean(0)) / y.std(0)
    values, vectors = np.linalg.eigh(x @ x.T)
    penalty = 5.0
    left = rivals._without(np.maximum(values, 0), vectors, vectors.T @ y, y, penalty)
    for i in range(12):
        keep = np.arange(12) != i
        slow = Ridge(alpha=penalty).fit(x[keep], y[keep]).predict(x[[i]])
        np.testing.assert_allclose(left[i], slow[0], atol=1e-6)


def test_block_means_equal_a_loop(rng):
    volume = rng.normal(size=SHAPE)
    found = rivals.block_means(volume, 3)
    assert found.shape == (3, 3, 3)
    np.testing.assert_allclose(found[2, 0, 1], volume[6:7, 0:3, 3:6].mean(), rtol=1e-5)


def test_volumes_that_are_all_alike_say_nothing(cohort):
    folder, _ = cohort
    volumes = np.load(folder / "arrays" / "volumes.npy", mmap_mode="r+")
    volumes[:] = 1.0
    volumes.flush()
    assert run(folder, "voxel-pca").shape == (N, 0)
    assert np.isfinite(run(folder, "voxel-ridge")).all()


def test_too_few_people_are_a_sentence(cohort):
    folder, _ = cohort
    people = [f"sub-{i:02d}" for i in range(N)]
    write_tsv(folder / "folds.tsv", pd.DataFrame({"participant_id": people, "fold": np.where(np.arange(N) < 29, 0, 1)}))
    with pytest.raises(InputError, match="1 participant to fit on"):
        run(folder, "voxel-pca")
