from __future__ import annotations

import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import standard

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.simulate.dataset import simulate_dataset, write_nifti

NAME = re.compile(r"^(sub-\d+)(_ses-\d+)?(_acq-[a-z]+)?(_run-\d+)?_T1w\.(nii\.gz|json)$")


def truth(dataset, scan, suffix):
    return nib.load(dataset / "sourcedata" / "truth" / f"{scan}_{suffix}.nii.gz")


def table(dataset):
    return read_tsv(dataset / "sourcedata" / "truth" / "scans.tsv")


def regional(dataset):
    rows = [read_tsv(dataset / "sourcedata" / "truth" / f"{s}_regions.tsv").assign(scan=s) for s in table(dataset).scan]
    return pd.concat(rows)


def test_names_are_bids(dataset):
    files = [p for p in dataset.glob("sub-*/**/*") if p.is_file() and not p.name.endswith("_sessions.tsv")]
    assert len(files) == 22
    for path in files:
        assert NAME.match(path.name), path.name
        assert path.parent.name == "anat"
        folders = path.relative_to(dataset).parts[:-2]
        assert path.name.startswith("_".join(folders))
    assert read_json(dataset / "dataset_description.json")["DatasetType"] == "raw"
    people = read_tsv(dataset / "participants.tsv")
    assert list(people) == ["participant_id", "age", "sex", "site", "diagnosis", "score"]
    assert set(people.columns[1:]) == set(read_json(dataset / "participants.json"))
    assert (people.participant_id == sorted(p.name for p in dataset.glob("sub-*"))).all()
    sessions = read_tsv(dataset / "sub-008" / "sub-008_sessions.tsv")
    assert sessions.age.iloc[0] == people.age.iloc[7] < sessions.age.iloc[1]


def test_images_load_with_mixed_orientations_and_types(dataset):
    codes, types = set(), set()
    for path in dataset.glob("sub-*/**/*.nii.gz"):
        image = nib.load(path)
        data = image.get_fdata()
        assert data.ndim == 3
        assert len(set(data.shape)) == 3
        assert np.isfinite(data).all()
        assert 400 < np.percentile(data, 95) < 1000
        assert image.header["qform_code"] == image.header["sform_code"] == 1
        np.testing.assert_allclose(image.header.get_zooms(), 7, rtol=1e-5)
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-3)
        codes.add(nib.aff2axcodes(image.affine))
        types.add(image.get_data_dtype().name)
    assert len(codes) >= 3
    assert types == {"int16", "uint8"}


def test_masks_are_nested_and_volumes_are_those_of_the_table(dataset):
    for row in table(dataset).itertuples():
        brain, icv = (np.asarray(truth(dataset, row.scan, f"desc-{n}_mask").dataobj) for n in ("brain", "icv"))
        assert not (brain & ~icv.astype(bool)).any()
        assert row.tiv_mm3 == pytest.approx(icv.sum() * 343, rel=1e-5)
        assert row.brain_mm3 == pytest.approx(brain.sum() * 343, rel=1e-5)
        assert 1.05 < row.tiv_mm3 / row.brain_mm3 < 1.2
        tissues = [truth(dataset, row.scan, f"label-{n}_probseg").get_fdata() for n in ("GM", "WM", "CSF")]
        assert np.stack(tissues).sum(axis=0).max() < 1.02
        for name, tissue in zip(("gm", "wm", "csf"), tissues, strict=True):
            assert tissue.sum() * 343 == pytest.approx(getattr(row, f"{name}_mm3"), rel=0.005)


def test_labels_are_those_of_the_table(dataset):
    for scan in table(dataset).scan:
        rows = read_tsv(dataset / "sourcedata" / "truth" / f"{scan}_regions.tsv")
        labels = np.asarray(truth(dataset, scan, "atlas-DesikanKilliany_dseg").dataobj)
        counted = np.bincount(labels.ravel(), minlength=84)[1:] * 343
        np.testing.assert_allclose(rows.label_mm3, counted)
        parts = rows.factor_age * rows.factor_diagnosis * rows.factor_person
        np.testing.assert_allclose(rows.factor, parts, rtol=1e-4)


def test_the_cortex_follows_its_factor(dataset):
    rows = regional(dataset).dropna(subset="thickness_mm")
    mean = rows.groupby("scan")[["factor", "volume_mm3"]].mean().join(table(dataset).set_index("scan").tiv_mm3)
    assert np.corrcoef(mean.factor, mean.volume_mm3 / mean.tiv_mm3)[0, 1] > 0.9


