"""Encoders that a user brings, from maps to rows of the table by the command line; overlaps abort."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.cli.main import main
from anatcl.evaluate.steps.audit import LeakError
from anatcl.evaluate.steps.task import Settings, run_audit, run_task
from anatcl.models import build_model
from anatcl.pretrain.bundle import load_encoder
from anatcl.spec.overlaps import overlaps_file

nib = pytest.importorskip("nibabel")
SHAPE, N = (10, 12, 11), 24
INPUT = {"map": "vbm", "shape": list(SHAPE)}
MEAN = """
import numpy as np, torch
class Mean:
    def forward_embeddings(self, samples):
        values = [np.asarray(s["image"].dataobj) for s in samples]
        return [{"global_embedding": torch.tensor([v.mean(), v.std()])} for v in values]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Maps whose mean falls with age, tables of scans and folds, and an encoder of each kind."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    age = np.linspace(20, 80, N)
    names = [f"sub-{i:02d}" for i in range(N)]
    rows = pd.DataFrame({"scan": [f"{n}/anat/{n}" for n in names], "participant_id": names, "age": age.round(1)})
    for scan, years in zip(rows["scan"], age, strict=True):
        path = folder / "maps" / f"{scan}_space-T_label-GM_desc-modulated_probseg.nii.gz"
        path.parent.mkdir(parents=True)
        volume = (1.2 - years / 100 + 0.02 * rng.normal(size=SHAPE)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, np.diag([4.0, 4, 4, 1])), path)
    write_tsv(folder / "scans.tsv", rows.assign(dsm=["control" if i % 2 else "case" for i in range(N)]))
    write_tsv(folder / "folds.tsv", pd.DataFrame({"participant_id": names, "fold": np.arange(N) % 3}))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 3, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 1, *SHAPE)), str(folder / "net.pt"))
    torch.save({"model": build_model("resnet-tiny").state_dict()}, folder / "layout.pth")
    (folder / "mean.py").write_text(MEAN)
    (folder / "people.txt").write_text("# one a line\nanna-b\n")
    return folder


def encoder(study, kind: str, **more) -> dict:
    return {
        "script": {"weights": [str(study / "net.pt")], "input": INPUT, "pretrained_on": ["unknown"]},
        "layout": {"weights": [str(study / "layout.pth")], "architecture": "resnet-tiny", "input": INPUT,
                   "pretrained_on": ["OpenBHB"]},
        "mean": {"adapter": f"{study / 'mean.py'}:Mean", "input": {"map": "vbm"},
                 "participants": str(study / "people.txt")},
    }[kind] | more  # fmt: skip


def embedded(study, out, kind: str, **more):
    """The folder of a method's embeddings, made by the command that the rule runs."""
    command = ["evaluate", "embed-given", "--encoder", json.dumps(encoder(study, kind, **more)), "--maps-dir",
               str(study / "maps"), "--template", "T", "--scans", str(study / "scans.tsv"), "--device", "cpu",
               "--out", str(out / kind / "seed-0" / "embeddings.npz")]  # fmt: skip
    assert main(command) == 0
    return out / kind


def scored(study, out, kind: str, folder):
    files = out / f"{kind}_p.tsv", out / f"{kind}_s.tsv"
    run_task("age", kind, study / "scans.tsv", study / "folds.tsv", *files, embeddings_dir=folder,
             settings=Settings("folds", n_bootstrap=20, shuffles=0, pretrained=folder))  # fmt: skip
    return read_tsv(files[1]).set_index("metric").loc["mae"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("script", "not known on which participants"),
        ("layout", "OpenBHB, whose participants"),
        ("mean", "name participants in"),
    ],
)
def test_each_kind_has_its_row_and_says_whom_it_may_know(study, tmp_path, kind, said):
    folder = embedded(study, tmp_path, kind)
    row = scored(study, tmp_path, kind, folder)
    assert row["n"] == N and row["protocol"] == "3-fold" and said in row["flags"]
    assert kind == "layout" or row["value"] < 6
    run_audit(study / "scans.tsv", folder, tmp_path / "audit.tsv", folds=study / "folds.tsv")
    (line,) = read_tsv(tmp_path / "audit.tsv").to_dict("records")
    assert line["verdict"] == "not checked" and line["n_test"] == N


def test_a_planted_overlap_aborts_the_audit_and_the_probe(study, tmp_path):
    import hashlib

    people = tmp_path / "people.txt"
    people.write_text(hashlib.sha256(b"sub-05").hexdigest() + "\n")  # by hash alone
    folder = embedded(study, tmp_path, "mean", participants=str(people))
    with pytest.raises(LeakError, match="sub-05"):
        run_audit(study / "scans.tsv", folder, tmp_path / "audit.tsv", folds=study / "folds.tsv")
    with pytest.raises(LeakError, match="sub-05"):
        scored(study, tmp_path, "mean", folder)


def test_known_overlaps_count_for_the_cohorts_that_an_encoder_names(study, tmp_path):
    known = overlaps_file("abide1")  # its controls are in OpenBHB
    layout, script = (embedded(study, tmp_path, kind) for kind in ("layout", "script"))
    run_audit(study / "scans.tsv", script, tmp_path / "audit.tsv", known_overlaps=known)
    with pytest.raises(LeakError, match=r"ABIDE I controls.*layout"):
        run_audit(study / "scans.tsv", [script, layout], tmp_path / "audit.tsv", known_overlaps="abide1")
    assert overlaps_file("") is None
    with pytest.raises(InputError, match="lists no known overlaps"):
        overlaps_file("age")


def test_the_script_is_fine_tuned_and_what_comes_of_it_is_an_encoder(study, tmp_path):
    folder = embedded(study, tmp_path, "script")
    command = ["evaluate", "finetune", "--task", "age", "--method", "script-finetuned", "--encoder",
               json.dumps(encoder(study, "script")), "--maps-dir", str(study / "maps"), "--template", "T",
               "--pretrained", str(folder), "--scans", str(study / "scans.tsv"), "--folds", str(study / "folds.tsv"),
               "--device", "cpu", "--epochs", "2", "--bootstrap", "20", "--out-dir", str(tmp_path / "networks"),
               "--out-predictions", str(tmp_path / "p.tsv"), "--out-scores", str(tmp_path / "s.tsv")]  # fmt: skip
    assert main(command) == 0
    assert read_tsv(tmp_path / "s.tsv").set_index("metric").loc["mae", "n"] == N
    model, about = load_encoder(tmp_path / "networks" / "fold-2")
    assert model(torch.zeros(2, 1, *SHAPE)).shape == (2, 1) and about["output"]["task"] == "age"
    assert "sub-02" not in about["train_participants"] and "sub-03" in about["train_participants"]
    assert read_json(folder / "seed-0" / "model.json")["source"]["files"].keys() == {"net.pt"}
