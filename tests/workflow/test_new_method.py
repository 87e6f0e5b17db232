"""A new pretraining method is one file in ``anatcl/losses``: it can be planned, trained, named, ordered and cited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.test_dry_runs import jobs

LOSS = '''
"""Mine: everybody attracts everybody."""

import torch

from anatcl.losses.base import Loss, soft_info_nce

METHOD = {
    "name": "my-loss",
    "label": "My loss",
    "order": 45,
    "loss": "MyLoss",
    "options": {"heat": "temperature"},
    "sentence": "My loss lets everybody attract everybody {sic}.",
    "cite": ("mine", "anatcl"),
    "references": {"mine": {"short": "Me, 2026", "bibtex": "@article{mine, author = {Me}}"}},
}


class MyLoss(Loss):
    """Uniform weights."""

    def __init__(self, heat: float = 1.0) -> None:
        super().__init__()
        self.heat = heat

    def forward(self, z, targets, copies=1):
        """Return ``{"loss"}``."""
        size = z.shape[0] * copies // 2
        return {"loss": soft_info_nce(z, {"loss": torch.ones(size, size)}, self.heat, copies)["loss"]}
'''
# Trains for an epoch on twelve volumes, then asks everybody who speaks of methods.
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from anatcl.base.errors import InputError
from anatcl.base.files import read_json, write_tsv
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.pretrain.methods import METHODS, find_method
from anatcl.pretrain.train import Inputs, train
from anatcl.report.records.methods import methods_text
from anatcl.report.tables import vocabulary
from anatcl.spec.training import Options

people = [f"sub-{i:02d}" for i in range(12)]
rows = pd.DataFrame({"scan": people, "participant_id": people, "age": np.arange(12) + 20.0})
volumes = np.random.default_rng(0).random((12, 9, 10, 11)).astype(np.float32)
write_arrays(Path("arrays"), volumes, rows, array_meta(volumes.shape[1:], np.eye(4), "vbm", [[0, 9], [0, 10], [0, 11]]))
write_tsv(Path("folds.tsv"), rows[["participant_id"]].assign(fold=np.arange(12) % 2))
options = Options.parse({"encoder": "resnet-tiny", "epochs": 1, "batch_size": 6, "temperature": 0.25})
out = Path("pretrain/my-loss/fold-0")
train(Inputs("arrays", "folds.tsv", 0, "my-loss", out), options, "cpu", threads=1)
try:
    find_method("my-los")
except InputError as error:
    refusal = str(error)
print("FOUND" + json.dumps({
    "methods": list(METHODS), "label": vocabulary.method_label("my-loss"), "baselines": vocabulary.BASELINES,
    "order": vocabulary.order_methods(["expw", "untrained", "my-loss", "y-aware"]), "refusal": refusal,
    "text": methods_text(None, [Path("pretrain").absolute()]), "heat": find_method("my-loss").loss(options).heat,
    "method": read_json(out / "model.json")["method"],
}))
"""


@pytest.fixture(scope="module")
def extended(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with one more file."""
    copy = tmp_path_factory.mktemp("extended") / "repository"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "anatcl" / "losses" / "my_loss.py").write_text(LOSS, encoding="utf-8")
    return copy


def python(copy: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_file_is_all_it_takes(extended: Path, tmp_path: Path) -> None:
    done = python(extended, tmp_path, "-c", SCRIPT)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("FOUND")[2])
    assert "my-loss" in found["methods"] and "my-loss" not in found["baselines"]
    assert found["label"] == "My loss"
    assert found["order"] == ["y-aware", "my-loss", "expw", "untrained"]
    assert found["heat"] == 0.25
    assert found["method"] == "my-loss"
    assert "My loss lets everybody attract everybody {sic} (Me, 2026; Barbano et al., 2026)." in found["text"]
    assert "@article{mine, author = {Me}}" in found["text"] and "y-Aware" not in found["text"]
    assert "Did you mean 'my-loss'?" in found["refusal"]


def test_the_new_method_is_planned(extended: Path, heads: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("pretrain: {methods: [my-loss], folds: 2}\nevaluate: {untrained: false}\n")
    options = ("-n", "--quiet", "rules", "--configfile", "config.yaml", "--config", f"bids_dir={heads}")
    snakefile = str(extended / "workflow" / "Snakefile")
    done = python(extended, tmp_path, "-m", "snakemake", "--snakefile", snakefile, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert jobs(done.stdout + done.stderr)["train"] == 2
