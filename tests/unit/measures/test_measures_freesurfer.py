import shutil

import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.measures import freesurfer, tables

APARC = """# Table of FreeSurfer cortical parcellation anatomical statistics
# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg ThickStd MeanCurv GausCurv FoldInd CurvInd
bankssts   2201   1584   3811  2.451 0.476     0.127     0.021       23     1.8
insula     3000   2100      0  3.000 0.600     0.130     0.020       20     2.0
"""
APARC += "".join(f"region{i:02}   3000   2100   6500  2.600 0.600  0.130  0.020  20  2.0\n" for i in range(32))
ASEG = """# Measure TotalGray, TotalGrayVol, Total gray matter volume, 710825.25, mm^3
# Measure CerebralWhiteMatter, CerebralWhiteMatterVol, Total cerebral white matter volume, 494916.5, mm^3
# Measure EstimatedTotalIntraCranialVol, eTIV, Estimated Total Intracranial Volume, 1560838.76, mm^3
  1   4      3820     4245.9  Left-Lateral-Ventricle            30.4424    13.2599     7.0000    83.0000    76.0000
  3   7     15218    15921.7  Left-Cerebellum-White-Matter      83.0076     6.6311    29.0000    96.0000    67.0000
 20  46     14605    15320.5  Right-Cerebellum-White-Matter     83.8511     6.3153    27.0000    96.0000    69.0000
 12  17      4418     4280.4  Left-Hippocampus                  63.5509     7.5974    22.0000    92.0000    70.0000
 23  49      7142     6806.7  Right-Thalamus                    83.4105    10.4588    32.0000   104.0000    72.0000
"""
ASEG += "".join(
    f" 30  50  7000  6900.5  {side}-{name}  83.4  10.4  32.0  104.0  72.0\n"
    for side in ("Left", "Right")
    for name in freesurfer.STRUCTURES
    if f"{side}-{name}" not in ASEG and name not in ("Thalamus", "Thalamus-Proper")
)


@pytest.fixture
def subjects(tmp_path):
    stats = tmp_path / "subjects" / "sub-1" / "stats"
    stats.mkdir(parents=True)
    for side in ("lh", "rh"):
        (stats / f"{side}.aparc.stats").write_text(APARC)
    (stats / "aseg.stats").write_text(ASEG)
    return tmp_path / "subjects"


def test_numbers_are_those_of_the_files(subjects):
    row = tables.widen(freesurfer.read(subjects / "sub-1", "sub-1/anat/sub-1"))
    assert row["thickness_lh_bankssts"] == 2.451 and row["thicknessstd_rh_bankssts"] == 0.476
    assert row["area_lh_bankssts"] == 1584 and row["volume_lh_bankssts"] == 3811
    assert row["meancurv_lh_bankssts"] == 0.127 and row["curvind_lh_bankssts"] == 1.8
    assert row["tiv_mm3"] == 1560838.76
    assert row["wm_mm3"] == pytest.approx(494916.5 + 15921.7 + 15320.5)
    assert row["volume_lh_hippocampus"] == 4280.4 and row["volume_rh_thalamus"] == 6806.7


def test_an_empty_region_is_flagged(subjects):
    row = tables.widen(freesurfer.read(subjects / "sub-1", "s"))
    assert pd.isna(row["thickness_lh_insula"]) and "empty:lh_insula" in row["flags"]


def test_mixed_cohorts_say_where_each_row_is_from(subjects):
    ours = {
        "scan": "sub-2/anat/sub-2",
        "thickness_lh_bankssts": 2.5,
        "source": "anatcl",
        "thickness_method": "distance",
    }
    own = {**ours, "scan": "sub-1/anat/sub-1", "thickness_lh_bankssts": 9.0}
    scans = pd.DataFrame(
        [("sub-1/anat/sub-1", "sub-1"), ("sub-2/anat/sub-2", "sub-2")], columns=["scan", "participant_id"]
    )
    table, excluded = freesurfer.replace_rows(pd.DataFrame([own, ours]), scans, subjects)
    table = table.set_index("scan")
    assert excluded.empty
    assert "not-from-freesurfer" not in table.loc["sub-1/anat/sub-1", "flags"]
    assert table.loc["sub-2/anat/sub-2", "flags"] == "not-from-freesurfer"
    assert list(table["source"]) == ["freesurfer", "anatcl"]
    assert table.loc["sub-1/anat/sub-1", "thickness_lh_bankssts"] == 2.451
    assert table.loc["sub-2/anat/sub-2", "thickness_lh_bankssts"] == 2.5


def test_sessions_are_told_apart(subjects):
    shutil.copytree(subjects / "sub-1", subjects / "sub-3_ses-2")
    assert freesurfer.find(subjects, "sub-3/ses-2/anat/sub-3_ses-2", "sub-3", "ses-2") == subjects / "sub-3_ses-2"
    assert freesurfer.find(subjects, "sub-3/ses-1/anat/sub-3_ses-1", "sub-3", "ses-1") is None


def test_fastsurfer_is_recognised(subjects):
    stats = subjects / "sub-1" / "stats"
    for side in ("lh", "rh"):
        (stats / f"{side}.aparc.stats").rename(stats / f"{side}.aparc.DKTatlas.mapped.stats")
    (stats / "aseg+DKT.stats").write_text(ASEG)
    assert set(freesurfer.read(subjects / "sub-1", "s")["source"]) == {"fastsurfer"}


@pytest.mark.parametrize("cut", [0, 200])
def test_a_truncated_file_is_named(subjects, cut):
    file = subjects / "sub-1" / "stats" / "rh.aparc.stats"
    file.write_text(APARC[:cut])
    with pytest.raises(InputError, match=r"rh\.aparc\.stats"):
        freesurfer.read(subjects / "sub-1", "s")


def test_missing_folder_and_files_are_named(subjects):
    with pytest.raises(InputError, match="does not exist"):
        freesurfer.find(subjects / "nowhere", "s", "sub-1")
    (subjects / "sub-1" / "stats" / "aseg.stats").unlink()
    with pytest.raises(InputError, match=r"none of \['aseg.stats'"):
        freesurfer.read(subjects / "sub-1", "s")


def test_real_statistics(shared_data):
    row = tables.widen(freesurfer.read(shared_data / "aomic_sub-0001", "sub-0001/anat/sub-0001"))
    assert row.filter(like="thickness_lh").size + row.filter(like="thickness_rh").size == 68
    assert row["volume_brainstem"] == 22869.8
    assert row.filter(regex="^thickness_[lr]h").between(1.5, 4.5).all()
