"""Synthetic tables in each release's column layout, through every shipped task to its scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.data.features import Features, no_features
from anatcl.evaluate.data.phenotypes import add_phenotypes, conversion, load_cohort, participant_id
from anatcl.evaluate.steps.gather import gather
from anatcl.evaluate.steps.task import Settings, evaluate_task, run_phenotypes
from anatcl.report.tables.build import write_tables
from anatcl.spec.task import SHIPPED, shipped_tasks

N = 60
COHORTS = sorted(p.stem for p in SHIPPED.glob("*.yaml") if "phenotypes" in yaml.safe_load(p.read_text()))


def abide1(rng, folder):
    dsm = rng.choice([0, 1, 2, 3, 4], N, p=[0.4, 0.2, 0.18, 0.18, 0.04])
    ids = 50002 + np.arange(N)
    table = pd.DataFrame(
        {"SITE_ID": rng.choice(["NYU", "UCLA_1"], N), "SUB_ID": ids, "DX_GROUP": np.where(dsm == 0, 2, 1),
         "DSM_IV_TR": np.where((dsm == 0) & (rng.random(N) < 0.3), -9999, dsm),
         "AGE_AT_SCAN": rng.uniform(7, 50, N).round(2), "SEX": rng.choice([1, 2], N)}
    )  # fmt: skip
    for column in ("FIQ", "VIQ", "PIQ", "ADI_R_SOCIAL_TOTAL_A"):
        table[column] = np.where(rng.random(N) < 0.2, -9999, rng.normal(100, 15, N).round())
    table.to_csv(folder / "Phenotypic_V1_0b.csv", index=False)
    return [f"sub-{i:07d}" for i in ids], None


def abide2(rng, folder):
    table = pd.DataFrame(
        {"SITE_ID": "ABIDEII-BNI_1", "SUB_ID": 29006 + np.arange(N), "DX_GROUP": rng.choice([1, 2], N),
         "AGE_AT_SCAN ": rng.uniform(7, 50, N).round(1), "SEX": rng.choice([1, 2], N), "FIQ": rng.normal(100, 15, N)}
    )  # fmt: skip
    table.assign(VIQ=-9999, PIQ=100).to_csv(folder / "ABIDEII_Composite_Phenotypic.csv", index=False)
    return [f"sub-{i}" for i in table["SUB_ID"]], None


def adni(rng, folder):
    rows = []
    for i in range(N):
        start = ["CN", "LMCI", "EMCI", "AD"][i % 4]
        convert = start in ("LMCI", "EMCI") and i % 8 < 4
        for month in (0, 6, 12, 24, 36, 48):
            first = {"CN": "NL", "AD": "Dementia"}.get(start, "MCI")
            later = ("MCI to Dementia" if month == 24 else "Dementia") if convert and month >= 24 else first
            rows.append((f"{i:03d}_S_{1000 + i}", f"m{month:02d}", month, start, later, 60 + i / 4, "Male", i % 3))
    columns = ["PTID", "VISCODE", "Month", "DX_bl", "DX", "AGE", "PTGENDER", "SITE"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table["VISCODE"] == "m06", "DX"] = ""
    table.to_csv(folder / "ADNIMERGE.csv", index=False)
    return [f"sub-ADNI{p.replace('_', '')}" for p in dict.fromkeys(table["PTID"])], None


def oasis3(rng, folder):
    ids = [f"OAS3{i:04d}" for i in range(N)]
    pd.DataFrame({"OASISID": ids, "AgeatEntry": rng.uniform(50, 90, N), "GENDER": rng.choice([1, 2], N)}).to_csv(
        folder / "OASIS3_demographics.csv", index=False
    )
    rows = []
    for i, person in enumerate(ids):
        for day in (0, 400, 2000):
            ill = i % 3 == 0 and day >= 400
            rows.append((person, f"{person}_UDSd1_d{day:04d}", day, int(not ill), int(ill), int(ill), 0))
    columns = ["OASISID", "OASIS_session_label", "days_to_visit", "NORMCOG", "DEMENTED", "PROBAD", "POSSAD"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "OASIS3_UDSd1_diagnoses.csv", index=False)
    return [f"sub-{p}" for p in ids], ["ses-d0450", "ses-d1200"]


def schizconnect(rng, folder):
    labels = ["Schizophrenia_Broad", "Schizophrenia_Strict", "Bipolar_Disorder", "Schizoaffective"]
    dx = rng.choice([*labels, "No_Known_Disorder", "No_Known_Disorder"], N)
    ids = [f"A{i:05d}" for i in range(N)]
    pd.DataFrame(
        {"source": "COBRE", "study": "COBRE", "site": "MRN", "subjectid": ids, "age": rng.uniform(18, 60, N).round(),
         "sex": rng.choice(["male", "female"], N), "dx": dx}
    ).to_csv(folder / "schizconnect_metaData.csv", index=False)  # fmt: skip
    rows = []
    scales = {"AIMS": ["upper_1", "lower_1", "global"], "Simpson-Angus Scale": ["gait", "arm"],
              "Calgary Depression Scale": ["q1"], "Edinburgh Handedness": ["total"]}  # fmt: skip
    for i in ids:
        for scale, questions in scales.items():
            for q in questions:
                for visit in ("visit_1", "visit_2"):
                    rows.append((i, visit, scale, q, "Absent" if rng.random() < 0.1 else rng.integers(0, 9)))
    columns = ["subjectid", "visit", "assessment", "question_id", "question_value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "schizconnect_assessmentData.csv", index=False)
    return [f"sub-{i}" for i in ids], None


def openbhb(rng, folder):
    ids = rng.choice(10**12, N, replace=False)
    pd.DataFrame(
        {"participant_id": ids, "study": "CoRR", "sex": rng.choice(["male", "female"], N),
         "age": rng.uniform(6, 86, N), "site": rng.choice([1, 2, 3], N)}
    ).to_csv(folder / "participants.tsv", sep="\t", index=False)  # fmt: skip
    return [f"sub-{i}" for i in ids], None


def ixi(rng, folder):
    ids = 2 + np.arange(N)
    pd.DataFrame({"IXI_ID": ids, "SEX_ID (1=m, 2=f)": rng.choice([1, 2], N), "HEIGHT": 170,
                  "AGE": rng.uniform(20, 86, N)}).to_csv(folder / "IXI.csv", index=False)  # fmt: skip
    return [f"sub-IXI{i:03d}" for i in ids], None


def generic(rng, folder):
    """Any BIDS dataset: everything stands in participants.tsv, and with it in the scans table."""
    return [f"sub-{i:03d}" for i in range(N)], None


def scans_of(name, rng, folder) -> pd.DataFrame:
    """The scans table of a cohort with its phenotypes, by the command's function."""
    people, sessions = globals()[name](rng, folder)
    scans = pd.DataFrame(
        [(f"{p}/{s}/anat/{p}_{s}", p, s) for p in people for s in sessions or ["ses-1"]],
        columns=["scan", "participant_id", "session_id"],
    ).assign(site=lambda t: np.where(np.arange(len(t)) % 2, "Guys", "HH"))
    if name == "generic":
        sick = np.where(rng.random(len(scans)) < 0.4, "patient", "control")
        sex = rng.choice(["M", "F"], len(scans))
        return scans.assign(age=rng.uniform(20, 80, len(scans)), sex=sex, diagnosis=sick)
    write_tsv(folder / "scans.tsv", scans)
    run_phenotypes(name, folder, folder / "scans.tsv", folder / "out.tsv")
    table = read_tsv(folder / "out.tsv")
    assert table["scan"].tolist() == scans["scan"].tolist()
    return table


