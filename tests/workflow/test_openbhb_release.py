"""A small release in OpenBHB's true layout, from its folder to the page in one command; and its packed arrays again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from openbhb_release import SHAPE, make_release
from torch import nn

from anatcl.base.files import read_json, read_tsv

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 30
QUICK = {"methods": ["anatcl-global"], "encoder": "resnet-tiny", "epochs": 1, "batch_size": 8}
FEW = {"untrained": False, "rivals": [], "bootstrap": 20, "baselines": ["regional-measures"]}
FEW["tasks"] = ["openbhb-age", "openbhb-site"]


def configuration(folder: Path, **values: dict) -> list[str]:
    """Options: the shipped configuration of the release, and what makes it small."""
    told = {"bids_dir": "openBHB", "pretrain": QUICK, "evaluate": FEW}
    for section, keys in values.items():
        told[section] = {**told[section], **keys}
    (folder / "small.yaml").write_text(yaml.safe_dump(told))
    return ["--configfile", str(ROOT / "workflow" / "openbhb.yaml"), str(folder / "small.yaml")]


def jobs(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A folder with a release of six people."""
    folder = tmp_path_factory.mktemp("small")
    make_release(folder / "openBHB", 6)
    return folder


def test_raw_heads_go_through_every_step(small, snakemake, tmp_path):
    """Without `arrays`, the release is a dataset like any other."""
    options = configuration(small, pretrain={"arrays": ""})
    done = snakemake(tmp_path, "-n", "-p", *options, "--until", "measures", "pack")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert jobs(text)["bias_correct"] == jobs(text)["measure"] == 6
    assert "train/rawdata/sub-100000000000/ses-1/sub-100000000000_ses-1_T1w.nii.gz" in text
    assert "--scan sub-100000000000/ses-1/anat/sub-100000000000_ses-1" in text


def test_its_maps_need_no_step_of_a_scan(small, snakemake, tmp_path):
    done = snakemake(tmp_path, "-n", "--quiet", "rules", *configuration(small))
    found = jobs(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]
    assert found["take_arrays"] == found["take_measures"] == found["train_final"] == 1 and found["train"] == 2
    assert not {"bias_correct", "template", "measure", "measures", "preprocess", "pack"} & set(found)


class Small(nn.Module):
    """An outside network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv3d(1, 4, 3, stride=2), nn.AdaptiveAvgPool3d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.relu(self.conv(x))).flatten(1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, snakemake) -> Path:
    """Folder of a study whose run has ended with the page."""
    folder = tmp_path_factory.mktemp("study")
    make_release(folder / "openBHB", PEOPLE, heads=False)
    torch.manual_seed(0)
    torch.jit.save(torch.jit.trace(Small().eval(), torch.zeros(1, 1, *SHAPE)), str(folder / "theirs.pt"))
    theirs = {"weights": "theirs.pt", "input": {"map": "vbm", "shape": list(SHAPE)}, "pretrained_on": "unknown"}
    options = configuration(folder, evaluate={"encoders": {"theirs": theirs}})
    run = folder / "run"
    run.mkdir()
    done = snakemake(run, "--cores", "2", *options, module=("anatcl", "run", "--"))
    logs = "".join(f"\n== {p}\n{p.read_text()[-1500:]}" for p in sorted((run / "logs").rglob("*.log"))[-3:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + logs
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("openbhb")
def test_from_folder_to_page(finished, snakemake):
    results = finished / "run" / "results"
    page = (results / "report" / "index.html").read_text()
    assert f"{PEOPLE} scans of {PEOPLE} participants from 3 sites" in page and "public OpenBHB release" in page
    scores = read_tsv(results / "evaluate" / "scores.tsv")
    error = scores[(scores["task"] == "openbhb-age") & (scores["metric"] == "mae")]
    assert set(error["method"]) >= {"anatcl-global", "theirs", "regional-measures"}
    for part in ("internal", "external"):
        official = error[error["protocol"] == f"train-to-{part}_test"]
        assert set(official["method"]) >= {"anatcl-global", "theirs", "regional-measures"}
    challenge = scores[(scores["metric"] == "openbhb_score") & (scores["protocol"] != "published")]
    assert "anatcl-global" in set(challenge["method"]) and challenge["protocol"].str.contains("train-to-ext").all()
    small = str(finished / "small.yaml")
    done = snakemake(finished / "run", "-n", "--configfile", str(ROOT / "workflow" / "openbhb.yaml"), small)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("openbhb")
def test_the_final_encoder_has_seen_everybody(finished):
    model = read_json(finished / "run" / "results" / "pretrain" / "anatcl-global" / "final" / "model.json")
    folds = [read_json(path) for path in finished.glob("run/results/pretrain/anatcl-global/fold-*/model.json")]
    assert len(model["train_participants"]) == PEOPLE and model["input"]["map"] == "vbm"
    # Folds by the official split: one encoder of those whom the release trains on, one of all others.
    assert sorted(len(fold["train_participants"]) for fold in folds) == [12, 18]


@pytest.mark.slow
@pytest.mark.xdist_group("openbhb")
def test_packed_arrays_are_trained_on_elsewhere(finished, snakemake, tmp_path):
    """The arrays of one run, with its measures beside them, are the dataset of another."""
    packed, results = tmp_path / "packed", finished / "run" / "results"
    packed.mkdir()
    for file in ("volumes.npy", "rows.tsv", "arrays.json"):
        (packed / file).write_bytes((results / "pretrain" / "arrays" / file).read_bytes())
    (packed / "measures.tsv").write_bytes((results / "measures" / "measures.tsv").read_bytes())
    values = {"pretrain": {**QUICK, "arrays": "packed", "folds": 2}, "evaluate": {**FEW, "tasks": ["openbhb-age"]}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"bids_dir": "nowhere", **values}))
    files = [
        f"results/{name}" for name in ("pretrain/arrays/arrays.json", "measures/measures.tsv", "pretrain/folds.tsv")
    ]
    done = snakemake(tmp_path, *files, "--configfile", "my.yaml", "--cores", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    taken = tmp_path / "results" / "pretrain" / "arrays"
    assert (taken / "volumes.npy").is_symlink() and (taken / "volumes.npy").resolve() == packed / "volumes.npy"
    assert len(read_tsv(tmp_path / "results" / "pretrain" / "folds.tsv")) == PEOPLE
    done = snakemake(tmp_path, "-n", *files, "--configfile", "my.yaml")
    assert "Nothing to be done" in done.stdout + done.stderr, done.stdout[-2000:]
