"""Frozen embeddings: the encoder's output, in the order of the volumes, on the right input only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, write_tsv
from anatcl.evaluate.data.features import load_embeddings, write_embeddings
from anatcl.evaluate.steps.embed import embed
from anatcl.models import build_model
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays
from anatcl.pretrain.bundle import input_contract, load_encoder, save_encoder

SHAPE = (17, 18, 19)


@pytest.fixture
def packed(tmp_path, rng):
    rows = pd.DataFrame({"scan": [f"sub-{i}/anat/sub-{i}" for i in range(5)]})
    rows["participant_id"] = rows["scan"].str.slice(0, 5)
    volumes = rng.random((5, *SHAPE)).astype(np.float32)
    write_arrays(tmp_path / "arrays", volumes, rows, array_meta(SHAPE, np.eye(4), "vbm", [[0, n] for n in SHAPE]))
    return open_arrays(tmp_path / "arrays")


def test_embeddings_are_the_encoders_output(tmp_path, packed):
    torch.manual_seed(0)
    model = build_model("resnet-tiny").eval()
    save_encoder(tmp_path / "m", model, {"architecture": "resnet-tiny", "input": input_contract(packed.meta)})
    out = tmp_path / "e" / "embeddings.npz"
    embed(packed.folder, tmp_path / "m", out, device="cpu", batch=2)
    with np.load(out) as found, torch.no_grad():
        assert found["scan"].tolist() == packed.rows["scan"].tolist()
        assert found["embedding"].dtype == np.float32
        expected = model.encoder(torch.from_numpy(np.stack([packed.true(i) for i in range(5)])[:, None]))
        np.testing.assert_allclose(found["embedding"], expected.numpy(), atol=1e-5)
    assert read_json(out.parent / "run.json")["volumes"] == 5


def test_further_initialisations_are_drawn_and_stand_beside_the_first(tmp_path, packed):
    torch.manual_seed(0)
    save_encoder(
        tmp_path / "m",
        build_model("resnet-tiny"),
        {"architecture": "resnet-tiny", "input": input_contract(packed.meta)},
    )
    folder, made = tmp_path / "untrained", {}
    for name, seeds in (("fold-0", ()), ("seed-1", (0, 1)), ("seed-2", (0, 2)), ("again", (0, 1))):
        embed(packed.folder, tmp_path / "m", folder / name / "embeddings.npz", device="cpu", reinitialise=seeds)
        with np.load(folder / name / "embeddings.npz") as found:
            made[name] = found["embedding"]
    np.testing.assert_array_equal(made["seed-1"], made["again"])
    assert not np.allclose(made["seed-1"], made["seed-2"]) and not np.allclose(made["seed-1"], made["fold-0"])
    features = load_embeddings(folder, packed.rows["scan"])
    assert len(features.other_seeds) == 2
    np.testing.assert_allclose(features.other_seeds[0].of(0), made["seed-1"], rtol=1e-6)


def test_the_people_of_a_fold_are_embedded_as_among_all_and_from_changed_scans(tmp_path, packed):
    torch.manual_seed(0)
    about = {"architecture": "resnet-tiny", "input": input_contract(packed.meta)}
    save_encoder(tmp_path / "m", build_model("resnet-tiny").eval(), about)
    folds = pd.DataFrame({"participant_id": packed.rows["participant_id"], "fold": [1, 0, 1, 1, 0]})
    write_tsv(tmp_path / "folds.tsv", folds)
    made = {}
    for name, told in {
        "all": {},
        "fold": {"folds": tmp_path / "folds.tsv", "fold": 0},
        "gain": {"folds": tmp_path / "folds.tsv", "fold": 0, "perturb": "gain"},
    }.items():
        embed(packed.folder, tmp_path / "m", tmp_path / f"{name}.npz", device="cpu", **told)
        with np.load(tmp_path / f"{name}.npz") as found:
            made[name] = dict(zip(found["scan"].tolist(), found["embedding"], strict=True))
    assert list(made["fold"]) == list(made["gain"]) == packed.rows["scan"].tolist()[1::3]
    model = build_model("resnet-tiny").eval()
    model.load_state_dict(load_encoder(tmp_path / "m")[0].state_dict())
    for row, scan in zip((1, 4), made["fold"], strict=True):
        np.testing.assert_allclose(made["fold"][scan], made["all"][scan], atol=1e-6)
        with torch.no_grad():
            expected = model.encoder(torch.from_numpy(1.15 * packed.true(row))[None, None])
        np.testing.assert_allclose(made["gain"][scan], expected[0].numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="2 embeddings of 3 scans"):
        names = packed.rows["scan"][:3]
        write_embeddings(tmp_path / "x.npz", names, names, np.zeros((2, 4)))


def test_volumes_of_another_shape_are_refused(tmp_path, packed):
    wrong = input_contract(packed.meta) | {"shape": [9, 9, 9]}
    save_encoder(tmp_path / "m", build_model("resnet-tiny"), {"architecture": "resnet-tiny", "input": wrong})
    with pytest.raises(InputError, match="shape"):
        embed(packed.folder, tmp_path / "m", tmp_path / "e.npz", device="cpu")