@pytest.mark.parametrize("name", [*COHORTS, "generic"])
def test_every_task_of_a_cohort_goes_through_the_protocol_to_the_benchmark(name, rng, tmp_path):
    table = scans_of(name, rng, tmp_path)
    assert table["age"].notna().all()
    dataset = None if name == "generic" else load_cohort(name)["dataset"]
    tasks = [t for t in shipped_tasks().values() if t.dataset == (dataset or "")]
    settings = Settings({"kind": "repeated", "folds": 3}, n_bootstrap=20, shuffles=1)
    methods = {
        "random": Features({-1: rng.normal(size=(len(table), 4))}, np.ones(len(table), bool), list("abcd")),
        "majority-median": no_features(len(table)),
    }
    files = []
    for task in tasks:
        for method, features in methods.items():
            predictions, found = evaluate_task(task, method, table, features, None, settings)
            assert "skipped" not in set(found["metric"]), (task.name, found["flags"].iloc[0])
            assert len(predictions) > 10
            assert {f"gap_g_{group.name}" for group in task.gap_groups} <= set(found["metric"])
            files.append((tmp_path / f"{method}_{task.name}_p.tsv", tmp_path / f"{method}_{task.name}_s.tsv"))
            write_tsv(files[-1][0], predictions)
            write_tsv(files[-1][1], found)
    gather([s for _, s in files], [p for p, _ in files], tmp_path / "all" / "scores.tsv", n_bootstrap=20)
    write_tables(tmp_path / "all" / "scores.tsv", tmp_path / "benchmark.tsv", tmp_path / "t",
                 tmp_path / "all" / "comparisons.tsv")  # fmt: skip
    benchmark = read_tsv(tmp_path / "benchmark.tsv")
    assert set(benchmark["task"]) == {task.name for task in tasks}
    assert set(read_tsv(tmp_path / "all" / "comparisons.tsv")["task"]) == {task.name for task in tasks}


def test_the_cohorts_have_the_papers_diagnoses_two_of_ours_and_ten_scores():
    tasks = shipped_tasks().values()
    cohorts = ("ADNI", "OASIS-3", "SchizConnect", "ABIDE-I")
    named = [t for t in tasks if t.dataset in cohorts and t.table == "diagnosis"]
    scores = [t for t in tasks if t.dataset in cohorts and t.table == "clinical_scores"]
    ours = {"adni-hc-mci", "abide1-any-autism"}
    assert ours < {task.name for task in named} and len(named) == 10 + len(ours)
    assert len([t for t in scores if t.kind == "regression"]) == len([t for t in scores if t.kind == "binary"]) == 10