def test_patients_have_thinner_cortex_in_the_named_regions_only(dataset):
    rows = regional(dataset).merge(table(dataset)[["scan", "severity"]], on="scan")
    ill = rows[rows.severity > 0]
    named = ill[ill.factor_diagnosis < 1].region.str.replace(r"^[lr]h_", "", regex=True).unique()
    assert "entorhinal" in named
    assert "pericalcarine" not in named
    assert (rows[rows.severity == 0].factor_diagnosis == 1).all()


def test_sessions_of_a_person_share_the_head(dataset):
    rows = table(dataset).groupby("participant_id").tiv_mm3.agg(["count", "min", "max"])
    twice = rows[rows["count"] == 2]
    assert len(twice) == 3
    assert (twice["max"] / twice["min"] < 1.01).all()


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_people(dataset, tmp_path):
    simulate_dataset(tmp_path / "few", participants=2, voxel_mm=7, seed=3)
    files = [p for p in (tmp_path / "few").rglob("*_*.*") if p.is_file() and "sub-" in p.name]
    assert len(files) == 3 * 11 + 1
    for path in files:
        assert path.read_bytes() == (dataset / path.relative_to(tmp_path / "few")).read_bytes(), path.name
    simulate_dataset(tmp_path / "other", participants=1, voxel_mm=7, seed=4)
    image = "sub-001/ses-1/anat/sub-001_ses-1_T1w.nii.gz"
    assert (tmp_path / "other" / image).read_bytes() != (dataset / image).read_bytes()


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(dataset, tmp_path):
    copy = tmp_path / "bids"
    shutil.copytree(dataset, copy)
    missing = copy / "sub-001/ses-1/anat/sub-001_ses-1_T1w.nii.gz"
    missing.unlink()
    kept = copy / "sub-002/ses-1/anat/sub-002_ses-1_T1w.nii.gz"
    before = kept.stat().st_mtime_ns
    simulate_dataset(copy, participants=8, voxel_mm=7, seed=3)
    assert missing.read_bytes() == (dataset / missing.relative_to(copy)).read_bytes()
    assert kept.stat().st_mtime_ns == before
    times = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
    simulate_dataset(copy, participants=8, voxel_mm=7, seed=3)
    assert times == {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}


def test_overwrite_replaces_what_was_simulated_and_nothing_else(tmp_path):
    simulate_dataset(tmp_path, participants=1, voxel_mm=12)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"other settings.*--overwrite"):
        simulate_dataset(tmp_path, participants=1, voxel_mm=11)
    simulate_dataset(tmp_path, participants=1, voxel_mm=11, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    image = nib.load(tmp_path / "sub-001/ses-1/anat/sub-001_ses-1_T1w.nii.gz")
    assert image.header.get_zooms()[0] == pytest.approx(11)


def test_a_folder_with_other_contents_is_refused(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"not empty\. Name a folder"):
            simulate_dataset(tmp_path, participants=1, voxel_mm=12, overwrite=overwrite)
    with pytest.raises(InputError, match="a file, not a folder"):
        simulate_dataset(tmp_path / "participants.tsv", participants=1, voxel_mm=12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"participants": 0}, "0 participants.*1 to 999"),
        ({"voxel_mm": 0.5}, "0.5 mm.*1 to 12 mm"),
        ({"voxel_mm": float("nan")}, "nan mm.*1 to 12 mm"),
        ({"seed": -1}, "negative"),
        ({"jobs": 0}, "0 jobs"),
    ],
)
def test_settings_out_of_range_get_a_sentence(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        simulate_dataset(tmp_path / "new", **settings)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("slope", [1.0, 0.25])
def test_integers_are_written_as_they_are(tmp_path, rng, slope):
    stored = rng.integers(0, 255, (7, 8, 9)).astype(np.uint8)
    write_nifti(tmp_path / "x.nii.gz", stored, np.diag([2.0, 3, 4, 1]), slope)
    image = nib.load(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(image.dataobj.get_unscaled(), stored)
    np.testing.assert_allclose(image.get_fdata(), stored * slope)


def test_the_validator_of_the_standard_finds_no_error(dataset):
    found = standard.issues(dataset)
    assert found["error"] == set()
    assert not any("VERSION" in code and "HED" not in code for code, _ in found["warning"])
