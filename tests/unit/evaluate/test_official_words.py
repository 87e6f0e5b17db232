"""The authors' word of the workflow: five encoders, each embedded and audited; scores averaged, their spread shown."""

from __future__ import annotations

import functools
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.evaluate.steps.audit import LeakError
from anatcl.evaluate.steps.embed_given import Maps, embed_given
from anatcl.evaluate.steps.task import Settings, run_audit, run_task
from anatcl.models import build_model
from anatcl.pretrain import official, outside
from anatcl.pretrain.arrays import array_meta
from anatcl.report.tables.build import build_table, load_scores
from anatcl.report.tables.formats import to_markdown

WORD = "official-anatcl-local"
SHAPE, AFFINE = (13, 14, 13), np.diag([12.0, 12, 12, 1])
AGE = {"name": "age", "kind": "regression", "target": "age"}


@pytest.fixture
def cohort(tmp_path, rng):
    """Maps of people who age, and the tables of the workflow."""
    scans = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(24)], "age": rng.uniform(20, 80, 24)})
    scans.insert(0, "scan", [f"{p}/anat/{p}" for p in scans["participant_id"]])
    for scan, age in zip(scans["scan"], scans["age"], strict=True):
        path = tmp_path / "maps" / f"{scan}_space-T_label-GM_desc-modulated_probseg.nii.gz"
        path.parent.mkdir(parents=True)
        volume = rng.uniform(0, 1, SHAPE) * (1.2 - age / 100)
        nib.save(nib.Nifti1Image(volume.astype(np.float32), AFFINE), path)
    write_tsv(tmp_path / "scans.tsv", scans.assign(dsm=["control", "autism"] * 12))
    write_tsv(tmp_path / "folds.tsv", scans[["participant_id"]].assign(fold=np.arange(24) % 3))
    return scans


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Stand-ins of the five files, small, in the place of the authors' addresses."""
    for fold in range(5):
        torch.manual_seed(fold)
        source = tmp_path / f"fold{fold}" / "weights.pth"
        source.parent.mkdir()
        torch.save({"model": build_model("resnet-tiny").state_dict(), "epoch": 300}, source)
        monkeypatch.setitem(official.PUBLISHED, f"anatcl-g3/local/fold-{fold}", source.as_uri())
    monkeypatch.setattr(official, "published_input", lambda: array_meta(SHAPE, AFFINE, "vbm", [[0, n] for n in SHAPE]))
    small = functools.partial(official.official_model, cache=tmp_path / "cache", architecture="resnet-tiny")
    monkeypatch.setattr(outside, "official_model", small)


def test_five_encoders_are_averaged_their_spread_is_shown_and_each_is_audited(cohort, published, tmp_path):
    folder = tmp_path / WORD
    for member in range(5):
        out = folder / f"seed-{member}" / "embeddings.npz"
        embed_given(json.dumps({"weights": WORD}), member, Maps(tmp_path / "maps", "T", cohort), out, device="cpu")
        assert read_json(out.parent / "model.json")["pretrained_on"] == ["OpenBHB"]
    assert len(read_json(tmp_path / "cache" / "first_use.json")) == 5

    def mae(folder, seeds):
        out = tmp_path / "p.tsv", tmp_path / "s.tsv"
        settings = Settings(n_bootstrap=20, shuffles=0, pretrained=folder)
        tables = tmp_path / "scans.tsv", tmp_path / "folds.tsv"
        run_task(AGE, WORD, *tables, *out, embeddings_dir=folder, seeds=seeds, settings=settings)
        return read_tsv(out[1]).set_index("metric").loc["mae"]

    alone = []
    for member in range(5):
        (tmp_path / f"one-{member}").mkdir()
        (tmp_path / f"one-{member}" / "seed-0").symlink_to(folder / f"seed-{member}")
        alone.append(mae(tmp_path / f"one-{member}", 1)["value"])
    together = mae(folder, 5)
    assert together["value"] == pytest.approx(np.mean(alone)) and together["seed_sd"] == pytest.approx(
        np.std(alone, ddof=1)
    )
    assert "pretrained on OpenBHB" in together["flags"]
    shown = to_markdown(build_table(load_scores(tmp_path / "s.tsv"), "brain_age"))
    assert f"SD {together['seed_sd']:.2f}" in shown

    assert "known to be in" not in together["flags"]
    tables = tmp_path / "scans.tsv", tmp_path / "folds.tsv", tmp_path / "p.tsv", tmp_path / "abide.tsv"
    settings = Settings(n_bootstrap=20, shuffles=0, pretrained=folder)
    run_task("abide1-autism", WORD, *tables, embeddings_dir=folder, settings=settings)
    flags = read_tsv(tmp_path / "abide.tsv")["flags"].iloc[0]
    assert "12 of 24 participants are known to be in OpenBHB, which it was pretrained on" in flags

    run_audit(tmp_path / "scans.tsv", folder, tmp_path / "audit.tsv")
    audit = read_tsv(tmp_path / "audit.tsv")
    assert audit["encoder"].astype(int).tolist() == list(range(5)) and set(audit["verdict"]) == {"not checked"}
    with pytest.raises(LeakError, match="ABIDE I controls"):
        run_audit(tmp_path / "scans.tsv", folder, tmp_path / "audit.tsv", known_overlaps="abide1")
    leaks = read_tsv(tmp_path / "audit.tsv").query("verdict == 'LEAK'")
    assert leaks["encoder"].astype(int).tolist() == list(range(5)) and set(leaks["n_overlap"]) == {12}
