"""Fine-tuning learns what is there, writes the same tables, and starts from the right fold's encoder."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.probes.finetune import with_head
from anatcl.evaluate.steps.finetune import Ours, Tuning, run_finetune
from anatcl.evaluate.steps.task import Settings
from anatcl.models import build_model
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays
from anatcl.pretrain.bundle import input_contract, load_encoder, save_encoder
from anatcl.pretrain.wrapped import Outside

SHAPE = (9, 10, 11)


def test_finetuning_finds_a_bright_spot(tmp_path, rng):
    n = 36
    sick = np.arange(n) % 2
    people = [f"sub-{i:02d}" for i in range(n)]
    rows = pd.DataFrame({"scan": people, "participant_id": people, "sick": sick})
    volumes = 0.1 * rng.random((n, *SHAPE)).astype(np.float32)
    volumes[sick == 1, 2:7, 2:7, 2:7] += 1
    write_arrays(tmp_path / "arrays", volumes, rows, array_meta(SHAPE, np.eye(4), "vbm", [[0, s] for s in SHAPE]))
    folds = pd.DataFrame({"participant_id": people, "fold": (np.arange(n) // 2) % 2})
    write_tsv(tmp_path / "scans.tsv", rows)
    write_tsv(tmp_path / "with_group.tsv", rows.assign(group=np.roll(sick, 1)))
    write_tsv(tmp_path / "folds.tsv", folds)
    contract = input_contract(open_arrays(tmp_path / "arrays").meta)
    for k in range(2):
        torch.manual_seed(k)
        people_of = folds.loc[folds["fold"] != k, "participant_id"].tolist()
        description = {"architecture": "resnet-tiny", "input": contract, "train_participants": people_of}
        save_encoder(tmp_path / "m" / f"fold-{k}", build_model("resnet-tiny"), description)
    task = {"name": "sick", "kind": "binary", "target": "sick", "positives": [1], "negatives": [0]}
    ours = Ours(tmp_path / "arrays", tmp_path / "m")
    run_finetune(
        task, "m", ours, tmp_path / "scans.tsv", tmp_path / "folds.tsv", tmp_path / "p.tsv",
        tmp_path / "s.tsv", out_dir=tmp_path / "tuned", device="cpu", tuning=Tuning(6, 6, 1e-3),
        settings=Settings(n_bootstrap=30, pretrained=tmp_path / "m"),
    )  # fmt: skip
    scores = read_tsv(tmp_path / "s.tsv").set_index("metric")
    assert scores.loc["roc_auc", "protocol"] == "2-fold-finetune"
    assert scores.loc["roc_auc", "value"] > 0.9
    assert len(read_tsv(tmp_path / "p.tsv")) == n
    model, about = load_encoder(tmp_path / "tuned" / "fold-1", open_arrays(tmp_path / "arrays"))
    assert about["fine_tuned"] and about["output"]["classes"] == ["negative", "positive"]
    assert set(about["train_participants"]) == set(folds.loc[folds["fold"] != 1, "participant_id"])
    tested = folds["fold"].to_numpy() == 1
    with torch.inference_mode():
        logits = model(torch.from_numpy(volumes[tested])[:, None]).numpy()
    assert roc_auc_score(sick[tested], logits[:, 1] - logits[:, 0]) > 0.9
    run_finetune(
        task | {"covariates": ["sick"], "target": "group"}, "m", ours, tmp_path / "with_group.tsv",
        tmp_path / "folds.tsv", tmp_path / "p.tsv", tmp_path / "s.tsv", device="cpu",
        settings=Settings(n_bootstrap=30, pretrained=tmp_path / "m"),
    )  # fmt: skip
    assert "covariates" in read_tsv(tmp_path / "s.tsv").set_index("metric").loc["skipped", "flags"]


def test_mirrored_axes_are_kept(rng):
    model = build_model("resnet-tiny").eval()
    model.flip = (0,)
    x = torch.from_numpy(rng.random((2, 1, *SHAPE)).astype(np.float32))
    net = with_head(model, 3, SHAPE, 0).eval()
    with torch.inference_mode():
        torch.testing.assert_close(net.embed(x), model.encoder(x.flip(2)))
        assert net(x).shape == (2, 3)


def test_a_network_of_somebody_else_gets_a_head_and_comes_back(tmp_path):
    script = torch.jit.trace(nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten()), torch.zeros(1, 1, *SHAPE))
    net = with_head(Outside(script), 2, SHAPE, 0).eval()
    about = {"architecture": "as in the file", "network": {"arguments": {}, "channels": 1, "pooling": ""},
             "embedding_dim": 8, "head": net.kind, "input": {}}  # fmt: skip
    save_encoder(tmp_path, net, about)
    back, _ = load_encoder(tmp_path)
    x = torch.rand(2, 1, *SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(back(x), net(x))
