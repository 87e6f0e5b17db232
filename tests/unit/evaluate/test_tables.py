"""Tables of other programs, without images: read, joined, evaluated, and on the page; what does not match is named."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.cli import evaluate
from anatcl.evaluate.data.people import match, read_people
from anatcl.evaluate.data.roi_tables import our_name, read_roi_table

N = 40
REGIONS = ("bankssts", "cuneus", "insula")


@pytest.fixture
def people(rng) -> pd.DataFrame:
    age = rng.uniform(20, 80, N).round(1)
    sex = np.where(rng.random(N) < 0.5, "M", "F")
    return pd.DataFrame(
        {"participant_id": [f"sub-{i:04d}" for i in range(N)], "Age": age, "sex": sex, "score": age / 2}
    )


def thickness(people: pd.DataFrame, rng: np.random.Generator, side: str) -> pd.DataFrame:
    """As aparcstats2table writes it, thinner with age."""
    first = pd.DataFrame({f"{side}.aparc.thickness": people["participant_id"]})
    values = {f"{side}_{r}_thickness": 3 - people["Age"] / 100 + rng.normal(0, 0.1, N) for r in REGIONS}
    return first.assign(**values, **{f"{side}_MeanThickness_thickness": 2.5, "eTIV": 1.5e6 + np.arange(N)})


def volumes(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """As asegstats2table writes it."""
    base = {"Measure:volume": people["participant_id"], "Left-Hippocampus": rng.normal(4000, 200, N),
            "Right-Thalamus-Proper": rng.normal(7000, 300, N), "CSF": 1000.0, "TotalGrayVol": rng.normal(6e5, 1e4, N),
            "Left-Cerebellum-White-Matter": 1.4e4, "Right-Cerebellum-White-Matter": 1.4e4,
            "CerebralWhiteMatterVol": rng.normal(4e5, 1e4, N), "eTIV": 1.5e6 + np.arange(N)}  # fmt: skip
    return pd.DataFrame(base).rename(columns={"eTIV": "EstimatedTotalIntraCranialVol"})


def run(*words: str) -> None:
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    args = parser.parse_args(["evaluate", "tables", *map(str, words)])
    args.function(args)


def test_freesurfer_tables_go_to_the_page(people, rng, tmp_path, caplog):
    files = [tmp_path / n for n in ("lh.tsv", "rh.tsv", "aseg.csv", "net.csv")]
    left = thickness(people, rng, "lh")
    left.loc[0, "lh.aparc.thickness"] = "sub-9999"
    left.to_csv(files[0], sep="\t", index=False)
    thickness(people, rng, "rh").iloc[:-1].to_csv(files[1], sep="\t", index=False)
    volumes(people, rng).to_csv(files[2], index=False)
    other = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("abc"))
    other.insert(0, "ID", [str(i) for i in range(N)])
    other.to_csv(files[3], index=False)
    people = pd.concat([people, people.iloc[:1].assign(participant_id="sub-0500")])
    people.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO):
        run("--features", *files, "--people", tmp_path / "people.tsv", "--tasks", "age", "sex", "score",
            "--bootstrap", "20", "--shuffles", "1", "--out", out)  # fmt: skip
    scores = read_tsv(out / "evaluate" / "scores.tsv")
    assert set(scores["method"]) == {
        "regional-measures",
        "net",
        "tissue-volumes",
        "age-sex-tiv",
        "confounds",
        "majority-median",
    }
    assert set(scores["task"]) == {"age", "sex", "score"}
    mae = scores[(scores["task"] == "age") & (scores["metric"] == "mae")].set_index("method")["value"]
    assert mae["regional-measures"] < 0.8 * mae["majority-median"]
    join = read_tsv(out / "join.tsv")
    lost = join[join["match"].isin(["not among the participants", "without features"])]
    assert lost[["table", "identifier"]].to_numpy().tolist() == [["lh.tsv", "sub-9999"], ["people", "sub-0500"]]
    assert (join[join["table"] == "net.csv"]["match"] == "whatever the spelling").all()
    assert "1 rows are not among the participants: sub-9999" in caplog.text
    page = (out / "report" / "index.html").read_text()
    assert "sub-9999" in page and "Regional measures" in page
    measures = read_tsv(out / "features" / "regional-measures.tsv").set_index("participant_id")
    np.testing.assert_allclose(
        measures.loc["sub-0001", "thickness_lh_cuneus"], left.loc[1, "lh_cuneus_thickness"], rtol=1e-6
    )
    assert np.isnan(measures.loc["sub-0000", "thickness_lh_cuneus"])
    np.testing.assert_allclose(measures["wm_mm3"].iloc[3], volumes_of(files[2], 3), rtol=1e-6)


def volumes_of(file: Path, row: int) -> float:
    table = pd.read_csv(file).iloc[row]
    return (
        table["CerebralWhiteMatterVol"] + table["Left-Cerebellum-White-Matter"] + table["Right-Cerebellum-White-Matter"]
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lh_bankssts_thickness", "thickness_lh_bankssts"),
        ("rh_G_front_sup_area", "area_rh_G_front_sup"),
        ("lh_bankssts_thicknessstd", "thicknessstd_lh_bankssts"),
        ("lh_bankssts_grayvol", "volume_lh_bankssts"),
        ("rh_insula_surfarea", "area_rh_insula"),
        ("L_bankssts_thickavg", "thickness_lh_bankssts"),
        ("R_bankssts_surfavg", "area_rh_bankssts"),
        ("Lhippo", "volume_lh_hippocampus"),
        ("RLatVent", "volume_rh_lateralventricle"),
        ("Left-Thalamus-Proper", "volume_lh_thalamus"),
        ("Right-Thalamus", "volume_rh_thalamus"),
        ("Brain-Stem", "volume_brainstem"),
        ("eTIV", "tiv_mm3"),
        ("ICV", "tiv_mm3"),
        ("lh_MeanThickness_thickness", "meanthickness_lh"),
        ("Left-choroid-plexus", "Left-choroid-plexus"),
        ("f001", "f001"),
        ("thickness_lh_cuneus", "thickness_lh_cuneus"),
    ],
)
def test_columns_have_our_names(theirs, ours):
    assert our_name(theirs) == ours


@pytest.mark.parametrize("separator", ["\t", ",", ";", " "])
def test_any_separator_and_lying_across(people, rng, tmp_path, separator):
    table = thickness(people, rng, "lh")
    table.to_csv(tmp_path / "t.txt", sep=separator, index=False)
    across = table.set_index("lh.aparc.thickness").T.rename_axis("lh.aparc.thickness").reset_index()
    across.to_csv(tmp_path / "across.txt", sep=separator, index=False)
    one, other = read_roi_table(tmp_path / "t.txt"), read_roi_table(tmp_path / "across.txt")
    assert one.identifiers.tolist() == other.identifiers.tolist() == people["participant_id"].tolist()
    pd.testing.assert_frame_equal(one.values, other.values, check_names=False)
    assert one.anatomical


def test_intensities_are_no_volumes(people, tmp_path):
    table = pd.DataFrame({"Measure:mean": people["participant_id"], "Left-Hippocampus": np.arange(N) + 50.0})
    table.to_csv(tmp_path / "mean.tsv", sep="\t", index=False)
    assert read_roi_table(tmp_path / "mean.tsv").values.columns.tolist() == ["mean_Left-Hippocampus"]


def test_openbhb_files_are_read(tmp_path, rng):
    for i in range(3):
        block = np.abs(rng.normal(2.5, 0.3, (1, 7, 68)))
        np.save(tmp_path / f"sub-{i}_preproc-freesurfer_desc-desikan_ROI.npy", block)
    found = read_roi_table(tmp_path)
    assert found.identifiers.tolist() == ["sub-0", "sub-1", "sub-2"]
    assert found.values["thickness_rh_insula"].iloc[2] == block[0, 2, -1]


def pairing(tmp_path: Path, features: list[str], people: pd.DataFrame):
    file = tmp_path / "f.csv"
    pd.DataFrame({"id": features, "a": np.arange(len(features)) + 0.5}).to_csv(file, index=False)
    people.to_csv(tmp_path / "p.csv", index=False)
    return match(read_roi_table(file), read_people(tmp_path / "p.csv"))


def test_names_are_matched_by_sessions_spellings_and_other_columns(tmp_path):
    people = pd.DataFrame(
        {"SUB_ID": [50002, 50003, 50004], "FILE_ID": ["Pitt_0050002", "Pitt_0050003", "Pitt_0050004"]}
    )
    assert pairing(tmp_path, ["sub-0050003", "50002"], people).person.tolist() == [1, 0]
    found = pairing(tmp_path, ["Pitt_0050004", "Pitt_0050009"], people)
    assert found.person.tolist() == [2, -1]
    assert found.how.tolist() == ["as written, by FILE_ID", "not among the participants"]
    people = pd.DataFrame({"participant_id": ["sub-01", "sub-02"]})
    found = pairing(tmp_path, ["sub-01_ses-2.long.sub-01", "sub-02_ses-1_T1w"], people)
    assert found.person.tolist() == [0, 1] and found.session.tolist() == ["ses-2", "ses-1"]
    visits = pd.DataFrame({"participant_id": ["sub-01", "sub-01"], "session_id": ["ses-1", "ses-2"]})
    assert pairing(tmp_path, ["sub-01_ses-2", "sub-01_ses-1"], visits).person.tolist() == [1, 0]


def test_a_spelling_of_two_people_is_nobodys(tmp_path):
    people = pd.DataFrame({"participant_id": ["sub-01", "sub-1", "sub-2"]})
    assert pairing(tmp_path, ["01", "2"], people).person.tolist() == [-1, 2]


def test_wrong_tables_are_one_sentence_with_a_remedy(people, tmp_path):
    with pytest.raises(InputError, match="none of the 2 rows"):
        pairing(tmp_path, ["x1", "x2"], people)
    with pytest.raises(InputError, match="more than once"):
        pairing(tmp_path, ["sub-0001", "sub-0001"], people)
    (tmp_path / "bad.csv").write_text("alpha,beta\n1,2\n")
    with pytest.raises(InputError, match="--id-column"):
        read_roi_table(tmp_path / "bad.csv")
    (tmp_path / "text.csv").write_text("id,beta\n1,x\n")
    with pytest.raises(InputError, match="no numeric column"):
        read_roi_table(tmp_path / "text.csv")
    people.to_csv(tmp_path / "p.csv", index=False)
    pd.DataFrame({"id": people["participant_id"], "a": 1.5}).to_csv(tmp_path / "f.csv", index=False)
    words = ("--features", tmp_path / "f.csv", "--people", tmp_path / "p.csv", "--out", tmp_path / "o")
    with pytest.raises(InputError, match=r"no column 'diagnosis'.*--columns diagnosis="):
        run(*words, "--tasks", "diagnosis")
    with pytest.raises(InputError, match="has no '='"):
        run(*words, "--columns", "age")
    with pytest.raises(InputError, match="no column 'AGE'"):
        run(*words, "--columns", "age=AGE")


def test_abide_gets_its_own_tasks(tmp_path, rng):
    ids = 50002 + np.arange(N)
    dsm = np.where(np.arange(N) % 2, 0, -9999)
    table = pd.DataFrame({"SUB_ID": ids, "DX_GROUP": 1 + np.arange(N) % 2, "DSM_IV_TR": dsm,
                          "SEX": 1, "SITE_ID": np.where(np.arange(N) % 3, "NYU", "KKI"), "FIQ": 100, "VIQ": 100,
                          "AGE_AT_SCAN": rng.uniform(7, 40, N), "PIQ": 100, "ADI_R_SOCIAL_TOTAL_A": 10})  # fmt: skip
    table.to_csv(tmp_path / "Phenotypic_V1_0b.csv", index=False)
    pd.DataFrame({"subject": ids, "f": rng.normal(size=N)}).to_csv(tmp_path / "f.csv", index=False)
    words = ("--features", tmp_path / "f.csv", "--people", tmp_path / "Phenotypic_V1_0b.csv", "--cohort", "abide1")
    tasks = ("abide1-any-autism", "abide1-control-age", "abide1-site")
    run(*words, "--tasks", *tasks, "--bootstrap", "10", "--out", tmp_path / "o")
    counts = read_tsv(tmp_path / "o" / "evaluate" / "scores.tsv").groupby("task")["n"].max()
    assert counts.to_dict() == {"abide1-any-autism": N, "abide1-control-age": N // 2, "abide1-site": N}


def test_real_tables_of_freesurfer_and_enigma(shared_data, tmp_path):
    aomic, enigma = shared_data / "aomic_desikan_thickness", shared_data / "enigma_example"
    if not (aomic.is_dir() and enigma.is_dir()):
        pytest.skip("the tables of AOMIC and ENIGMA are absent")
    run("--features", aomic / "aparc_thickness_lh.tsv", aomic / "aparc_thickness_rh.tsv", "--people",
        aomic / "participants.tsv", "--tasks", "age", "--bootstrap", "10", "--out", tmp_path / "aomic")  # fmt: skip
    scores = read_tsv(tmp_path / "aomic" / "evaluate" / "scores.tsv")
    assert scores["n_participants"].min() > 200
    run("--features", *sorted(enigma.glob("metr*.csv")), "--people", enigma / "cov.csv", "--sex-levels", "1=M", "2=F",
        "--bootstrap", "10", "--out", tmp_path / "enigma")  # fmt: skip
    measures = read_tsv(tmp_path / "enigma" / "features" / "regional-measures.tsv")
    assert {"volume_lh_hippocampus", "thickness_rh_insula", "area_lh_cuneus", "tiv_mm3"} <= set(measures)
    assert (tmp_path / "enigma" / "report" / "index.html").is_file()
