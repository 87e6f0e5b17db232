"""The steps as they are called from the command line."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pandas as pd
import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.cli import embed
from anatcl.cli import pretrain as steps
from anatcl.models import build_model

nib = pytest.importorskip("nibabel")


@pytest.fixture
def call():
    """Parse and run one step: ``call("folds", "--scans", path, ...)``."""
    parser = argparse.ArgumentParser()
    stages = parser.add_subparsers()
    steps.register(stages)
    embed.register(stages)

    def run(*arguments):
        words = [str(a) for a in arguments]
        args = parser.parse_args(words if words[0] == "embed" else ["pretrain", *words])
        return args.function(args) or 0

    return run


@pytest.fixture
def results(tmp_path, rng):
    """What the stages before have written: scans.tsv, measures.tsv, VBM maps."""
    rows, measures = [], []
    for i in range(10):
        scan = f"sub-{i}/anat/sub-{i}"
        path = tmp_path / f"preprocess/{scan}_space-T_label-GM_desc-modulated_probseg.nii.gz"
        path.parent.mkdir(parents=True)
        affine = np.diag([3.0, 3, 3, 1])
        nib.save(nib.Nifti1Image(rng.uniform(0, 1, (18, 20, 16)).astype(np.float32), affine), path)
        rows.append({"scan": scan, "participant_id": f"sub-{i}", "age": 20 + 5 * i, "sex": "MF"[i % 2], "site": "A"})
        record = {"scan": scan, "participant_id": f"sub-{i}", "tiv_mm3": 1.4e6 + i}
        for region in ("lh_insula", "rh_insula"):
            record |= {f"{kind}_{region}": rng.uniform(2, 3) for kind in ("thickness", "volume", "area")}
        measures.append(record)
    rows.append({"scan": "sub-x/anat/sub-x", "participant_id": "sub-x", "age": 50})
    write_tsv(tmp_path / "scans.tsv", pd.DataFrame(rows))
    write_tsv(tmp_path / "measures.tsv", pd.DataFrame(measures))
    return tmp_path


def test_the_whole_way(call, results):
    scans, measures, folds = (results / name for name in ("scans.tsv", "measures.tsv", "folds.tsv"))
    assert call("folds", "--scans", scans, "--measures", measures, "--folds", 2, "--seed", 3, "--out", folds) == 0
    assert len(read_tsv(folds)) == 10  # sub-x has no measures and is not in the cohort
    arrays = results / "arrays"
    common = ("--scans", scans, "--measures", measures, "--maps-dir", results / "preprocess")
    crop = json.dumps([[0, 18], [2, 18], [0, 16]])
    call("pack", *common, "--template", "T", "--voxel-mm", 4, "--crop", crop, "--out-dir", arrays)
    assert read_json(arrays / "arrays.json")["n"] == 10
    out = results / "anatcl-z/fold-1"
    flags = ("--arrays", arrays, "--measures", measures, "--folds", folds, "--fold", 1, "--method", "anatcl-z")
    fast = ("--encoder", "resnet-tiny", "--epochs", 2, "--batch-size", 4, "--device", "cpu", "--threads", 1)
    more = ("--lambda", 0.5, "--alpha-age", 2, "--options", '{"lr_decay": 0.5}', "--no-deterministic")
    assert call("train", *flags, *fast, *more, "--out-dir", out) == 0
    given = read_json(out / "model.json")["hyperparameters"]
    assert (given["lambda"], given["alpha_age"], given["lr_decay"], given["epochs"]) == (0.5, 2.0, 0.5, 2)
    assert read_json(out / "model.json")["statistics"]["bandwidth"] > 0
    image = next((results / "preprocess").rglob("sub-3_*.nii.gz"))
    call("embed", out, image, "--out", results / "e.tsv", "--device", "cpu", "--threads", 1)
    assert len(read_tsv(results / "e.tsv")) == 1
    call("export", out, "--out", results / "x.safetensors")
    assert (results / "x.safetensors").stat().st_size > 0


def test_import(call, tmp_path):
    torch.save({"model": build_model("resnet-tiny").state_dict()}, tmp_path / "w.pth")
    call(
        "import", "--weights", tmp_path / "w.pth", "--encoder", "resnet-tiny", "--no-flip", "--out-dir", tmp_path / "b"
    )
    assert read_json(tmp_path / "b/model.json")["flip_axes"] == []


def test_mistakes_are_named(call, results):
    base = ("--arrays", results / "none", "--folds", results / "f.tsv", "--fold", 0, "--out-dir", results / "o")
    with pytest.raises(InputError, match=r"arrays\.json is missing"):
        call("train", *base, "--method", "y-aware")
    with pytest.raises(InputError, match="method 'y-awear' is unknown"):
        call("train", *base, "--method", "y-awear")
    with pytest.raises(InputError, match="did you mean 'lr_decay'"):
        call("train", *base, "--method", "y-aware", "--options", '{"lr_decai": 1}')
