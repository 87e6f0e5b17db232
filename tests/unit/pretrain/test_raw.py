"""Raw T1w scans go through the preprocess stage on their way to an encoder; maps do not."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.evaluate.data.features import load_table
from anatcl.models import build_model
from anatcl.pretrain.arrays import array_meta
from anatcl.pretrain.bundle import save_encoder
from anatcl.pretrain.device import resolve
from anatcl.pretrain.embed_images import embed_images
from anatcl.pretrain.official import published_input
from anatcl.pretrain.pack import CAT12_SHAPE, plan_grid
from anatcl.pretrain.raw import DEFAULT_TEMPLATE, FromRaw, is_map, template_of
from anatcl.spec.config import Preprocess

nib = pytest.importorskip("nibabel")
AFFINE = np.array([[1.5, 0, 0, -90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])


@pytest.fixture
def contract():
    """VBM maps of the 1.5 mm grid, packed at 4.5 mm."""
    grid = plan_grid(CAT12_SHAPE, AFFINE, 4.5)
    return array_meta(grid.shape, grid.affine, "vbm", grid.crop) | {"source_shape": list(CAT12_SHAPE)}


@pytest.fixture
def bundle(tmp_path, contract):
    description = {"architecture": "resnet-tiny", "head": "projection", "embedding_dim": 64, "input": contract}
    save_encoder(tmp_path / "bundle", build_model("resnet-tiny"), description)
    return tmp_path / "bundle"


def write(path, shape, affine=AFFINE):
    nib.save(nib.Nifti1Image(np.full(shape, 0.5, np.float32), affine), path)
    return path


def test_maps_are_told_from_scans(tmp_path, contract):
    for name in ("sub-1_space-T_label-GM_desc-modulated_probseg.nii.gz", "mwp1sub-1.nii"):
        assert is_map(write(tmp_path / name, (7, 8, 9)), contract)
    for shape, expected in ((CAT12_SHAPE, True), ((121, 145, 120), False), (tuple(contract["shape"]), False)):
        assert is_map(write(tmp_path / "x.nii.gz", shape), contract) == expected
    packed = write(tmp_path / "p.nii.gz", tuple(contract["shape"]), np.array(contract["affine"]))
    assert is_map(packed, contract)
    (tmp_path / "broken.nii.gz").write_bytes(b"rubbish")
    assert is_map(tmp_path / "broken.nii.gz", contract)  # reading it will say what is wrong
    assert not is_map(write(tmp_path / "x.nii.gz", CAT12_SHAPE), published_input() | {"source_shape": None})


@pytest.fixture
def steps(monkeypatch):
    """Stand-ins for the imaging steps, called as the real ones are: they check the arguments and write the outputs."""
    calls = []

    def stand_in(module, name, outputs):
        signature = inspect.signature(getattr(module, name))

        def call(*args, **kwargs):
            given = signature.bind(*args, **kwargs).arguments
            calls.append(name)
            if "broken" in str(given.get("image")):
                raise RuntimeError("N4 ended with 1")
            for output in outputs(given):
                write(output, CAT12_SHAPE)
            return {}

        monkeypatch.setattr(module, name, call)

    found = {n: importlib.import_module(f"anatcl.preprocess.{n}") for n in ("bias_correct", "skullstrip", "register")}
    segment = importlib.import_module("anatcl.preprocess.segment")
    stand_in(importlib.import_module("anatcl.preprocess.template"), "prepare", lambda g: [])
    stand_in(found["bias_correct"], "bias_correct", lambda g: [g["out"]])
    stand_in(found["skullstrip"], "skullstrip", lambda g: [g["out_brain"], g["out_icv"]])
    stand_in(found["register"], "register", lambda g: [])
    stand_in(segment, "segment", lambda g: [g["out"].vbm, g["out"].quasi_raw])
    return calls


def test_scans_pass_through_all_steps_and_maps_through_none(tmp_path, bundle, contract, steps, caplog):
    scan, one = write(tmp_path / "head.nii.gz", (30, 32, 28)), write(tmp_path / "mwp1.nii.gz", CAT12_SHAPE)
    (tmp_path / "other").mkdir()
    twin, broken = (write(tmp_path / n, (30, 32, 28)) for n in ("other/head.nii.gz", "broken.nii.gz"))
    prepare = FromRaw(contract, tmp_path / "work", "testing", gate=False)
    device = resolve("cpu", "fp32", threads=1)
    table = embed_images(bundle, [scan, one, broken, twin], None, device, prepare)
    assert table["image"].tolist() == [str(scan), str(one), str(twin)]
    whole = ["bias_correct", "skullstrip", "register", "segment"]
    assert steps == ["prepare", *whole, "bias_correct", *whole]
    assert (tmp_path / "work/head/vbm.nii.gz").exists() and (tmp_path / "work/head-1/vbm.nii.gz").exists()
    assert "N4 ended with 1" in caplog.text
    numbers = table.filter(regex=r"^e\d+$")
    np.testing.assert_array_equal(numbers.iloc[0], numbers.iloc[1])  # the stand-in's map is that map
    with pytest.raises(InputError, match="does not exist"):
        embed_images(bundle, [tmp_path / "none.nii.gz"], None, device, prepare)


def test_a_scan_that_fails_the_gate_is_listed(tmp_path, bundle, contract, steps, monkeypatch):
    numbers = dict.fromkeys(Preprocess().qc, 1.0) | {"icv_ml": 1500.0, "cjv": 0.5, "cut_cm2": 0.0}
    numbers |= {"jacobian_nonpositive_share": 0.0}
    qc = importlib.import_module("anatcl.preprocess.qc")
    good, bad = (write(tmp_path / f"sub-{n}_ses-1_T1w.nii.gz", (30, 32, 28)) for n in ("1", "2"))
    monkeypatch.setattr(qc, "qc", lambda image, *_, **__: numbers | ({"cjv": 9.0} if "sub-2" in str(image) else {}))
    prepare = FromRaw(contract, tmp_path / "work", "testing")
    listed = tmp_path / "excluded.tsv"
    table = embed_images(bundle, [good, bad], tmp_path / "e.tsv", resolve("cpu", "fp32", threads=1), prepare, listed)
    assert table[["scan", "participant_id", "session_id"]].to_numpy().tolist() == [
        ["sub-1/ses-1/anat/sub-1_ses-1", "sub-1", "ses-1"]
    ]
    (left_out,) = read_tsv(listed).to_dict("records")
    assert left_out["participant_id"] == "sub-2" and "cjv 9 is above 2" in left_out["reason"] and left_out["remedy"]
    scans = table[["scan", "participant_id"]].assign(age=30.0)
    found = load_table(tmp_path / "e.tsv", "all", scans)  # as evaluate: features takes it
    assert found.present.all() and found.names == [c for c in table if c.startswith("e0")]


def test_maps_of_an_unknown_template_are_made_with_ours(contract, caplog):
    assert template_of(contract | {"template": "MNI152"}) == DEFAULT_TEMPLATE
    assert template_of(contract | {"template": DEFAULT_TEMPLATE}) == DEFAULT_TEMPLATE


@pytest.mark.slow
def test_a_simulated_head_gives_what_its_own_map_gives(tmp_path, bundle):
    """The real steps on one head of 5 mm: the raw scan and the map that came of it have one embedding."""
    pytest.importorskip("ants")
    from anatcl.cli.main import main
    from anatcl.simulate.dataset import simulate_dataset

    simulate_dataset(tmp_path / "bids", 1, 5.0, 0, 1, False)
    scan = next((tmp_path / "bids").rglob("*T1w.nii.gz"))
    recipe = str(Path(__file__).resolve().parents[2] / "configs" / "tiny.json")
    flags = ["--device", "cpu", "--threads", "1", "--recipe", recipe, "--no-gate", "--work-dir", str(tmp_path / "work")]
    assert main(["embed", str(bundle), str(scan), "--out", str(tmp_path / "raw.tsv"), *flags]) == 0
    made = next((tmp_path / "work").rglob("vbm.nii.gz"))
    assert main(["embed", str(bundle), str(made), "--out", str(tmp_path / "map.tsv"), *flags]) == 0
    raw, mapped = (read_tsv(tmp_path / f"{n}.tsv").filter(regex=r"^e\d+$").to_numpy() for n in ("raw", "map"))
    np.testing.assert_array_equal(raw, mapped)
    assert np.isfinite(raw).all()
