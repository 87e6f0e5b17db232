"""WebDataset shards of maps: packed, described, damaged ones listed, nothing unpickled."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.bids.index import build_index
from anatcl.cli.main import main
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.openbhb import AFFINES
from anatcl.pretrain.shards import pack_shards
from anatcl.spec.bids import Options

SHAPE = (7, 8, 9)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def shard(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            tar.addfile(one, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path, rng) -> tuple[Path, dict[str, np.ndarray]]:
    """Two datasets as folders of shards; subject 01 is in both and is two people. One map is damaged."""
    maps = {f"{d}/{n}": rng.uniform(0.1, 1, SHAPE).astype(np.float32) for d in ("ds000001", "ds000002") for n in (1, 2)}
    for dataset in ("ds000001", "ds000002"):
        files = {}
        for number in (1, 2):
            key = f"{dataset}_{number:04d}"
            files[f"{key}.gm.npy"] = npy(maps[f"{dataset}/{number}"][None, None])
            about = {"subject": f"0{number}", "session": "1", "run": 1, "roi": [1, 2], "quality": 0.5 + number}
            files[f"{key}.json"] = json.dumps(about).encode()
        shard(tmp_path / "cat12vbm" / dataset / "shard-000000.tar", files)
    more = {"ds000002_0003.gm.npy": npy(maps["ds000002/1"])[:-40], "ds000002_0003.json": b'{"subject": "03"}'}
    shard(tmp_path / "cat12vbm" / "ds000002" / "shard-000001.tar", more)
    return tmp_path / "cat12vbm", maps


def test_they_become_packed_arrays_of_the_workflow(folder, tmp_path):
    root, maps = folder
    people = pd.DataFrame(
        {"dataset_id": ["ds000001"] * 2 + ["ds000002", "ds000009"], "subject": ["sub-01", "02", "01", "7"]}
    )
    people = people.assign(session="ses-1", run=[1, 1, 1, None], age=[20, 30, 40, 50])
    write_tsv(tmp_path / "people.tsv", people)
    words = ["--people", str(tmp_path / "people.tsv"), "--out-dir", str(tmp_path / "out")]
    assert main(["pretrain", "shards", str(root), *words]) == 0
    packed = open_arrays(tmp_path / "out")
    rows = packed.rows.set_index("scan")
    assert rows.index[0] == "sub-ds00000101/ses-1/anat/sub-ds00000101_ses-1_run-1"
    assert rows["participant_id"].tolist() == [f"sub-ds00000{d}0{n}" for d in (1, 2) for n in (1, 2)]
    assert rows["age"].tolist()[:3] == [20, 30, 40] and rows["age"].isna().tolist() == [False, False, False, True]
    assert rows["quality"].tolist() == [1.5, 2.5, 1.5, 2.5] and "roi" not in rows
    # As stored the first axis leads to the left.
    assert AFFINES["vbm"][0, 0] < 0
    np.testing.assert_allclose(packed.true(2), maps["ds000002/1"][::-1], atol=1e-3)
    excluded = read_tsv(tmp_path / "out" / "excluded.tsv")
    assert excluded["participant_id"].tolist() == ["sub-ds00000203"] and "gm.npy" in excluded["reason"].iloc[0]
    assert len(build_index(tmp_path / "out", Options(maps="packed")).scans) == 4


def test_a_nifti_brings_its_grid_and_a_key_its_names(tmp_path, rng):
    volume, affine = rng.uniform(0.1, 1, SHAPE).astype(np.float32), np.diag([2.0, 2, 2, 1])
    image = gzip.compress(nib.Nifti1Image(volume, affine).to_bytes())
    file = shard(tmp_path / "a.tar", {"x/sub-07_ses-02_T1w.nii.gz": image, "x/sub-07_ses-02_T1w.tsv": b"1"})
    assert pack_shards([file], tmp_path / "out", map_name="quasi-raw")["voxel_mm"] == 2.0
    packed = open_arrays(tmp_path / "out")
    assert packed.rows["scan"].tolist() == ["sub-07/ses-02/anat/sub-07_ses-02"]
    assert packed.meta["affine"] == affine.tolist()


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    whole = npy(np.ones(SHAPE, np.float32))
    evil = npy(np.array([Evil()], dtype=object))
    files = {"a.npy": whole, "a.pyd": pickle.dumps(Evil()), "b.npy": evil, "b.pkl": pickle.dumps(Evil())}
    pack_shards([shard(tmp_path / "a.tar", files)], tmp_path / "out")
    assert not (tmp_path / "executed").exists() and len(open_arrays(tmp_path / "out").rows) == 1
    assert "cannot be read" in read_tsv(tmp_path / "out" / "excluded.tsv")["reason"].iloc[0]


def test_what_cannot_be_told_is_said(folder, tmp_path):
    root, _ = folder
    with pytest.raises(InputError, match="does not exist"):
        pack_shards([tmp_path / "none.tar"], tmp_path / "out")
    (tmp_path / "text.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="as a tar"):
        pack_shards([tmp_path / "text.tar"], tmp_path / "out")
    two = shard(tmp_path / "two.tar", {"a.gm.npy": npy(np.ones(SHAPE)), "a.wm.npy": npy(np.ones(SHAPE))})
    with pytest.raises(InputError, match=r"several maps: gm\.npy, wm\.npy.*--field"):
        pack_shards([two], tmp_path / "out")
    assert pack_shards([two], tmp_path / "out", field="wm.npy")["map"] == "vbm"
    with pytest.raises(InputError, match="no sample has a file ending in"):
        pack_shards([two], tmp_path / "out", field="csf.npy")
    with pytest.raises(InputError, match="have the name of another"):
        pack_shards([root, root], tmp_path / "out")
    write_tsv(tmp_path / "people.tsv", pd.DataFrame({"subject": ["77"], "age": [1.0]}))
    with pytest.raises(InputError, match="no row matches a sample"):
        pack_shards([root], tmp_path / "out", people=tmp_path / "people.tsv")
