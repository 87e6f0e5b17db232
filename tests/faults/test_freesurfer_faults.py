"""FreeSurfer and FastSurfer subjects of every kind: one bad subject costs that subject, and no version is silent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from anatcl.measures import builds, cohort, freesurfer
from anatcl.measures.tables import widen

Say = Callable[[object], None]
HEAD = "# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg ThickStd MeanCurv GausCurv FoldInd CurvInd\n"
NAMES = [f"region{i:02}" for i in range(34)]


def aparc(volume: float = 6800, thickness: float = 2.6, names: list[str] | None = None) -> str:
    rows = [f"{n}  3000  2500  {volume:g}  {thickness:g}  0.6  0.13  0.02  20  2.0" for n in names or NAMES]
    return HEAD + "\n".join(rows) + "\n"


def aseg(
    tiv: str = "EstimatedTotalIntraCranialVol, eTIV",
    white: str = "CerebralWhiteMatter, CerebralWhiteMatterVol",
    top: str = "",
) -> str:
    return f"""{top}# Measure TotalGray, TotalGrayVol, Total gray matter volume, 710825.25, mm^3
# Measure {white}, Total white matter volume, 494916.5, mm^3
# Measure {tiv}, Intracranial Volume, 1560838.5, mm^3
  3   7     15218    15921.5  Left-Cerebellum-White-Matter      83.0   6.6  29.0  96.0  67.0
 20  46     14605    15320.5  Right-Cerebellum-White-Matter     83.8   6.3  29.0  96.0  69.0
