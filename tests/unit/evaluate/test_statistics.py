"""Tests and effect sizes against scipy and statsmodels; controls; corrections."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.probes import linear
from anatcl.evaluate.statistics import compare, gap, metrics, scores
from anatcl.evaluate.steps import control
from anatcl.spec.protocol import load_design
from tests.unit.evaluate.helpers import AGE, SICK, make, make_cohort


def repeated(problem, folds=5, repeats=1):
    design = load_design({"kind": "repeated", "folds": folds, "repeats": repeats})
    return make_splits(design, problem, None, [-1], 0)[f"{repeats}x{folds}-fold"]


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.5], [0.2], [0.001, 0.001, 0.9, 0.02, 0.02]])
def test_holm_equals_statsmodels(p):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    np.testing.assert_allclose(compare.holm(np.array(p)), multitest.multipletests(p, method="holm")[1])


def test_holm_ignores_what_is_missing():
    np.testing.assert_allclose(compare.holm(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_the_paired_test_of_one_split_is_the_paired_t_test(rng):
    n = 300
    a, b = rng.gamma(2, 1, n), rng.gamma(2.2, 1, n)
    table = pd.DataFrame({"scan": [f"p{i:03d}" for i in range(n)], "y_true": 0.0, "fold": 0, "repeat": 0, "encoder": 0})
    table = table.assign(participant_id=table["scan"], task="t", protocol="x")
    tables = [table.assign(method="a", y_pred=a), table.assign(method="b", y_pred=b)]
    found = compare.compare_all(tables, {"t": "regression"}, 4000, 0).set_index("metric").loc["mae"]
    expected = stats.ttest_rel(a, b)
    assert found["difference"] == pytest.approx((a - b).mean())
    assert found["p"] == pytest.approx(expected.pvalue, rel=0.2)
    low, high = expected.confidence_interval()
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_methods_are_compared_on_shared_scans_only(rng):
    n = 60
    table = pd.DataFrame({"scan": [f"s{i:02d}" for i in range(n)], "y_true": rng.normal(size=n), "fold": 0,
                          "repeat": 0, "encoder": 0, "task": "t", "protocol": "x"})  # fmt: skip
    table["participant_id"] = table["scan"]
    tables = [table.assign(method="a", y_pred=0.0), table.iloc[:40].assign(method="b", y_pred=0.1)]
    found = compare.compare_all(tables, {"t": "regression"}, 100, 0)
    assert set(found["n"]) == {40}


def test_hedges_g_equals_the_textbook(rng):
    gap_years, case = rng.normal(0, 4, 80), np.repeat([0.0, 1.0, np.nan], [40, 30, 10])
    gap_years[case == 1] += 3
    a, b = gap_years[case == 1], gap_years[case == 0]
    pooled = np.sqrt((29 * a.var(ddof=1) + 39 * b.var(ddof=1)) / 68)
    expected = (a.mean() - b.mean()) / pooled * (1 - 3 / (4 * 70 - 9))
    assert gap.hedges_g(gap_years, case, np.ones((1, 80)))[0] == pytest.approx(expected)


def test_site_share_equals_adjusted_r2_of_a_one_way_model(rng):
    site = np.repeat(["a", "b", "c"], [20, 25, 15])
    values = rng.normal(size=60) + (site == "b")
    groups = [values[site == s] for s in "abc"]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups)
    expected = 1 - (within / 57) / values.var(ddof=1)
    assert gap.site_share(values, site, np.ones((1, 60)))[0] == pytest.approx(expected)


def test_calibration_slope_equals_statsmodels(rng):
    api = pytest.importorskip("statsmodels.api")
    z = rng.normal(size=300)
    y = (rng.random(300) < 1 / (1 + np.exp(-0.5 * z))).astype(int)
    fitted = api.Logit(y, api.add_constant(z)).fit(disp=0)
    found = metrics.calibration_slope(y, 1 / (1 + np.exp(-z)), np.ones((1, 300)))[0]
    assert found == pytest.approx(fitted.params[1], abs=1e-6)


RIDGE = {"neg_mean_absolute_error": "mae", "neg_root_mean_squared_error": "rmse", "r2": "r2"}
LOGISTIC = {"roc_auc": "roc_auc", "average_precision": "average_precision", "balanced_accuracy": "balanced_accuracy"}


@pytest.mark.parametrize(("spec", "names"), [(AGE, RIDGE), (SICK, LOGISTIC)])
def test_per_fold_figures_equal_cross_val_score(rng, monkeypatch, spec, names):
    """The plain case against scikit-learn's own loop on the same folds."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import PredefinedSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table, x = make_cohort(rng, 70)
    problem, features = make(table, x, spec)
    splits, fold = repeated(problem), np.empty(70, int)
    for s in splits:
        fold[s.test] = s.fold
    # One penalty leaves nothing to choose.
    monkeypatch.setattr(linear.RidgeProbe.__init__, "__defaults__", ([10.0], 3))
    monkeypatch.setattr(linear.LogisticProbe.__init__, "__defaults__", ([0.01], 3))
    found = protocol.cross_validate(problem, features, splits, 0).predictions
    model = Ridge(alpha=10.0) if spec is AGE else LogisticRegression(C=0.01, class_weight="balanced", tol=1e-8)
    for scoring, metric in names.items():
        expected = cross_val_score(
            make_pipeline(StandardScaler(), model), x, problem.y, cv=PredefinedSplit(fold), scoring=scoring
        )
        for k in range(5):
            part = found[found["fold"] == k]
            value = metrics.evaluate(part, problem.task.kind, np.ones((1, len(part))))[metric][0]
            sign = -1 if scoring.startswith("neg_") else 1
            assert value == pytest.approx(sign * expected[k], abs=1e-9)


