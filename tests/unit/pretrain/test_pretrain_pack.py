"""Packing: axes, crop, anti-aliasing, exclusions, the written form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.cli.main import main
from anatcl.pretrain.arrays import array_meta, check_contract, open_arrays, write_arrays
from anatcl.pretrain.pack import CAT12_SHAPE, normalise, pack, plan_grid, read_ras, to_grid

nib = pytest.importorskip("nibabel")
SHAPE = (7, 8, 9)
AFFINE = np.array([[2.0, 0, 0, -7], [0, 2, 0, -8], [0, 0, 2, -9], [0, 0, 0, 1]])


def write_maps(folder: Path, n: int = 3, shape=SHAPE, affine=AFFINE) -> tuple[pd.DataFrame, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    scans, volumes = [], []
    for i in range(n):
        scan = f"sub-{i}/anat/sub-{i}"
        path = folder / f"{scan}_space-T_label-GM_desc-modulated_probseg.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = rng.uniform(0, 1.5, shape).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, affine), path)
        scans.append({"scan": scan, "participant_id": f"sub-{i}", "age": 20 + i})
        volumes.append(volume)
    return pd.DataFrame(scans), volumes


def test_round_trip(tmp_path):
    scans, volumes = write_maps(tmp_path)
    pack(scans.iloc[::-1], tmp_path, tmp_path / "arrays", template="T")
    arrays = open_arrays(tmp_path / "arrays")
    assert arrays.volumes.dtype == np.float16 and arrays.volumes.shape == (3, *SHAPE)
    assert arrays.rows["scan"].tolist() == sorted(scans["scan"])
    for i, volume in enumerate(volumes):
        np.testing.assert_allclose(arrays.true(i), volume, atol=1e-3)
    assert arrays.meta["crop"] == [[0, 7], [0, 8], [0, 9]] and arrays.meta["map"] == "vbm"
    np.testing.assert_allclose(arrays.meta["affine"], AFFINE)


@pytest.mark.parametrize("codes", ["LPS", "SRA", "PIR"])
def test_any_axis_order_becomes_ras(tmp_path, codes):
    _scans, volumes = write_maps(tmp_path, 1)
    path = next(tmp_path.rglob("*.nii.gz"))
    image = nib.load(path)
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(image.as_reoriented(change), path)
    volume, affine = read_ras(path)
    np.testing.assert_array_equal(volume, volumes[0])
    np.testing.assert_allclose(affine, AFFINE)


def test_published_crop_of_the_cat12_grid():
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = [-90, -126, -72]
    grid = plan_grid(CAT12_SHAPE, affine)
    assert grid.shape == (121, 128, 121)
    np.testing.assert_allclose(grid.affine[:3, 3], [-90, -126 + 8 * 1.5, -72])
    volume = np.arange(np.prod(CAT12_SHAPE), dtype=np.float32).reshape(CAT12_SHAPE)
    np.testing.assert_array_equal(to_grid(volume, grid), volume[:, 8:136, :])


def test_downsampling_keeps_positions_in_mm():
    """A linear ramp in mm stays the same ramp at the new voxels' centres."""
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = [-20, 10, 3]
    shape = (40, 44, 36)
    grid = plan_grid(shape, affine, 4.0)
    assert grid.shape == (15, 16, 13)
    x, y, z = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    ramp = (affine[0, 0] * x + affine[0, 3]) + 2 * (affine[1, 1] * y) - 3 * (affine[2, 2] * z)
    found = to_grid(ramp.astype(np.float32), grid)
    i, j, k = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    a = grid.affine
    expected = (
        (a[0, 0] * i + a[0, 3])
        + 2 * (a[1, 1] * j + a[1, 3] - affine[1, 3])
        - 3 * (a[2, 2] * k + a[2, 3] - affine[2, 3])
    )
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-2)


def test_downsampling_does_not_alias():
    """A checkerboard, the finest pattern there is, becomes its mean."""
    board = (np.indices((30, 32, 28)).sum(0) % 2).astype(np.float32)
    grid = plan_grid(board.shape, np.diag([1.0, 1, 1, 1]), 4.0)
    inner = to_grid(board, grid)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0.5, atol=0.01)


def test_maps_are_not_refined(caplog):
    grid = plan_grid(SHAPE, AFFINE, 1.0)
    assert grid.shape == SHAPE and "not refined" in caplog.text


def test_dropped_scans_reach_the_table_of_the_report(tmp_path):
    """By the commands that the rules run: pack, then the joined table."""
    scans, _ = write_maps(tmp_path, 4)
    write_tsv(tmp_path / "scans.tsv", scans)
    first, second = sorted(tmp_path.rglob("*.nii.gz"))[:2]
    first.write_bytes(b"")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE), second)
    arrays, joined = tmp_path / "arrays", tmp_path / "excluded.tsv"
    words = ["pretrain", "pack", "--scans", f"{tmp_path}/scans.tsv", "--maps-dir", str(tmp_path), "--template", "T"]
    assert main([*words, "--out-dir", str(arrays)]) == 0
    assert main(["report", "excluded", "--tables", f"{arrays}/excluded.tsv", "--out", str(joined)]) == 0
    table = read_tsv(joined)
    assert table["scan"].tolist() == ["sub-0/anat/sub-0", "sub-1/anat/sub-1"]
    assert (table["stage"] == "pretrain pack").all() and table["participant_id"].tolist() == ["sub-0", "sub-1"]
    assert table[["reason", "file", "remedy"]].notna().all(axis=None)


