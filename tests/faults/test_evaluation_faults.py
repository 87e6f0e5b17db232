"""Sites that cannot be harmonised, feature tables of other names, targets that are not numbers: said, never NaN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.evaluate.data.features import load_table
from anatcl.evaluate.data.phenotypes import add_phenotypes
from anatcl.evaluate.data.problem import Refused, make_problem
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes.prepare import Covariates
from anatcl.evaluate.steps.task import Settings, run_task
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task

Say = Callable[[object], None]
AGE = {"name": "age", "kind": "regression", "target": "age"}


@pytest.fixture
def cohort(rng: np.random.Generator) -> pd.DataFrame:
    """Forty people of two sites; feature f0 tells their age."""
    names = [f"sub-{i:02}" for i in range(40)]
    table = pd.DataFrame({"scan": [f"{n}/anat/{n}" for n in names], "participant_id": names})
    age = rng.uniform(20, 80, 40)
    return table.assign(session_id="n/a", age=age, site=["a", "b"] * 20, f0=age + rng.normal(0, 5, 40), f1=1.0)


def scored(cohort: pd.DataFrame, folder: Path, task: dict, features: pd.DataFrame | None = None) -> pd.DataFrame:
    """Scores of one task on one feature table."""
    ours = cohort.drop(columns=["f0", "f1"])
    given = cohort[["scan", "f0"]] if features is None else features
    ours.to_csv(folder / "scans.tsv", sep="\t", index=False, na_rep="n/a")
    given.to_csv(folder / "features.tsv", sep="\t", index=False, na_rep="n/a")
    out = folder / "scores.tsv"
    run_task(
        task,
        "mine",
        folder / "scans.tsv",
        None,
        folder / "predictions.tsv",
        out,
        features=folder / "features.tsv",
        settings=Settings(design="repeated", n_bootstrap=20, shuffles=0),
    )
    return pd.read_csv(out, sep="\t")


def one_site(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(site="a")


def one_person_of_a_site(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(site=["c", *table["site"][1:]])


def no_site_at_all(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(site=np.nan)


def no_column(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="site")


@pytest.mark.parametrize("change", [one_site, one_person_of_a_site, no_site_at_all, no_column])
def test_combat_on_sites_that_cannot_be_harmonised(
    change: Callable[[pd.DataFrame], pd.DataFrame], cohort: pd.DataFrame, tmp_path: Path, see: Say
) -> None:
    pytest.importorskip("combatlearn")
    found = scored(change(cohort), tmp_path, AGE | {"harmonise": "combat"})
    assert list(found["metric"]) == ["skipped"]
    assert any(word in found["flags"].iloc[0] for word in ("site", "participants"))
    see(found["flags"].iloc[0])


def test_participants_without_a_site_are_left_out_of_combat(cohort: pd.DataFrame, tmp_path: Path, see: Say) -> None:
    pytest.importorskip("combatlearn")
    cohort.loc[:7, "site"] = np.nan
    found = scored(cohort, tmp_path, AGE | {"harmonise": "combat"})
    assert found["value"].notna().any() and (found["n_participants"] == 32).all()
    see("left out of the task, and counted")


def test_no_site_is_no_site_of_leave_site_out(cohort: pd.DataFrame) -> None:
    cohort.loc[:7, "site"] = np.nan
    problem = make_problem(load_task(AGE), cohort)
    (splits,) = make_splits(load_design("leave-site-out"), problem, None, [-1], 0).values()
    unknown = set(np.flatnonzero(problem.rows["site"].isna()))
    assert len(splits) == 2 and len(unknown) == 8
    for split in splits:
        assert not unknown & {*split.train, *split.test}
    with pytest.raises(Refused, match="has 1 value,"):
        one = make_problem(load_task(AGE), cohort.assign(site=["a"] * 20 + [np.nan] * 20))
        make_splits(load_design("leave-site-out"), one, None, [-1], 0)


def test_a_missing_level_is_the_mean_and_not_the_first_level() -> None:
    rows = pd.DataFrame({"site": ["a", "b", "b", "b"]})
    made = Covariates(("site",)).fit(rows).transform(pd.DataFrame({"site": ["a", "b", None]}))
    np.testing.assert_allclose(made[:, 0], [0, 1, 0.75])


@pytest.mark.parametrize(
    ("change", "repair"),
    [
        (lambda names: names.str.upper(), "letter case"),
        (lambda names: names.str.replace("sub-", ""), "prefix"),
        (lambda names: names.str.replace("-", "-0"), "leading zeros"),
        (lambda names: names + " x", ""),
    ],
    ids=["case", "prefix", "zeros", "others"],
)
def test_feature_tables_of_other_names(
    change: Callable[[pd.Series], pd.Series], repair: str, cohort: pd.DataFrame, tmp_path: Path, see: Say
) -> None:
    features = cohort[["participant_id", "f0"]].assign(participant_id=change(cohort["participant_id"]))
    found = scored(cohort, tmp_path, AGE, features)
    (flags,) = found["flags"]
    assert "no participant_id of the feature table is that of a scan" in flags and repair in flags
    see(flags)


def test_a_half_matching_feature_table_is_reported_with_the_scores(
    cohort: pd.DataFrame, tmp_path: Path, see: Say
) -> None:
    names = cohort["participant_id"].where(cohort.index < 20, cohort["participant_id"].str.replace("-", "-0"))
    found = scored(cohort, tmp_path, AGE, cohort[["f0"]].assign(participant_id=names))
    assert found["value"].notna().any() and found["flags"].str.contains("20 of 40 scans have no match").all()
    see(found["flags"].iloc[0])


def test_scans_without_features_alone_are_nothing_to_say(cohort: pd.DataFrame, tmp_path: Path) -> None:
    cohort[["scan", "f0"]].iloc[:30].to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    assert load_table(tmp_path / "f.tsv", "all", cohort[["scan", "participant_id"]]).notes == ()


@pytest.mark.parametrize("code", [-9999.0, 9999.0, -999.0])
def test_codes_in_a_feature_table_are_named(code: float, cohort: pd.DataFrame, tmp_path: Path, see: Say) -> None:
    features = cohort[["scan", "f0"]].assign(f0=cohort["f0"].where(cohort.index > 3, code))
    found = scored(cohort, tmp_path, AGE, features)
    assert found["flags"].str.contains(f"{code:g} in column f0 look like codes").all()
    see(found["flags"].iloc[0])


@pytest.mark.parametrize(
    ("text", "example"),
    [("{:.0f}/100", "/100"), ("{:.0f},5", ",5"), ("about {:.0f}", "about")],
    ids=["28/100", "28,5", "about 28"],
)
def test_targets_that_are_not_numbers(text: str, example: str, cohort: pd.DataFrame, tmp_path: Path, see: Say) -> None:
    task = {"name": "score", "kind": "regression", "target": "score"}
    found = scored(cohort.assign(score=cohort["age"].map(text.format)), tmp_path, task)
    (flags,) = found["flags"]
    assert "40 of 40 values of score are not numbers" in flags and example in flags
    see(flags)


def test_phenotypes_of_other_names_are_reported(
    cohort: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture, see: Say
) -> None:
    rows = cohort.assign(subject=cohort["participant_id"].str.replace("sub-", "sub-0"), score=3)
    rows[["subject", "score"]].to_csv(tmp_path / "scores.csv", index=False)
    entry = {"file": "scores.csv", "participant": "subject", "id": {"template": "{}"}, "columns": {"score": "score"}}
    joined = add_phenotypes(cohort, {"phenotypes": [entry]}, tmp_path)
    assert joined["score"].isna().all() and "leading zeros" in caplog.text
    see(caplog.records[-1].message)