def test_shuffled_labels_sit_at_chance_and_a_leak_is_flagged(rng):
    problem, features = make(*make_cohort(rng, 80), SICK)
    outcome = protocol.cross_validate(problem, features, repeated(problem), 0, shuffles=12)
    rows, warning = control.control_rows(problem, outcome, 0.9, 5)
    assert rows[0]["metric"] == "roc_auc_shuffled"
    assert abs(rows[0]["value"] - 0.5) < 0.1
    assert warning == ""
    for table in outcome.controls:
        table["score"] += 3 * table["y_true"]
    assert "leak?" in control.control_rows(problem, outcome, 0.9, 5)[1]


def test_permutation_p_value_from_99_shuffles_on(rng):
    problem, features = make(*make_cohort(rng, 40, d=3), AGE)
    outcome = protocol.cross_validate(problem, features, repeated(problem), 0, shuffles=99)
    rows, _ = control.control_rows(problem, outcome, 0.8, 5)
    assert rows[1] == {"metric": "p_chance", "value": 0.01}


def test_shuffles_move_labels_between_participants(rng):
    table, x = make_cohort(rng, 30)
    table = pd.concat([table, table.assign(scan=table["scan"] + "_ses-2")], ignore_index=True)
    problem, _ = make(table, np.vstack([x, x]), SICK)
    wrong = protocol.shuffled_labels(problem, repeated(problem), 4, 0)
    assert wrong.shape == (60, 4)
    for column in wrong.T:
        labels = pd.Series(column).groupby(problem.groups)
        assert (labels.nunique() == 1).all()
        assert column.sum() == problem.y.sum()


def test_age_bias_is_corrected_with_training_people_only(rng):
    table, x = make_cohort(rng, 200, signal=0.6)
    problem, features = make(table, x, {**AGE, "bias_correction": True})
    outcome = protocol.cross_validate(problem, features, repeated(problem), 0)
    rows = {r["metric"]: r["value"] for r in scores.score_rows(problem, outcome.predictions, {}, 20, 0)}
    assert rows["bias_slope"] < -0.2
    assert abs(rows["bias_slope_corrected"]) < 0.1
    assert {"mae", "mae_corrected", "gap_site_share"} <= set(rows)


def test_gap_of_patients_is_an_effect_size(rng):
    table, x = make_cohort(rng, 160)
    older = rng.random(160) < 0.4
    table["diagnosis"] = np.where(older, "AD", "HC")
    table["age"] -= 10.0 * older  # their brains look ten years older than they are
    group = {"name": "ad", "column": "diagnosis", "positives": ["AD"], "negatives": ["HC"]}
    spec = {**AGE, "bias_correction": True, "gap_groups": [group], "train_query": "diagnosis == 'HC'"}
    problem, features = make(table, x, spec)
    outcome = protocol.cross_validate(problem, features, repeated(problem), 0)
    rows = {r["metric"]: r for r in scores.score_rows(problem, outcome.predictions, {}, 200, 0)}
    assert rows["gap_g_ad"]["low"] > 0.5


def test_subgroups_have_their_own_rows(rng):
    table, x = make_cohort(rng, 90)
    problem, features = make(table, x, AGE)
    predictions = protocol.cross_validate(problem, features, repeated(problem), 0).predictions
    rows = pd.DataFrame(scores.subgroup_rows(predictions, "regression", table, ["sex", "age", "site"], 50, 0))
    assert {"sex=F", "sex=M", "age=40-60", "site=a"} <= set(rows["subgroup"])
    sizes = rows[(rows["metric"] == "mae") & rows["subgroup"].str.startswith("sex")]["n"]
    assert sizes.sum() == 90


