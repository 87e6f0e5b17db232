"""Fine-tuning learns what is there, writes the same tables, and starts from the right fold's encoder."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.steps.finetune import run_finetune
from anatcl.evaluate.steps.task import Settings
from anatcl.models import build_model
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays
from anatcl.pretrain.bundle import input_contract, save_encoder

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
    run_finetune(
        task, "m", tmp_path / "arrays", tmp_path / "scans.tsv", tmp_path / "folds.tsv", tmp_path / "p.tsv",
        tmp_path / "s.tsv", device="cpu", epochs=6, batch_size=6, learning_rate=1e-3,
        settings=Settings(n_bootstrap=30, pretrained=tmp_path / "m"),
    )  # fmt: skip
    scores = read_tsv(tmp_path / "s.tsv").set_index("metric")
    assert scores.loc["roc_auc", "protocol"] == "2-fold-finetune"
    assert scores.loc["roc_auc", "value"] > 0.9
    assert len(read_tsv(tmp_path / "p.tsv")) == n
    run_finetune(
        task | {"covariates": ["sick"], "target": "group"}, "m", tmp_path / "arrays", tmp_path / "with_group.tsv",
        tmp_path / "folds.tsv", tmp_path / "p.tsv", tmp_path / "s.tsv", device="cpu",
        settings=Settings(n_bootstrap=30, pretrained=tmp_path / "m"),
    )  # fmt: skip
    assert "covariates" in read_tsv(tmp_path / "s.tsv").set_index("metric").loc["skipped", "flags"]