""" + "".join(
        f" 30  50  7000  6900.5  {side}-{name}  83.4  10.4  32.0  104.0  72.0\n"
        for side in ("Left", "Right")
        for name in list(freesurfer.STRUCTURES)[1:]
    )


def subject(folder: Path, left: str | None = None, right: str | None = None, seg: str | None = None) -> Path:
    stats = folder / "stats"
    stats.mkdir(parents=True)
    for side, text in (("lh", left), ("rh", right)):
        (stats / f"{side}.aparc.stats").write_text(aparc() if text is None else text)
    (stats / "aseg.stats").write_text(aseg() if seg is None else seg)
    return folder


@pytest.mark.parametrize(
    ("tiv", "white"),
    [
        ("IntraCranialVol, ICV", "CorticalWhiteMatter, CorticalWhiteMatterVol"),  # 5.1
        ("EstimatedTotalIntraCranialVol, eTIV", "CorticalWhiteMatter, CorticalWhiteMatterVol"),  # 5.3
        ("EstimatedTotalIntraCranialVol, eTIV", "CerebralWhiteMatter, CerebralWhiteMatterVol"),  # 6 and later
    ],
    ids=["FreeSurfer 5.1", "FreeSurfer 5.3", "FreeSurfer 6 and later"],
)
def test_names_of_every_version(tiv: str, white: str, tmp_path: Path, see: Say) -> None:
    row = widen(freesurfer.read(subject(tmp_path / "sub-1", seg=aseg(tiv, white)), "s"))
    assert row["tiv_mm3"] == 1560838.5 and row["wm_mm3"] == 494916.5 + 15921.5 + 15320.5
    see("read")


def test_white_matter_of_two_hemispheres_is_added(tmp_path: Path) -> None:
    text = aseg(white="lhCorticalWhiteMatter, lhCorticalWhiteMatterVol").replace(
        "# Measure Est", "# Measure rhCorticalWhiteMatter, rhCorticalWhiteMatterVol, Right, 5083.5, mm^3\n# Measure Est"
    )
    row = widen(freesurfer.read(subject(tmp_path / "sub-1", seg=text), "s"))
    assert row["wm_mm3"] == 494916.5 + 5083.5 + 15921.5 + 15320.5


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("scripts/build-stamp.txt", "freesurfer-Linux-centos6_x86_64-stable-pub-v5.3.0\n", ("freesurfer", "5.3.0")),
        (
            "scripts/build-stamp.txt",
            "freesurfer-linux-ubuntu22_x86_64-7.4.1-20230614-7eb8460\n",
            ("freesurfer", "7.4.1"),
        ),
        ("stats/aseg.stats", "# cvs_version 8.1.0\n", ("freesurfer", "8.1.0")),
        ("stats/aseg.stats", "# cvs_version $Id: mri_segstats.c,v 1.121 2016/05/31 greve $\n", ("freesurfer", "6.0")),
        ("stats/aseg+DKT.stats", "# generating FastSurfer version 2.4.2\n", ("fastsurfer", "2.4.2")),
        ("scripts/build.log", "2.5.1+0a1b2c3 (stable)\n", ("freesurfer", "")),
        ("stats/nothing.stats", "", ("freesurfer", "")),
    ],
)
def test_version_is_read(file: str, text: str, expected: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "sub-1" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert builds.made_by(tmp_path / "sub-1") == expected


def test_fastsurfers_build_log_names_its_version(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "deep-seg.log").write_text("")
    (tmp_path / "scripts" / "build.log").write_text("2.5.1+0a1b2c3 (stable)\n")
    assert builds.made_by(tmp_path) == ("fastsurfer", "2.5.1")


@pytest.mark.parametrize(
    ("version", "bad"),
    [("2.4.2", False), ("2.5.0", True), ("2.5.3", True), ("2.6", True), ("2.6.1", False), ("", False)],
)
def test_known_bad_versions(version: str, bad: bool) -> None:
    assert builds.known_bad("fastsurfer", version) == bad and not builds.known_bad("freesurfer", version)


def unfinished(folder: Path) -> None:
    (folder / "mri").mkdir(parents=True)


def stopped(folder: Path) -> None:
    subject(folder)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "IsRunning.lh+rh").write_text("")


def segmented_only(folder: Path) -> None:
    (folder / "stats").mkdir(parents=True)
    (folder / "stats" / "aseg+DKT.stats").write_text(aseg())


def linked(folder: Path) -> None:
    file = subject(folder) / "stats" / "aseg.stats"
    file.unlink()
    file.symlink_to("../../.git/annex/objects/Xx/MD5E-s1--0.stats/MD5E-s1--0.stats")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no statistics yet": (unfinished, "it is not finished"),
    "stopped": (stopped, "still running"),
    "segmented only": (segmented_only, "--seg_only"),
    "empty cortex": (lambda f: subject(f, left=""), "is incomplete"),
    "empty aseg": (lambda f: subject(f, seg=""), "not a table of segmented structures"),
    "aseg cut in a line": (lambda f: subject(f, seg=aseg()[:-40]), "one of its rows is cut off"),
    "aseg cut between lines": (lambda f: subject(f, seg="\n".join(aseg().splitlines()[:12])), "of 20 subcortical"),
    "aseg cut in a measure": (lambda f: subject(f, seg="# Measure TotalGray"), "cannot be read"),
    "cortex cut between rows": (lambda f: subject(f, right=aparc(names=NAMES[:9])), "34 and 9 cortical regions"),
    "cortex cut in a row": (lambda f: subject(f, right=aparc()[:-7]), "is incomplete"),
    "text among numbers": (lambda f: subject(f, left=aparc().replace("6800", "68OO", 1)), "cannot be read"),
    "no right side": (lambda f: (subject(f) / "stats" / "rh.aparc.stats").unlink(), "there is none of"),
    "not fetched": (lambda f: subject(f, seg="/annex/objects/MD5E-s1--0.stats\n"), "not fetched"),
    "a link not fetched": (linked, "broken symlink"),
    "binary": (lambda f: (subject(f) / "stats" / "lh.aparc.stats").write_bytes(bytes(range(256))), "is incomplete"),
    "collapsed surfaces": (lambda f: subject(f, left=aparc(700), right=aparc(1100)), "cortex measures 61.2 ml"),
    "no thickness": (lambda f: subject(f, left=aparc(thickness=0.3), right=aparc(thickness=0.3)), "thickness measures"),
    "head of a mouse": (lambda f: subject(f, seg=aseg().replace("1560838.5", "500")), "tiv measures 0.5 ml"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_one_bad_subject_excludes_only_that_subject(case: str, tmp_path: Path, see: Say) -> None:
    make, reason = BROKEN[case]
    subject(tmp_path / "fs" / "sub-1")
    make(tmp_path / "fs" / "sub-2")
    names = ["sub-1", "sub-2", "sub-3"]
    scans = pd.DataFrame({"scan": [f"{n}/anat/{n}" for n in names], "participant_id": names, "session_id": "n/a"})
    ours = pd.DataFrame({"scan": scans["scan"], "tiv_mm3": 1.4e6, "source": "anatcl", "flags": ""})
    table, excluded = freesurfer.replace_rows(ours, scans, tmp_path / "fs")
    assert dict(zip(table["scan"], table["source"], strict=True)) == {
        "sub-1/anat/sub-1": "freesurfer",
        "sub-3/anat/sub-3": "anatcl",
    }
    assert table.set_index("scan").loc["sub-3/anat/sub-3", "flags"] == "not-from-freesurfer"
    (row,) = excluded.to_dict("records")
    assert row["scan"] == "sub-2/anat/sub-2" and row["stage"] == "measures freesurfer" and reason in row["reason"]
    assert str(tmp_path / "fs" / "sub-2") in row["file"] and row["remedy"].endswith(".")
    see(f"{row['reason']} {row['remedy']}")


def test_versions_in_one_table_are_flagged(tmp_path: Path, caplog: pytest.LogCaptureFixture, see: Say) -> None:
    for name, version in (("sub-1", "7.4.1"), ("sub-2", "7.4.1"), ("sub-3", "5.3.0")):
        subject(tmp_path / name, seg=aseg(top=f"# cvs_version {version}\n"))
    names = ["sub-1", "sub-2", "sub-3"]
    scans = pd.DataFrame({"scan": [f"{n}/anat/{n}" for n in names], "participant_id": names})
    with caplog.at_level(logging.WARNING):
        table, _ = freesurfer.replace_rows(scans[["scan"]].assign(source="anatcl", flags=""), scans, tmp_path)
    assert list(table["source"]) == ["freesurfer 7.4.1", "freesurfer 7.4.1", "freesurfer 5.3.0"]
    assert list(table["flags"]) == ["", "", "other-version"] and "several sources" in caplog.text
    see(caplog.messages[-1])


def test_subjects_without_a_scan_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, see: Say) -> None:
    subject(tmp_path / "fs" / "sub-001")
    subject(tmp_path / "fs" / "fsaverage")
    scans = pd.DataFrame({"scan": ["sub-1/anat/sub-1"], "participant_id": ["sub-1"]})
    with caplog.at_level(logging.WARNING):
        freesurfer.replace_rows(scans[["scan"]].assign(source="anatcl", flags=""), scans, tmp_path / "fs")
    assert "1 subject" in caplog.text and "leading zeros" in caplog.text and "fsaverage" not in caplog.text
    see(caplog.messages[-1])


def test_the_cohort_step_lists_it(tmp_path: Path) -> None:
    subject(tmp_path / "fs" / "sub-1")
    subject(tmp_path / "fs" / "sub-2", left="")
    scans = pd.DataFrame(
        {"scan": ["sub-1/anat/sub-1", "sub-2/anat/sub-2"], "participant_id": ["sub-1", "sub-2"], "session_id": "n/a"}
    )
    scans.to_csv(tmp_path / "scans.tsv", sep="\t", index=False)
    own = pd.DataFrame([widen(freesurfer.read(tmp_path / "fs" / "sub-1", scan)) for scan in scans["scan"]])
    own.assign(source="anatcl").to_csv(tmp_path / "chunk.tsv", sep="\t", index=False)
    outputs = {"table": tmp_path / "measures.tsv", "excluded": tmp_path / "excluded.tsv"}
    table = cohort.build([tmp_path / "chunk.tsv"], tmp_path / "scans.tsv", outputs, freesurfer=tmp_path / "fs")
    assert list(table["scan"]) == ["sub-1/anat/sub-1"]
    assert list(pd.read_csv(outputs["excluded"], sep="\t")["scan"]) == ["sub-2/anat/sub-2"]
