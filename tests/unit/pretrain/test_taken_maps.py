"""Maps that other programs made: found by their names, packed, and trained on without measures or with FreeSurfer's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.bids.derivatives import find_maps
from anatcl.measures.taken import take_measures
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.taken import pack_maps
from tests.unit.measures.test_measures_freesurfer import APARC, ASEG

nib = pytest.importorskip("nibabel")
AFFINE = np.array([[-1.5, 0, 0, 90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])
SCANS = ("sub-01/anat/sub-01", "sub-02/ses-1/anat/sub-02_ses-1", "sub-03/anat/sub-03_run-1", "sub-04/anat/sub-04")
# As CAT12 leaves them in a BIDS tree, as brainprep, flat and compressed, and by BIDS names.
FILES = (
    "sub-01/anat/mri/mwp1sub-01_T1w.nii",
    "sub-02/ses-1/anat/mri/mwp1usub-02_ses-1_T1w.nii",
    "mwp1sub-03_run-1_T1w_desc-sanlm.nii.gz",
    "sub-04/anat/sub-04_space-MNI152NLin2009cAsym_label-GM_desc-modulated_probseg.nii.gz",
)


def rows(scans=SCANS) -> pd.DataFrame:
    people = [scan.split("/")[0] for scan in scans]
    return pd.DataFrame(
        {"scan": scans, "participant_id": people, "session_id": None, "age": range(20, 20 + len(scans))}
    )


@pytest.fixture
def folder(tmp_path, rng):
    """A map of each scan, by another habit each, and files that are none."""
    volumes = {}
    for scan, name in zip(SCANS, FILES, strict=True):
        path = tmp_path / "maps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        volumes[scan] = rng.uniform(0, 1, (7, 8, 9)).astype(np.float32)
        nib.save(nib.Nifti1Image(volumes[scan], AFFINE), path)
    for other in ("mwp2sub-01_T1w.nii", "p1sub-01_T1w.nii", "sub-01_label-GM_probseg.nii.gz", "mwp1sub-01_T1w.json"):
        (tmp_path / "maps" / other).touch()
    return tmp_path / "maps", volumes


def test_maps_are_found_by_every_habit(folder):
    root, _ = folder
    assert find_maps(root, SCANS) == {scan: root / name for scan, name in zip(SCANS, FILES, strict=True)}
    assert list(find_maps(root, [SCANS[0], "sub-09/anat/sub-09"])) == [SCANS[0]]


def test_what_cannot_be_told_is_said(folder, tmp_path):
    root, _ = folder
    with pytest.raises(InputError, match="does not exist"):
        find_maps(tmp_path / "nowhere", SCANS)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"mwp1sub-\*\.nii"):
        find_maps(tmp_path / "bare", SCANS)
    with pytest.raises(InputError, match="none of its maps belongs"):
        find_maps(root, ["sub-09/anat/sub-09"])
    (root / "mwp1sub-04_T1w.nii").touch()
    with pytest.raises(InputError, match="sub-04 has two maps"):
        find_maps(root, SCANS)


def test_they_are_packed_and_those_without_one_are_listed(folder, tmp_path):
    root, volumes = folder
    pack_maps(rows((*SCANS, "sub-05/anat/sub-05")), root, tmp_path / "arrays", dtype="float32")
    arrays = open_arrays(tmp_path / "arrays")
    assert arrays.rows["scan"].tolist() == list(SCANS) and arrays.meta["axes"] == "RAS"
    for i, scan in enumerate(SCANS):
        np.testing.assert_allclose(arrays.true(i), volumes[scan][::-1])
    left = read_tsv(tmp_path / "arrays" / "excluded.tsv")
    assert left["scan"].tolist() == ["sub-05/anat/sub-05"] and "no map" in left["reason"][0]


def test_without_freesurfer_nothing_is_known_of_regions(folder, tmp_path):
    write_tsv(tmp_path / "scans.tsv", rows())
    paths = {f"out_{key}": tmp_path / f"{key}.tsv" for key in ("dictionary", "reliability", "quality")}
    table = take_measures(tmp_path / "scans.tsv", folder[0], "maps", tmp_path / "m" / "measures.tsv", **paths)
    assert table["scan"].tolist() == sorted(SCANS) and list(table) == ["scan", "participant_id", "session_id"]


def test_with_freesurfer_regions_are_its_own(folder, tmp_path):
    stats = tmp_path / "subjects" / "sub-01" / "stats"
    stats.mkdir(parents=True)
    for side in ("lh", "rh"):
        (stats / f"{side}.aparc.stats").write_text(APARC)
    (stats / "aseg.stats").write_text(ASEG)
    write_tsv(tmp_path / "scans.tsv", rows())
    paths = {f"out_{key}": tmp_path / f"{key}.tsv" for key in ("dictionary", "reliability", "quality")}
    given = {"freesurfer": tmp_path / "subjects", **paths}
    table = take_measures(tmp_path / "scans.tsv", folder[0], "maps", tmp_path / "m" / "measures.tsv", **given)
    assert table["scan"].tolist() == sorted(SCANS)
    known = table.filter(like="thickness_lh").notna().any(axis=1)
    assert known.tolist() == [True, False, False, False] and table["tiv_mm3"].notna().tolist() == known.tolist()