def test_the_benchmark_counts_every_shipped_task():
    from collections import Counter

    from benchmarks.evaluate import FULL

    counted: Counter[str] = Counter()
    for kind, _, number in FULL:
        counted[kind] += number
    assert counted == Counter(task.kind for task in shipped_tasks().values() if task.dataset)


@pytest.mark.parametrize("name", COHORTS)
def test_each_cohort_says_what_is_verified_and_what_is_not(name):
    data = load_cohort(name)
    assert data["verified"]
    assert data["unverified"]
    assert data["source"].startswith("http")


def test_adni_conversion_is_within_the_window(rng, tmp_path):
    people, _ = adni(rng, tmp_path)
    scans = pd.DataFrame({"scan": people, "participant_id": people})
    table = add_phenotypes(scans, load_cohort("adni"), tmp_path)
    assert table["mci_conversion"].value_counts().to_dict() == {"pMCI": 16, "sMCI": 14}
    assert set(table.loc[table["diagnosis"] == "HC", "mci_conversion"].dropna()) == set()


def test_conversion_needs_follow_up_and_ignores_late_converters():
    visits = pd.DataFrame(
        [("short", 0, "MCI"), ("short", 12, "MCI"), ("late", 0, "MCI"), ("late", 60, "AD"), ("in", 0, "MCI"),
         ("in", 36, "AD"), ("stable", 0, "MCI"), ("stable", 36, "MCI"), ("well", 0, "CN"), ("well", 36, "AD")],
        columns=["participant_id", "_time", "dx"],
    )  # fmt: skip
    rule = {"name": "c", "column": "dx", "from": ["MCI"], "to": ["AD"], "window": 36, "stable": "s", "converted": "p"}
    assert conversion(visits, rule, 1.0).set_index("participant_id")["c"].to_dict() == {"in": "p", "stable": "s"}


def test_oasis_takes_the_nearest_visit(rng, tmp_path):
    people, _ = oasis3(rng, tmp_path)
    scans = pd.DataFrame({"scan": ["a", "b", "c"], "participant_id": people[0],
                          "session_id": ["ses-d0050", "ses-d0420", "ses-d1200"]})  # fmt: skip
    table = add_phenotypes(scans, load_cohort("oasis3"), tmp_path)
    assert table["diagnosis"].fillna("none").tolist() == ["HC", "AD", "none"]  # 800 days from any visit


def test_scales_are_summed_over_the_first_visit(tmp_path):
    pd.DataFrame({"subjectid": ["x", "y"], "age": 30, "sex": "male", "site": "MRN", "study": "C",
                  "dx": "Bipolar_Disorder"}).to_csv(tmp_path / "schizconnect_metaData.csv", index=False)  # fmt: skip
    pd.DataFrame(
        [
            ("x", "visit_1", "AIMS", "upper", 2),
            ("x", "visit_1", "AIMS", "lower", 3),
            ("x", "visit_2", "AIMS", "upper", 9),
        ],
        columns=["subjectid", "visit", "assessment", "question_id", "question_value"],
    ).to_csv(tmp_path / "schizconnect_assessmentData.csv", index=False)
    scans = pd.DataFrame({"scan": ["1", "2"], "participant_id": ["sub-x", "sub-y"]})
    table = add_phenotypes(scans, load_cohort("schizconnect"), tmp_path)
    assert table["aims_overall"].tolist()[0] == 5
    assert table["aims_upper"].tolist()[0] == 2
    assert table["aims_overall"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        ("50002", {"template": "sub-{:07d}"}, "sub-0050002"),
        ("002_S_0295", {"template": "sub-ADNI{}", "remove": "_"}, "sub-ADNI002S0295"),
        ("7", {}, "sub-7"),
    ],
)
def test_identifiers(value, rule, expected):
    assert participant_id(value, rule) == expected


def test_wrong_files_are_named(tmp_path):
    scans = pd.DataFrame({"scan": ["1"], "participant_id": ["sub-1"]})
    with pytest.raises(InputError, match="does not exist"):
        add_phenotypes(scans, load_cohort("ixi"), tmp_path)
    (tmp_path / "IXI.csv").write_text("IXI_ID,AGE\n1,30\n")
    with pytest.raises(InputError, match="SEX_ID"):
        add_phenotypes(scans, load_cohort("ixi"), tmp_path)
    (tmp_path / "IXI.csv").write_text('IXI_ID,AGE,"SEX_ID (1=m, 2=f)"\n1,30,1\n1,31,1\n')
    with pytest.raises(InputError, match="rows that differ"):
        add_phenotypes(scans, load_cohort("ixi"), tmp_path)
    with pytest.raises(InputError, match="adni"):
        load_cohort("nowhere")
