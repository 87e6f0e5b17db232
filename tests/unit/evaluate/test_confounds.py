"""Confounds: a site that tells the target is told, a clean one is silent, and what a method adds is its own."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.evaluate.data.confounds import confounds
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.probes.cross_validation import shuffled_labels
from anatcl.evaluate.probes.prepare import Residualise
from anatcl.evaluate.statistics import detail
from anatcl.evaluate.statistics.association import association
from anatcl.evaluate.steps import confounds as steps
from anatcl.evaluate.steps.added import added_table
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.spec.task import load_task
from tests.unit.evaluate.helpers import SICK, make, make_cohort


def by_site(rng: np.random.Generator, n: int = 160, told: bool = True) -> pd.DataFrame:
    """People of two sites; where told, the disease is that of one of them but for a few."""
    table, _ = make_cohort(rng, n, signal=0.0)
    site = rng.integers(2, size=n)
    sick = np.where(rng.random(n) < 0.1, 1 - site, site) if told else rng.integers(2, size=n)
    return table.assign(site=np.array(["a", "b"])[site], sick=sick, motion=rng.normal(size=n), sex="F")


def scores_of(
    table: pd.DataFrame, features: Features, method: str = "m", **settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    how = Settings({"kind": "repeated"}, n_bootstrap=100, **settings)
    return evaluate_task(load_task(SICK), method, table, features, None, how)


def test_a_site_confounded_subset_raises_a_flag_and_a_clean_one_is_silent(rng):
    for told in (True, False):
        table = by_site(rng, told=told)
        shift = (table["site"] == "b").to_numpy(float)[:, None] * 2 + rng.normal(size=(len(table), 6))
        features = Features({-1: shift}, np.ones(len(table), bool), list("abcdef"))
        _, rows = scores_of(table, features)
        flags = "; ".join(rows["flags"].dropna().astype(str).unique())
        assert ("confounded: sick is associated with site (V" in flags) == told
        value = rows.set_index("metric")["value"]
        assert abs(value["roc_auc_within_site"] - 0.5) < 0.15
        assert (value["roc_auc"] > 0.75) == told


def test_clean_columns_are_rarely_told(rng):
    flagged = 0
    for _ in range(200):
        table = by_site(rng, 60, told=False)
        problem, _ = make(table, rng.normal(size=(60, 2)), SICK)
        flagged += bool(steps.flags(problem, ["motion"]))
    assert flagged <= 6


def test_what_a_method_adds_is_what_the_confounds_lack(rng):
    table = by_site(rng, 240)
    x = rng.normal(size=(240, 5))
    table["sick"] = (1.5 * (table["site"] == "b") + 1.2 * x[:, 0] + rng.normal(size=240) > 0.8).astype(int)
    own = Features({-1: x}, np.ones(240, bool), list("abcde"))
    noise = Features({-1: rng.normal(size=(240, 5))}, np.ones(240, bool), list("abcde"))
    base = confounds(table, "sick", "site")
    assert base.names == ["site=b", "age"]
    tables = [scores_of(table, f, m)[0] for m, f in (("confounds", base), ("own", own), ("noise", noise))]
    rows = added_table(tables, {"sick": "binary"}, 200, 0).set_index("method")
    assert rows.loc["own", "difference"] > 0.05 and rows.loc["own", "p_holm"] < 0.01
    assert abs(rows.loc["noise", "difference"]) < 0.03 and rows.loc["noise", "p"] > 0.05
    assert list(rows.index) == ["noise", "own"]


def test_associations_equal_known_values():
    x, y = np.arange(40.0), np.arange(40) % 2
    assert association(x, -x, (True, True))[1:] == pytest.approx((1.0, 0.0))
    word, size, p = association(np.array(["a", "b"])[y], y, (False, False))
    assert (word, p < 1e-6) == ("V", True) and size == pytest.approx(1.0, abs=0.03)
    word, size, p = association((x > 20).astype(int), x, (False, True))
    assert word == "eta" and size > 0.8 and p < 1e-6
    assert association(y, x, (False, True))[1] < 0.1


def test_labels_move_within_sites_only(rng):
    table = by_site(rng)
    problem, _ = make(table, rng.normal(size=(160, 2)), SICK)
    moved = shuffled_labels(problem, [], 3, 0, "site")
    site = problem.rows["site"].to_numpy()
    for column in moved.T:
        assert not np.array_equal(column, problem.y)
        assert all(column[site == s].sum() == problem.y[site == s].sum() for s in "ab")
    features = Features({-1: (site == "b")[:, None].astype(float)}, np.ones(160, bool), ["s"])
    _, rows = scores_of(problem.rows, features, shuffles=99, shuffle_within="site")
    value = rows.set_index("metric")["value"]
    assert value["roc_auc_shuffled_within_site"] > 0.75  # the site's doing
    assert value["p_chance_within_site"] > 0.05


def test_covariates_are_learnt_from_controls(rng):
    age, sick = rng.uniform(20, 80, 200), np.arange(200) % 2
    x = (0.1 * age + 5 * sick * (age - 50) / 50)[:, None] + 0.01 * rng.normal(size=(200, 1))
    rows = pd.DataFrame({"age": age, "sick": sick})
    slope = {q: Residualise(("age",), q).fit(x, rows).slope_[0, 0] / age.std() for q in ("sick == 0", "")}
    assert slope["sick == 0"] == pytest.approx(0.1, abs=0.01) and slope[""] > 0.12
    with pytest.raises(InputError, match="leaves 0 training rows"):
        Residualise(("age",), "sick == 2").fit(x, rows)
    with pytest.raises(InputError, match="covariates_query needs covariates"):
        load_task({**SICK, "covariates_query": "sick == 0"})


def test_details_equal_slow_references(rng):
    n = 120
    y, fold = rng.integers(2, size=n).astype(float), np.arange(n) % 3
    score = y + rng.normal(size=n)
    prob = 1 / (1 + np.exp(-score))
    table = pd.DataFrame({"y_true": y, "y_pred": (score > 0).astype(int), "score": score, "prob": prob, "fold": fold,
                          "site": np.array(["a", "b"])[rng.integers(2, size=n)]})  # fmt: skip
    found = {k: v[0] for k, v in detail.evaluate(table, "binary", np.ones((1, n))).items()}
    told = score > 0
    assert found["sensitivity"] == pytest.approx(told[y == 1].mean())
    assert found["specificity"] == pytest.approx(1 - told[y == 0].mean())
    assert found["ppv"] == pytest.approx(y[told].mean())
    assert found["roc_auc_pooled"] == pytest.approx(roc_auc_score(y, score))
    pairs = [(a, b) for a in np.flatnonzero(y == 1) for b in np.flatnonzero(y == 0)
             if (fold[a], table["site"][a]) == (fold[b], table["site"][b])]  # fmt: skip
    assert found["roc_auc_within_site"] == pytest.approx(np.mean([score[a] > score[b] for a, b in pairs]))
    offset = LogisticRegression(C=1e9).fit(np.zeros((n, 1)), y)
    assert np.isfinite(offset.intercept_[0])
    shift = found["calibration_intercept"]
    assert (1 / (1 + np.exp(-(score + shift)))).mean() == pytest.approx(y.mean(), abs=1e-6)


def test_partial_correlation_equals_that_of_residuals(rng):
    n = 90
    age, fold = rng.uniform(20, 80, n), np.zeros(n, int)
    y, pred = age / 10 + rng.normal(size=n), age / 10 + rng.normal(size=n)
    design = np.column_stack([np.ones(n), age])
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (y, pred)]
    found = detail.partial_r(y, pred, age, np.ones((1, n)), fold)[0]
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])
    w = rng.integers(0, 3, n).astype(float)
    again = detail.partial_r(y, pred, age, w[None], fold)[0]
    rows = np.repeat(np.arange(n), w.astype(int))
    assert again == pytest.approx(
        detail.partial_r(y[rows], pred[rows], age[rows], np.ones((1, len(rows))), fold[rows])[0]
    )


def test_the_table_of_confounds_and_a_wrong_column(rng, tmp_path):
    table = by_site(rng)
    write_tsv(tmp_path / "scans.tsv", table)
    write_tsv(tmp_path / "qc.tsv", table[["scan"]].assign(cjv=table["sick"] + rng.normal(size=160) / 3, icv_ml=1500.0))
    steps.run_confounds([json.dumps(SICK)], tmp_path / "scans.tsv", tmp_path / "out.tsv", quality=tmp_path / "qc.tsv")
    found = pd.read_csv(tmp_path / "out.tsv", sep="\t").set_index("confound")
    assert found.loc["site", "flag"] == found.loc["cjv", "flag"] == "confounded"
    assert "icv_ml" not in found.index
    with pytest.raises(InputError, match=r"no confound 'moton'.*motion"):
        confounds(table, "sick", "site", ["moton"])