@pytest.mark.parametrize("spec", [AGE, SICK, {"name": "site", "kind": "multiclass", "target": "site"}])
def test_a_subgroup_without_tested_people_or_with_one_class_costs_no_other_row(rng, spec):
    """A task's people need not have every value of a column: ABIDE's social scores exist for patients alone."""
    table, x = make_cohort(rng, 90)
    problem, features = make(table, x, {**spec, "query": "age < 60 and sex == 'F'"})
    predictions = protocol.cross_validate(problem, features, repeated(problem), 0).predictions
    rows = pd.DataFrame(scores.subgroup_rows(predictions, spec["kind"], table, ["sex", "age", "sick", "site"], 50, 0))
    groups = set(rows["subgroup"])
    assert {"sex=F", "age=40-60"} <= groups and not {"sex=M", "age=60-80"} & groups
    assert rows.loc[rows["subgroup"] == "sex=F", "value"].notna().all()
    assert not scores.subgroup_rows(predictions.iloc[:0], spec["kind"], table, ["sex"], 50, 0)


def test_repeated_folds_average_scores_over_runs(rng):
    problem, features = make(*make_cohort(rng, 40), SICK)
    outcome = protocol.cross_validate(problem, features, repeated(problem, repeats=3), 0)
    rows = {r["metric"]: r["value"] for r in scores.score_rows(problem, outcome.predictions, {}, 20, 0)}
    each = [
        metrics.evaluate(run, "binary", np.ones((1, len(run))))["roc_auc"][0]
        for _, run in outcome.predictions.groupby("repeat")
    ]
    assert rows["roc_auc"] == pytest.approx(np.mean(each))
    assert len(each) == 3


def test_an_interval_ends_where_its_metric_does():
    """Widening for the shared training data must not promise an ROC area above one."""
    from anatcl.evaluate.statistics import metrics
    from anatcl.evaluate.statistics.bootstrap import interval

    replicates = np.r_[0.98, np.linspace(0.90, 1.0, 99)]
    low, high = interval(replicates, missing_variance=0.05)
    assert high > 1.0
    assert (low, high) == interval(replicates, missing_variance=9.0)  # at most the bootstrap's own variance again
    assert high - low == pytest.approx(np.sqrt(2) * np.ptp(interval(replicates)))
    assert np.clip((low, high), *metrics.RANGES["roc_auc"])[1] == 1.0
    assert set(metrics.LOWER_IS_BETTER) <= set(metrics.RANGES)


def test_challenge_score_multiplies_age_and_site():
    row = dict.fromkeys(scores.COLUMNS) | {"method": "m", "protocol": "5-fold"}
    table = pd.DataFrame(
        [row | {"task": "age", "metric": "mae", "value": 4.0},
         row | {"task": "site", "metric": "balanced_accuracy", "value": 0.5},
         row | {"task": "age", "metric": "mae", "value": 3.0, "method": "other"}]
    )  # fmt: skip
    found = scores.challenge_rows(table)
    assert [row["value"] for row in found] == [pytest.approx(4 * 0.5**0.3)]
    assert "within sites" in found[0]["flags"]


def test_challenge_score_of_the_official_split_has_its_own_two_test_sets():
    row = dict.fromkeys(scores.COLUMNS) | {"method": "m"}
    values = {"2-fold": (4.0, 0.5), "train-to-internal_test": (3.0, 0.4), "train-to-external_test": (5.0, 0.1)}
    table = pd.DataFrame(
        [row | {"task": "openbhb-age", "metric": "mae", "protocol": p, "value": a} for p, (a, _) in values.items()]
        + [
            row | {"task": "openbhb-site", "metric": "balanced_accuracy", "protocol": p, "value": b}
            for p, (_, b) in values.items()
        ]
    )
    found = scores.challenge_rows(table)
    assert [r["value"] for r in found] == [pytest.approx(5 * 0.4**0.3)] and not found[0]["flags"]
    inside = scores.challenge_rows(table[table["protocol"] != "train-to-external_test"])
    assert [r["value"] for r in inside] == [pytest.approx(4 * 0.5**0.3)]


def test_a_paired_test_takes_what_both_intervals_lack_and_at_most_nadeau_and_bengio(rng):
    replicates = np.r_[0.3, rng.normal(0.3, 0.2, 4000)]
    plain = replicates[1:].std(ddof=1)
    t = stats.t.ppf(0.975, 99)
    for pairs, inflation in ((0.0, 1.0), (0.02, 1 + (1 - compare.SHARED) * 0.02 / plain**2), (9.0, 1.8), (np.nan, 1.8)):
        found = compare.difference(replicates, 100, 5, pairs)
        assert found["high"] - found["difference"] == pytest.approx(t * plain * np.sqrt(inflation))
        assert found["p"] == pytest.approx(2 * stats.t.sf(0.3 / (plain * np.sqrt(inflation)), 99))
