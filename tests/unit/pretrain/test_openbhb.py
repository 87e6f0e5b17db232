"""OpenBHB layouts, in small files of unequal axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.measures.openbhb import CHANNELS, REGIONS
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.cohort import load_cohort
from anatcl.pretrain.openbhb import AFFINES, read_ramp, read_tree
from anatcl.spec.openbhb import MASKS, SUFFIX

nib = pytest.importorskip("nibabel")
SHAPE = (7, 8, 9)
LAS = np.array([[-1.5, 0, 0, 90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])
PEOPLE = ("100010", "200020", "300030")


def measures(rng, regions: int) -> np.ndarray:
    data = rng.uniform(500, 3000, (len(CHANNELS), regions))
    data[CHANNELS.index("thickness")] = rng.uniform(2, 3, regions)
    return data


def participants(extra=()) -> pd.DataFrame:
    columns = {"participant_id": PEOPLE, "age": (21.5, 33.0, 47.25), "sex": ("male", "female", "male")}
    return pd.DataFrame({**columns, "siteXacq": (1, 2, 1), "split": ("train", "train", "internal_test")})


@pytest.fixture
def tree(tmp_path, rng):
    """Layout 1 and 2: a file per subject, measures beside it."""
    volumes, rois = {}, {}
    for person in PEOPLE:
        folder = tmp_path / f"train/derivatives/sub-{person}/ses-1"
        folder.mkdir(parents=True)
        volumes[person] = rng.uniform(0, 1, SHAPE).astype(np.float32)
        rois[person] = measures(rng, 68)
        np.save(folder / f"sub-{person}{SUFFIX['vbm']}", volumes[person][None, None])
        np.save(folder / f"sub-{person}{SUFFIX['desikan']}", rois[person][None])
    participants().to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    return tmp_path, volumes, rois


def test_tree(tree):
    root, volumes, rois = tree
    meta = read_tree(root, root / "out", affine=LAS)
    arrays = open_arrays(root / "out")
    assert arrays.rows["participant_id"].tolist() == [f"sub-{p}" for p in PEOPLE]
    assert arrays.rows["sex"].tolist() == ["M", "F", "M"] and arrays.rows["site"].tolist() == [1, 2, 1]
    for i, person in enumerate(PEOPLE):
        np.testing.assert_allclose(arrays.true(i), volumes[person][::-1], atol=1e-3)
    # Stored voxel 6 of the first axis lies furthest left: it is voxel 0 in RAS, at the same place in mm.
    assert meta["axes"] == "RAS" and meta["affine"][0] == [1.5, 0, 0, 90 - 1.5 * 6]
    table = read_tsv(root / "out/measures.tsv")
    assert table["thickness_lh_insula"].iloc[0] == pytest.approx(rois[PEOPLE[0]][2, REGIONS.index("insula")], rel=1e-5)
    assert table["area_rh_bankssts"].iloc[2] == pytest.approx(rois[PEOPLE[2]][0, 34], rel=1e-5)
    cohort = load_cohort(arrays, root / "out/measures.tsv", "split == 'train'")
    assert cohort.measures.shape == (2, 68, 3) and np.isfinite(cohort.measures).all()


def test_published_grid_is_cropped(tmp_path, rng):
    folder = tmp_path / "sub-1/ses-1"
    folder.mkdir(parents=True)
    volume = np.zeros((121, 145, 121), np.float32)
    volume[10, 20, 30] = 1
    np.save(folder / f"sub-1{SUFFIX['vbm']}", volume[None, None])
    meta = read_tree(tmp_path, tmp_path / "out")
    assert meta["shape"] == [121, 128, 121]
    assert open_arrays(tmp_path / "out").true(0)[120 - 10, 20 - 8, 30] == 1
    affine = np.array(meta["affine"])
    place = affine @ [110, 12, 30, 1]
    np.testing.assert_allclose(place, AFFINES["vbm"] @ [10, 20, 30, 1])


def ramp(root, rng, transpose=False):
    mask = rng.uniform(0, 1, SHAPE)
    mask[mask < 0.3] = 0.01
    name, threshold = MASKS["vbm"]
    nib.save(nib.Nifti1Image(mask.astype(np.float32), LAS), root / name)
    inside = mask.astype(np.float32) > threshold
    blocks = {"vbm": int(inside.sum()), "quasi-raw": 11, "xhemi": 24, "vbm_roi": 5, "desikan": 7 * 68, "destrieux": 14}
    volumes = {}
    for split, n in (("train", 2), ("internal_test", 3)):
        rows = rng.uniform(0, 1, (n, sum(blocks.values()))).astype(np.float32)
        start = blocks["vbm"] + 11 + 24 + 5
        for row in rows:
            row[start : start + 476] = measures(rng, 68).ravel()
        volumes[split] = np.zeros((n, *SHAPE), np.float32)
        for volume, row in zip(volumes[split], rows, strict=True):
            volume[inside] = row[: blocks["vbm"]]
        np.save(root / f"{split}.npy", rows)
        age = 20.0 + np.arange(n)
        pd.DataFrame({"age": age, "site": 3, "split": split}).to_csv(root / f"{split}.tsv", sep="\t", index=False)
    return blocks, volumes


def test_ramp_rows(tmp_path, rng):
    blocks, volumes = ramp(tmp_path, rng)
    read_ramp(tmp_path, tmp_path / "out", tmp_path, blocks=blocks)
    arrays = open_arrays(tmp_path / "out")
    expected = np.concatenate([volumes["train"], volumes["internal_test"]])[:, ::-1]
    for i, volume in enumerate(expected):
        np.testing.assert_allclose(arrays.true(i), volume, atol=1e-3)
    assert arrays.rows["split"].tolist() == ["train"] * 2 + ["internal_test"] * 3
    assert arrays.rows["age"].tolist() == [20, 21, 20, 21, 22]
    rows = np.load(tmp_path / "train.npy")
    start = blocks["vbm"] + 40
    table = read_tsv(tmp_path / "out/measures.tsv").set_index("participant_id")
    first = arrays.rows["participant_id"][0]
    assert table.loc[first, "volume_lh_bankssts"] == pytest.approx(rows[0, start + 68], rel=1e-5)
    cohort = load_cohort(arrays, tmp_path / "out/measures.tsv")
    assert np.isfinite(cohort.measures).all() and len(cohort) == 5


def test_what_does_not_fit_is_said(tmp_path, rng):
    blocks, _ = ramp(tmp_path, rng)
    with pytest.raises(InputError, match="block 519,945 columns"):
        read_ramp(tmp_path, tmp_path / "out", tmp_path)
    with pytest.raises(InputError, match="cannot be a thickness"):
        order = {k: blocks[k] for k in ("vbm", "desikan", "quasi-raw", "xhemi", "vbm_roi", "destrieux")}
        read_ramp(tmp_path, tmp_path / "out", tmp_path, blocks=order)
    with pytest.raises(InputError, match="rows have shape"):
        read_ramp(tmp_path, tmp_path / "out", tmp_path, blocks={**blocks, "xhemi": 25})
    with pytest.raises(InputError, match="mask is missing"):
        read_ramp(tmp_path, tmp_path / "out", tmp_path / "nowhere", blocks=blocks)
    with pytest.raises(InputError, match="is there"):
        read_ramp(tmp_path / "out", tmp_path / "out2", tmp_path)
    with pytest.raises(InputError, match="below the folder"):
        read_tree(tmp_path, tmp_path / "out")


def test_published_row_length():
    from anatcl.pretrain.openbhb import BLOCKS

    assert sum(BLOCKS.values()) == 3_659_572 and len(set(REGIONS)) == 34


def test_pickled_arrays_are_refused(tmp_path):
    folder = tmp_path / "sub-1"
    folder.mkdir()
    np.save(folder / f"sub-1{SUFFIX['vbm']}", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="objects"):
        read_tree(tmp_path, tmp_path / "out")
