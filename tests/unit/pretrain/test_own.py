"""A loss and a network of the user's own, by file and by entry point, without a change of this package."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.base.named import find_named, plugins
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.methods import find_method
from anatcl.pretrain.train import Inputs, train
from anatcl.spec.config import Config
from anatcl.spec.layers import read_layers
from anatcl.spec.training import Options

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
LOSS = next(piece for piece in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class MyLoss" in piece)
NET = """
import torch
from torch import nn

class Net(nn.Module):
    out_features = 24
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv3d(1, 3, 3, stride=2), nn.AdaptiveAvgPool3d(2)
    def forward(self, x):
        return self.pool(torch.relu(self.conv(x))).flatten(1)

class Nameless(nn.Module):
    pass
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "my_losses.py").write_text(LOSS)
    (tmp_path / "my_networks.py").write_text(NET)
    return tmp_path


def test_they_are_trained_and_the_bundle_comes_back(files, cohort_files, tmp_path):
    own = {"my-loss": {"loss": f"{files}/my_losses.py:MyLoss", "arguments": {"heat": 0.2}}}
    values = {"own": own, "encoder": f"{files}/my_networks.py:Net", "epochs": 1, "batch_size": 6}
    options = Options.parse(values)
    tables = cohort_files["folds.tsv"], cohort_files["measures.tsv"]
    inputs = Inputs(cohort_files["arrays"], tables[0], 0, "my-loss", tmp_path / "m", tables[1])
    assert train(inputs, options, "cpu", threads=1) == 0
    about = read_json(tmp_path / "m" / "model.json")
    assert about["method"] == "my-loss" and about["embedding_dim"] == 24
    model, _ = load_encoder(tmp_path / "m")
    with torch.inference_mode():
        assert model.embed(torch.zeros(2, 1, *about["input"]["shape"])).shape == (2, 24)
    wrong = Options.parse({"own": {"x": {"loss": f"{files}/my_losses.py:Loss2"}}})
    with pytest.raises(InputError, match="has no 'Loss2'"):
        find_method("x", wrong).loss(wrong)
    with pytest.raises(InputError, match="out_features"):
        from anatcl.models import build_encoder

        build_encoder(f"{files}/my_networks.py:Nameless")


def test_an_installed_package_offers_them_by_name(files, monkeypatch):
    info = files / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[anatcl.losses]\ntheir-loss = my_losses:MyLoss\n[anatcl.encoders]\ntheir-net = my_networks:Net\n"
    )
    monkeypatch.setattr(sys, "path", [str(files), *sys.path])
    plugins.cache_clear()
    try:
        config = Config.model_validate({"pretrain": {"methods": ["their-loss"], "encoder": "their-net"}})
        from anatcl.plan.parameters import Training

        told = Options.parse(json.loads(Training(config).options("their-loss")))
        assert type(find_method("their-loss", told).loss(told)).__name__ == "MyLoss"
        from anatcl.models import build_encoder

        assert build_encoder("their-net").out_features == 24
    finally:
        plugins.cache_clear()


def test_paths_are_relative_to_the_file_that_names_them(files):
    (files / "own.yaml").write_text(
        'pretrain:\n  encoder: "my_networks.py:Net"\n  own: {my-loss: {loss: "my_losses.py:MyLoss"}}\n'
        'evaluate:\n  encoders: {x: {weights: [w.pt, official.pt], adapter: "a.py:B", participants: p.txt}}\n'
    )
    found = read_layers([files / "own.yaml"], {}, Path("/elsewhere")).values
    assert found["pretrain"]["encoder"] == f"{files}/my_networks.py:Net"
    assert found["pretrain"]["own"]["my-loss"]["loss"] == f"{files}/my_losses.py:MyLoss"
    assert found["evaluate"]["encoders"]["x"] == {
        "weights": [f"{files}/w.pt", f"{files}/official.pt"],
        "adapter": f"{files}/a.py:B",
        "participants": f"{files}/p.txt",
    }
    with pytest.raises(InputError, match=r"no module|cannot be imported"):
        find_named("no_such_package_at_all:Net")
