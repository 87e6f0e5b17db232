"""Encoders of every kind in one table, from raw simulated scans: each embedded, probed, audited; an overlap aborts.

It goes on from the run of the whole workflow. One run serves all tests of this file; the last one plants an overlap and
runs the audit again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from anatcl.base.files import read_json, read_tsv
from anatcl.models import build_model
from tests.workflow.whole import GROUP, with_file

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(GROUP)]
OURS = "anatcl-local"
SHAPE = (20, 24, 20)
VBM = {"map": "vbm", "shape": list(SHAPE), "voxel_mm": 6.0}
TWO_METHODS = '''
import numpy as np
import torch


class TwoMethods:
    """As brainmarks-smri has them."""

    def transform(self, sample):
        data = np.asarray(sample["image"].dataobj, dtype=np.float32)
        inside = data[np.asarray(sample["brain_mask"].dataobj) > 0]
        return {"x": torch.tensor(np.percentile(inside, [5, 25, 50, 75, 95])), "mni": sample["mni_affine"]}

    def forward_embeddings(self, samples, return_dense=False):
        scale = [abs(np.linalg.det(s["mni"][:3, :3])) for s in samples]
        return [{"global_embedding": torch.cat([s["x"], torch.tensor([k])])} for s, k in zip(samples, scale)]
'''


class Small(nn.Module):
    """Means over a grid of cells, and a convolution, so that there is something to tune."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv3d(1, 4, 2, stride=2), nn.AdaptiveAvgPool3d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.relu(self.conv(x))).flatten(1)


def encoders(folder: Path) -> dict:
    """One encoder of each kind that this machine can run."""
    torch.manual_seed(0)
    net, x = Small().eval(), torch.zeros(1, 1, *SHAPE)
    torch.jit.save(torch.jit.trace(net, x), str(folder / "script.pt"))
    # As the authors publish: a pickle with "model", names of encoder and head, options of the training code.
    for fold in range(2):
        torch.save({"model": build_model("resnet-tiny").state_dict(), "epoch": 300}, folder / f"official{fold}.pth")
    (folder / "theirs.py").write_text(TWO_METHODS)
    (folder / "people.txt").write_text("somebody-else-1\nsomebody-else-2\n")
    found = {
        "script": {"weights": "script.pt", "input": VBM, "pretrained_on": "unknown"},
        "layout": {
            "weights": ["official0.pth", "official1.pth"],
            "architecture": "resnet-tiny",
            "input": VBM,
            "pretrained_on": ["OpenBHB"],
        },
        "two-methods": {"adapter": "theirs.py:TwoMethods", "participants": "people.txt"},
    }
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return found
    axes = {"x": {0: "n"}}
    torch.onnx.export(net, (x,), str(folder / "net.onnx"), input_names=["x"], dynamic_axes=axes, dynamo=False)
    return found | {"onnx": {"weights": "net.onnx", "input": VBM, "pretrained_on": "unknown"}}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The files of the encoders, and a configuration that names them."""
    folder = tmp_path_factory.mktemp("study")
    evaluate = {"tasks": ["age"], "interpret": False, "untrained": False, "bootstrap": 20}
    evaluate |= {"baselines": ["majority-median"], "rivals": [], "encoders": encoders(folder)}
    evaluate["finetune"] = {"methods": [OURS, "script"], "epochs": 1, "batch_size": 4}
    (folder / "own.yaml").write_text(yaml.safe_dump({"evaluate": evaluate}))
    return folder


@pytest.fixture(scope="module")
def asked(study, options) -> list[str]:
    """Options of the run: those of the whole one, and the encoders."""
    return with_file(options, study / "own.yaml")


@pytest.fixture(scope="module")
def compared(study, asked, finished, snakemake) -> Path:
    """The finished run of the raw scans, gone on with the encoders up to the tables, in a copy of its folder."""
    folder = study / "run"
    shutil.copytree(finished, folder, symlinks=True)
    scans = (folder / "results" / "measures" / "measures.tsv").stat().st_mtime_ns
    done = snakemake(folder, *asked, "--until", "tables")
    logs = "".join(f"\n== {p}\n{p.read_text()[-1500:]}" for p in sorted((folder / "logs").rglob("*.log"))[-3:])
    assert done.returncode == 0, done.stderr[-5000:] + logs
    assert (folder / "results" / "measures" / "measures.tsv").stat().st_mtime_ns == scans  # no scan was worked on again
    return folder


def test_every_encoder_has_its_row(compared, study):
    scores = read_tsv(compared / "results" / "evaluate" / "scores.tsv")
    mae = scores[scores["metric"] == "mae"].set_index("method")
    brought = set(yaml.safe_load((study / "own.yaml").read_text())["evaluate"]["encoders"])
    assert {OURS, f"{OURS}-finetuned", "script-finetuned", "majority-median", *brought} <= set(mae.index)
    assert mae["value"].notna().all() and mae["n"].nunique() == 1
    assert "not known on which participants" in mae.loc["script", "flags"] and "OpenBHB" in mae.loc["layout", "flags"]
    # Two encoders of one method: averaged, and their spread is shown.
    assert mae.loc["layout", "seed_sd"] > 0 and mae.loc["script", ["seed_sd"]].isna().all()
    table = (compared / "results" / "report" / "tables" / "brain_age.md").read_text()
    assert f"SD {mae.loc['layout', 'seed_sd']:.2f}" in table
    if "onnx" not in brought:
        pytest.skip("the ONNX row is absent: onnx or onnxruntime is not installed (extra: encoders)")
    # The same network by two roads.
    assert abs(mae.loc["onnx", "value"] - mae.loc["script", "value"]) < 1


def test_every_encoder_is_audited(compared, study):
    audit = read_tsv(compared / "results" / "evaluate" / "audit.tsv")
    people = audit[audit["check"] == "participant"].groupby("method")["verdict"].first()
    assert people[OURS] == "clean" and people["script"] == people["layout"] == "not checked"
    encoders = audit[(audit["method"] == "layout") & (audit["check"] == "participant")]["encoder"]
    assert encoders.astype(int).tolist() == [0, 1]
    about = read_json(compared / "results" / "evaluate" / "two-methods" / "seed-0" / "model.json")
    assert about["train_participants"] == ["somebody-else-1", "somebody-else-2"]
    assert set(people.index) >= set(yaml.safe_load((study / "own.yaml").read_text())["evaluate"]["encoders"])


def test_tuned_networks_are_bundles(compared):
    networks = compared / "results" / "evaluate" / f"{OURS}-finetuned" / "age_networks"
    about = read_json(networks / "fold-0" / "model.json")
    assert about["fine_tuned"] and about["output"]["task"] == "age" and (networks / "fold-1").is_dir()


def test_a_planted_overlap_aborts(compared, study, asked, snakemake):
    folds = read_tsv(compared / "results" / "pretrain" / "folds.tsv")
    (study / "people.txt").write_text(f"somebody-else-1\n{folds['participant_id'].iloc[0]}\n")
    done = snakemake(compared, *asked, "--until", "audit")
    log = (compared / "logs" / "audit.log").read_text()
    assert done.returncode != 0
    assert str(folds["participant_id"].iloc[0]) in log and "two-methods" in log
