"""Embedding single maps and exporting encoders."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.conform import to_input
from anatcl.pretrain.device import resolve
from anatcl.pretrain.embed_images import embed_images
from anatcl.pretrain.export import export
from anatcl.pretrain.folds import make_folds
from anatcl.pretrain.pack import pack
from anatcl.pretrain.train import Inputs, train
from anatcl.spec.training import Options

nib = pytest.importorskip("nibabel")


@pytest.fixture
def bundle(tmp_path):
    """An encoder trained on 4 mm volumes that were packed from 2 mm maps; the maps."""
    import pandas as pd

    rng = np.random.default_rng(0)
    affine = np.array([[2.0, 0, 0, -30], [0, 2, 0, -40], [0, 0, 2, -20], [0, 0, 0, 1]])
    paths, rows = [], []
    for i in range(4):
        paths.append(tmp_path / f"m{i}_space-T_label-GM_desc-modulated_probseg.nii.gz")
        volume = rng.uniform(0, 1, (28, 32, 24)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, affine), paths[-1])
        rows.append({"scan": f"m{i}", "participant_id": f"sub-{i}", "age": 20 + i})
    table = pd.DataFrame(rows)
    pack(table, tmp_path, tmp_path / "arrays", template="T", voxel_mm=4.0, dtype="float32")
    make_folds(table, 2).to_csv(tmp_path / "folds.tsv", sep="\t", index=False)
    inputs = Inputs(tmp_path / "arrays", tmp_path / "folds.tsv", -1, "untrained", tmp_path / "bundle")
    assert train(inputs, Options(encoder="resnet-tiny"), "cpu", threads=1) == 0
    return tmp_path / "bundle", paths


def test_single_maps_give_what_packed_volumes_give(bundle, tmp_path):
    folder, paths = bundle
    device = resolve("cpu", "fp32", threads=1)
    table = embed_images(folder, paths, tmp_path / "e.tsv", device)
    arrays = open_arrays(tmp_path / "arrays")
    packed = embed_arrays(load_encoder(folder, arrays)[0], arrays, device=device)
    np.testing.assert_allclose(table.filter(regex=r"^e\d+$").to_numpy(), packed, atol=1e-5)
    written = read_tsv(tmp_path / "e.tsv")
    assert written["image"].tolist() == [str(p) for p in paths] and written.shape == (4, 67)
    assert written["scan"].is_unique


def test_maps_in_another_axis_order_are_turned(bundle, tmp_path):
    folder, paths = bundle
    contract = read_json(folder / "model.json")["input"]
    image = nib.load(paths[0])
    turned = image.as_reoriented(nib.orientations.axcodes2ornt("SLP"))
    nib.save(turned, tmp_path / "turned.nii.gz")
    assert turned.shape != image.shape
    np.testing.assert_allclose(to_input(tmp_path / "turned.nii.gz", contract), to_input(paths[0], contract), atol=1e-6)


def test_bad_images_are_named_and_the_rest_goes_on(bundle, tmp_path, caplog):
    folder, paths = bundle
    device = resolve("cpu", "fp32", threads=1)
    nib.save(nib.Nifti1Image(np.ones((28, 32, 25), np.float32), np.diag([2.0, 2, 2, 1])), tmp_path / "odd.nii.gz")
    head = nib.Nifti1Image(np.full((28, 32, 24), 700, np.float32), nib.load(paths[0]).affine)
    nib.save(head, tmp_path / "head.nii.gz")
    moved = nib.Nifti1Image(np.ones((28, 32, 24), np.float32), np.diag([2.0, 2, 2, 1]))
    nib.save(moved, tmp_path / "moved.nii.gz")
    bad = [tmp_path / n for n in ("odd.nii.gz", "head.nii.gz", "moved.nii.gz", "none.nii.gz")]
    table = embed_images(folder, [bad[0], paths[1], *bad[1:]], device=device)
    assert table["image"].tolist() == [str(paths[1])]
    for words in ("odd.nii.gz", "cannot be a modulated tissue fraction", "trained on affine", "does not exist"):
        assert words in caplog.text
    with pytest.raises(InputError, match="does not exist"):
        embed_images(folder, bad[3:], device=device)


def test_a_preparing_step_may_stand_before(bundle):
    folder, paths = bundle
    table = embed_images(folder, ["raw.nii.gz"], device=resolve("cpu", "fp32", threads=1), prepare=lambda _: paths[2])
    assert table["image"].tolist() == ["raw.nii.gz"]


def test_safetensors_export_is_the_encoder_alone(bundle, tmp_path):
    folder, _ = bundle
    export(folder, tmp_path / "x.safetensors")
    found = load_file(tmp_path / "x.safetensors")
    encoder = load_encoder(folder)[0].encoder
    encoder.load_state_dict(found)
    with pytest.raises(InputError, match="format"):
        export(folder, tmp_path / "x.h5", "keras")


def test_exports_hold_hashes_of_people_unless_names_are_asked_for(bundle, tmp_path):
    folder, _ = bundle
    names = read_json(folder / "model.json")["train_participants"]
    export(folder, tmp_path / "hf", "hf")
    config = read_json(tmp_path / "hf" / "config.json")
    assert config["train_participants"] == [hashlib.sha256(n.encode()).hexdigest() for n in names]
    assert not any(n in (tmp_path / "hf" / f).read_bytes().decode("latin-1") for n in names
                   for f in ("config.json", "README.md", "model.safetensors"))  # fmt: skip
    assert "untrained" in (tmp_path / "hf" / "README.md").read_text()
    load_encoder(folder)[0].encoder.load_state_dict(load_file(tmp_path / "hf" / "model.safetensors"))
    export(folder, tmp_path / "named", "hf", with_participants=True)
    assert read_json(tmp_path / "named" / "config.json")["train_participants"] == names


def test_an_export_that_gives_something_else_is_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("anatcl.pretrain.export._again", lambda *_: torch.zeros(2, 64))
    with pytest.raises(InputError, match="differs from the original"):
        export(bundle[0], tmp_path / "x.safetensors")


def test_others_may_read_a_bundle_where_the_umask_lets_them(bundle, tmp_path):
    (tmp_path / "plain").touch()
    export(bundle[0], tmp_path / "x.safetensors")
    for path in (*bundle[0].glob("encoder.*"), tmp_path / "x.safetensors"):
        assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_onnx_export_without_onnx_says_what_to_install(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="ONNX is not installed"):
        export(bundle[0], tmp_path / "x.onnx", "onnx")


def test_onnx_export_computes_the_same(bundle, tmp_path):
    folder, _ = bundle
    reference = pytest.importorskip("onnx.reference", reason="needs the package onnx (extra: options)")
    export(folder, tmp_path / "x.onnx", "onnx")
    model, description = load_encoder(folder)
    session = reference.ReferenceEvaluator(str(tmp_path / "x.onnx"))
    x = torch.rand(3, 1, *description["input"]["shape"])
    with torch.inference_mode():
        expected = model.embed(x).numpy()
    np.testing.assert_allclose(session.run(None, {"volume": x.numpy()})[0], expected, atol=1e-4)
