"""The public OpenBHB release as a dataset: heads, maps, tables, measures; and packed arrays as one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from openbhb_release import AFFINE, LABELS, SHAPE, make_release

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.bids.index import build_index, refresh
from anatcl.measures.openbhb import CHANNELS, release_measures
from anatcl.measures.taken import take_measures
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.taken import pack_release, take_packed
from anatcl.spec.bids import Options

HEADS = Options(layout="openbhb")
MAPS = Options(layout="openbhb", maps="vbm")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("release") / "openBHB"
    return root, make_release(root, 10)


def test_raw_heads_are_indexed_under_bids_names(release):
    root, people = release
    scans = build_index(root, HEADS).scans
    first = people["participant_id"].iloc[0]
    assert scans["scan"].iloc[0] == f"sub-{first}/ses-1/anat/sub-{first}_ses-1"
    assert scans["path"].iloc[0] == f"train/rawdata/sub-{first}/ses-1/sub-{first}_ses-1_T1w.nii.gz"
    assert len(scans) == 10 and scans["participant_id"].tolist() == [f"sub-{n}" for n in people["participant_id"]]
    assert scans["age"].astype(float).tolist() == people["age"].tolist()
    assert scans["sex"].tolist() == ["M", "F"] * 5
    assert scans["split"].tolist() == people["split"].tolist()
    assert scans["site"].astype(int).tolist() == people["site"].tolist()
    assert scans["siteXacq"].astype(int).tolist() == people["siteXacq"].tolist()
    assert scans["reconall-euler"].tolist() == ["-20"] * 10


def test_maps_are_indexed_under_the_same_names(release):
    root, _ = release
    heads, maps = build_index(root, HEADS).scans, build_index(root, MAPS).scans
    assert maps["scan"].tolist() == heads["scan"].tolist()
    assert maps["path"].str.endswith("_preproc-cat12vbm_desc-gm_T1w.npy").all()
    raw = build_index(root, Options(layout="openbhb", maps="quasi-raw")).scans
    assert raw["path"].str.endswith("_preproc-quasiraw_T1w.npy").all()


def test_the_part_stands_for_the_split_where_no_table_names_it(tmp_path):
    root = tmp_path / "openBHB"
    people = make_release(root, 5, maps=False)
    people.drop(columns="split").to_csv(root / "participants.tsv", sep="\t", index=False)
    assert build_index(root, HEADS).scans["split"].tolist() == ["train"] * 3 + ["val"] * 2
    for part in ("train", "val"):  # the tables in the parts, one level above rawdata
        shutil.copy(root / "participants.tsv", root / part / "participants.tsv")
    (root / "participants.tsv").unlink()
    assert build_index(root, HEADS).scans["age"].astype(float).tolist() == people["age"].tolist()


def test_what_cannot_be_used_is_named(tmp_path, rng):
    root = tmp_path / "openBHB"
    people = make_release(root, 5, heads=False)
    names = [f"sub-{n}" for n in people["participant_id"]]
    folders = [root / ("train" if i < 3 else "val") / "derivatives" / name / "ses-1" for i, name in enumerate(names)]
    ending = "_preproc-cat12vbm_desc-gm_T1w.npy"
    (folders[0] / f"{names[0]}{ending}").unlink()
    np.save(folders[1] / f"{names[1]}{ending}", np.zeros((1, 1, *SHAPE), np.float32))
    cut = folders[2] / f"{names[2]}{ending}"
    cut.write_bytes(cut.read_bytes()[:5000])
    shutil.copy(folders[3] / f"{names[3]}{ending}", folders[4] / f"{names[4]}{ending}")
    index = build_index(root, MAPS)
    assert index.scans["participant_id"].tolist() == names[3:]
    reasons = dict(zip(index.excluded["participant_id"], index.excluded["reason"], strict=True))
    assert f"no *{ending}" in reasons[names[0]] and "same value" in reasons[names[1]]
    assert "cannot be read" in reasons[names[2]]
    assert any("hold the same image" in warning["warning"] for warning in index.warnings)


def test_a_release_is_recognised(release, tmp_path):
    with pytest.raises(InputError, match="layout: openbhb"):
        build_index(release[0])
    with pytest.raises(InputError, match=r"no \{train,val\}"):
        build_index(tmp_path, HEADS)


@pytest.mark.parametrize("table", [True, False])
def test_both_forms_of_the_measures_are_one(table, tmp_path):
    root = tmp_path / "openBHB"
    people = make_release(root, 5, heads=False, maps=False, table=table)
    found = release_measures(root)
    assert found["participant_id"].tolist() == [f"sub-{n}" for n in people["participant_id"]]
    assert len(found.columns) == 3 + 7 * 68
    assert found["thickness_lh_bankssts"].corr(people["age"]) < -0.8
    shuffled = [LABELS[1], LABELS[0], *LABELS[2:]]
    (root / "resource" / "resources.json").write_text(json.dumps({"desikan_roi": {"features": shuffled}}))
    again = release_measures(root)
    second = f"thickness_lh_{LABELS[1][3:]}"
    assert again[second].tolist() == found["thickness_lh_bankssts"].tolist()
    assert CHANNELS[2] == "thickness"


def test_arrays_and_measures_of_a_release(release, tmp_path):
    root, people = release
    scans = refresh(root, tmp_path / "bids", MAPS)
    meta = pack_release(scans, root, tmp_path / "arrays", dtype="float32")
    arrays = open_arrays(tmp_path / "arrays")
    assert arrays.rows["age"].tolist() == people["age"].tolist()
    name = f"sub-{people['participant_id'][2]}"
    stored = np.load(root / f"train/derivatives/{name}/ses-1/{name}_preproc-cat12vbm_desc-gm_T1w.npy")
    np.testing.assert_allclose(arrays.true(2), stored[0, 0, ::-1])
    np.testing.assert_allclose(np.array(meta["affine"]) @ [SHAPE[0] - 1, 0, 0, 1], AFFINE @ [0, 0, 0, 1])
    paths = {f"out_{key}": tmp_path / f"{key}.tsv" for key in ("dictionary", "reliability", "quality")}
    table = take_measures(tmp_path / "bids" / "scans.tsv", root, "release", tmp_path / "measures" / "m.tsv", **paths)
    assert table["scan"].tolist() == arrays.rows["scan"].tolist()
    np.testing.assert_allclose(table["tiv_mm3"], 1000 * people["tiv"])
    np.testing.assert_allclose(table["gm_mm3"], 1000 * people["gmv"])
    assert read_tsv(tmp_path / "quality.tsv")["failed"].isna().all()


def test_packed_arrays_are_a_dataset(release, tmp_path):
    root, people = release
    scans = refresh(root, tmp_path / "bids", MAPS)
    pack_release(scans, root, tmp_path / "arrays")
    write_tsv(tmp_path / "arrays" / "measures.tsv", release_measures(root))
    index = refresh(tmp_path / "arrays", tmp_path / "again", Options(maps="packed"))
    same = [name for name in scans if name != "path"]
    pd.testing.assert_frame_equal(index[same], scans[same], check_dtype=False)
    take_packed(index, tmp_path / "arrays", tmp_path / "whole", "vbm")
    assert (tmp_path / "whole" / "volumes.npy").is_symlink()
    assert open_arrays(tmp_path / "whole").sha256 == open_arrays(tmp_path / "arrays").sha256

    options = Options(maps="packed", query="split == 'train'", exclude=[f"sub-{people['participant_id'][1]}"])
    part = build_index(tmp_path / "arrays", options)
    assert len(part.scans) == 5 and len(part.excluded) == 5
    some = refresh(tmp_path / "arrays", tmp_path / "part", options)
    take_packed(some, tmp_path / "arrays", tmp_path / "some", "vbm")
    taken, all_ = open_arrays(tmp_path / "some"), open_arrays(tmp_path / "arrays")
    assert not (tmp_path / "some" / "volumes.npy").is_symlink()
    places = [all_.rows["scan"].tolist().index(scan) for scan in taken.rows["scan"]]
    np.testing.assert_array_equal(taken.volumes, all_.volumes[places])
    paths = {f"out_{key}": tmp_path / f"{key}.tsv" for key in ("dictionary", "reliability", "quality")}
    measures = take_measures(
        tmp_path / "part" / "scans.tsv", tmp_path / "arrays", "packed", tmp_path / "m.tsv", **paths
    )
    assert len(measures) == 5 and measures["thickness_lh_insula"].notna().all()
    with pytest.raises(InputError, match="hold vbm maps"):
        take_packed(index, tmp_path / "arrays", tmp_path / "other", "quasi-raw")