def test_nothing_to_pack_says_so_and_names_every_map(tmp_path, caplog):
    scans, _ = write_maps(tmp_path, 2)
    for path in tmp_path.rglob("*.nii.gz"):
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE), path)
    with pytest.raises(InputError, match=r"no scan has a usable map.*lines above"):
        pack(scans, tmp_path, tmp_path / "arrays", template="T")
    assert all(name in caplog.text for name in ("sub-0", "sub-1"))


def test_bad_maps_are_listed_and_the_rest_goes_on(tmp_path):
    scans, volumes = write_maps(tmp_path, 6)
    paths = sorted(tmp_path.rglob("*.nii.gz"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE), paths[2])
    nib.save(nib.Nifti1Image(np.ones((7, 8, 10), np.float32), AFFINE), paths[3])
    pack(scans, tmp_path, tmp_path / "arrays", template="T", threads=2)
    excluded = read_tsv(tmp_path / "arrays/excluded.tsv")
    assert excluded["scan"].tolist() == scans["scan"].tolist()[:4]
    assert excluded["remedy"].notna().all() and (excluded["stage"] == "pretrain pack").all()
    arrays = open_arrays(tmp_path / "arrays")
    assert arrays.rows["scan"].tolist() == scans["scan"].tolist()[4:]
    np.testing.assert_allclose(arrays.true(1), volumes[5], atol=1e-3)


def test_nothing_usable(tmp_path):
    scans, _ = write_maps(tmp_path, 1)
    with pytest.raises(InputError, match="no map"):
        pack(scans, tmp_path / "elsewhere", tmp_path / "arrays", template="T")


def test_uint8_and_its_scale(tmp_path):
    scans, volumes = write_maps(tmp_path)
    pack(scans, tmp_path, tmp_path / "arrays", template="T", dtype="uint8")
    arrays = open_arrays(tmp_path / "arrays")
    assert arrays.volumes.dtype == np.uint8 and arrays.scale == pytest.approx(2 / 255)
    np.testing.assert_allclose(arrays.true(0), volumes[0], atol=1 / 255)


def test_explicit_crop_and_other_file_names(tmp_path):
    scans, volumes = write_maps(tmp_path, 2)
    pattern = "{scan}_space-{template}_label-GM_desc-modulated_probseg.nii.gz"
    pack(scans, tmp_path, tmp_path / "a", template="T", crop=[[1, 6], [0, 8], [2, 99]], pattern=pattern)
    arrays = open_arrays(tmp_path / "a")
    np.testing.assert_allclose(arrays.true(1), volumes[1][1:6, :, 2:], atol=1e-3)
    assert arrays.meta["affine"][0][3] == AFFINE[0, 3] + 2


def test_quasi_raw_is_divided_by_its_brain_mean():
    volume = np.zeros(SHAPE, np.float32)
    volume[2:5, 2:6, 3:7] = np.random.default_rng(0).uniform(100, 900, (3, 4, 4))
    scaled = normalise(volume, "brain-mean")
    assert scaled[scaled > 0].mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_array_equal(normalise(volume, "none"), volume)


def test_packing_twice_gives_the_same_bytes(tmp_path):
    scans, _ = write_maps(tmp_path)
    for name in "ab":
        pack(scans, tmp_path, tmp_path / name, template="T", voxel_mm=3.0)
    for file in ("volumes.npy", "rows.tsv", "arrays.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_incomplete_or_contradictory_folders_are_refused(tmp_path):
    rows = pd.DataFrame({"scan": ["a", "b"]})
    write_arrays(tmp_path, [np.ones(SHAPE)] * 2, rows, array_meta(SHAPE, AFFINE, "vbm", []))
    open_arrays(tmp_path)
    meta = json.loads((tmp_path / "arrays.json").read_text())
    (tmp_path / "arrays.json").write_text(json.dumps(meta | {"n": 3}))
    with pytest.raises(InputError, match="says"):
        open_arrays(tmp_path)
    (tmp_path / "rows.tsv").unlink()
    with pytest.raises(InputError, match=r"rows\.tsv is missing"):
        open_arrays(tmp_path)


def test_contract():
    meta = array_meta(SHAPE, AFFINE, "vbm", [])
    check_contract(meta, meta, "here")
    for change in ({"shape": [9, 8, 7]}, {"map": "quasi-raw"}, {"affine": np.eye(4).tolist()}, {"axes": "LPS"}):
        with pytest.raises(InputError, match=next(iter(change))):
            check_contract(meta, meta | change, "here")
