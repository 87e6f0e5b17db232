"""One unit of independence for folds, resamples, tests, counts and warnings; effective n; draws; sites; boundaries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features, load_embeddings
from anatcl.evaluate.data.protocols import make_splits, stratified
from anatcl.evaluate.statistics import bootstrap, boundary, compare, gap, metrics, scores
from anatcl.evaluate.steps import control
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from tests.unit.evaluate.helpers import AGE, SICK, make, make_cohort


def evaluated(table, x, spec, design="repeated", **options):
    features = Features({-1: x}, np.ones(len(x), bool), [f"f{i}" for i in range(x.shape[1])])
    chosen = Settings(design, n_bootstrap=options.pop("n_bootstrap", 100), shuffles=options.pop("shuffles", 0))
    return evaluate_task(load_task(spec), options.pop("method", "m"), table, features, None, chosen)


@pytest.fixture
def families(rng):
    """40 families of 5 who share almost everything."""
    table, x = make_cohort(rng, 40)
    table, x = table.loc[table.index.repeat(5)].reset_index(drop=True), np.repeat(x, 5, axis=0)
    table["family"] = table["participant_id"]
    table["participant_id"] = table["scan"] = [f"p{i:03d}" for i in range(200)]
    return table, x + 0.05 * rng.normal(size=x.shape)


def test_families_are_the_unit_everywhere(families):
    """Intervals of 40 families are those of 40 people, not of 200."""
    table, x = families
    predictions, rows = evaluated(table, x, {**AGE, "group": "family"})
    assert predictions["unit_id"].tolist() == table.set_index("scan").loc[predictions["scan"], "family"].tolist()
    assert predictions.groupby("unit_id")["fold"].nunique().max() == 1
    row = rows.set_index("metric").loc["mae"]
    assert (row["n_units"], row["n_effective"], row["n_participants"]) == (40, 40, 200)
    assert "small: 40 units (family)" in row["flags"]
    one = table["scan"].isin(table.groupby("family")["scan"].first())
    _, single = evaluated(table[one].reset_index(drop=True), x[one], AGE)
    alone = single.set_index("metric").loc["mae"]
    assert row["high"] - row["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.25)


def test_a_comparison_draws_families(families, rng):
    table, x = families
    made = [evaluated(table, x + rng.normal(size=x.shape), {**SICK, "group": "family"}, method=m)[0] for m in "ab"]
    found = compare.compare_all(made, {"sick": "binary"}, 100, 0).set_index("metric").loc["roc_auc"]
    assert found["n"] == 200
    assert found["n_effective"] < 40
    people = [t.drop(columns="unit_id") for t in made]
    narrow = compare.compare_all(people, {"sick": "binary"}, 100, 0).set_index("metric").loc["roc_auc"]
    assert found["high"] - found["low"] > 1.1 * (narrow["high"] - narrow["low"])


def classes(*counts):
    y = np.repeat(np.arange(len(counts)), counts)
    return pd.DataFrame({"y_true": y, "unit_id": [f"u{i}" for i in range(len(y))]})


def test_the_smaller_class_is_the_effective_n():
    assert units.effective_n(classes(495, 5), "binary") == pytest.approx(5, abs=0.2)
    assert units.effective_n(classes(100, 100), "binary") == pytest.approx(199)
    assert units.effective_n(classes(3, 1), "binary") == 1
    assert units.effective_n(classes(60, 40), "binary", "average_precision_site_mean") == 40
    assert units.effective_n(classes(495, 5), "regression") == 500
    assert units.smallest(classes(495, 5), "binary") == 5


def test_a_rare_class_is_flagged_and_not_tested(rng):
    table, x = make_cohort(rng, 120)
    table["sick"] = (np.arange(120) < 6).astype(int)
    made, rows = zip(*[evaluated(table, x, SICK, method=m) for m in "ab"], strict=True)
    assert rows[0]["flags"].str.contains("few: 6 independent units in the smallest class").all()
    found = compare.compare_all(list(made), {"sick": "binary"}, 50, 0)
    assert found["p"].isna().all()
    assert found["p_holm"].isna().all()
    assert set(found["note"]) == {"not tested: 6 independent units in the smallest class"}


def test_degrees_of_freedom_follow_the_effective_n(rng):
    replicates = np.r_[0.0, rng.normal(size=4000)]
    widths = [np.ptp(bootstrap.interval(replicates, n=n)) for n in (5, 20, 1e6)]
    assert widths[0] / widths[2] == pytest.approx(2.776 / 1.96 * np.sqrt(5 / 4), rel=0.01)
    assert widths[1] / widths[2] == pytest.approx(2.093 / 1.96 * np.sqrt(20 / 19), rel=0.01)


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_score_intervals_have_width_and_hold_their_value(m, n, value):
    for variance in (
        boundary.area_variance(np.array([float(m)]), np.array([float(n)])),
        boundary.accuracy_variance(np.array([m, n], float)),
        boundary.share_variance(m),
    ):
        low, high = boundary.score_interval(value, variance)
        assert 0 <= low <= value + 1e-8
        assert value - 1e-8 <= high <= 1
        assert high - low > 1e-3


def test_the_share_interval_is_wilsons():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportion.proportion_confint(7, 30, method="wilson")
    assert boundary.score_interval(7 / 30, boundary.share_variance(30)) == pytest.approx(expected)


def test_the_area_variance_without_signal_is_mann_whitneys():
    variance = boundary.area_variance(np.array([7.0]), np.array([11.0]))
    assert variance(0.5) == pytest.approx((7 + 11 + 1) / (12 * 7 * 11))


@pytest.mark.parametrize("spec", [SICK, AGE])
def test_no_interval_has_zero_width(rng, spec):
    table, x = make_cohort(rng, 12)
    x[:, 0] = table["sick"] * 100.0  # told apart without fail
    for features in (x, np.ones_like(x)):
        _, rows = evaluated(table, features, spec)
        bad = rows[(rows["high"] - rows["low"]) <= 0]
        assert bad.empty, bad[["metric", "value", "low", "high"]]
    if spec is SICK:
        _, rows = evaluated(table, x, spec)
        row = rows.set_index("metric").loc["roc_auc"]
        assert row["value"] == 1
        assert 0.3 < row["low"] < 0.95
        assert row["high"] == 1


@given(st.integers(20, 90), st.integers(4, 19), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_person_is_drawn_with_the_same_probability(n, size, seed):
    rng = np.random.default_rng(seed)
    y = np.exp(rng.normal(size=n))  # skewed
    names = np.array([f"p{i:03d}" for i in range(n)])
    means = [y[np.isin(names, stratified(names, y, size, rng, True))] for _ in range(200)]
    assert all(len(m) == size for m in means)
    error = np.mean([m.mean() for m in means]) - y.mean()
    assert abs(error) < 4.5 * np.std([m.mean() for m in means]) / np.sqrt(200) + 1e-3 * y.std()


def test_a_draw_holds_every_class_in_proportion_and_at_least_twice(rng):
    y = np.repeat([0, 1, 2], [80, 17, 3])
    names = np.array([f"p{i:03d}" for i in range(100)])
    shares = np.array([np.bincount(y[np.isin(names, stratified(names, y, 20, rng, False))]) for _ in range(200)])
    assert shares.min(0).tolist()[2] == 2
    assert shares[:, 1].mean() == pytest.approx(3.4, abs=0.2)


def test_sizes_that_do_not_fit_are_skipped_with_a_sentence(rng):
    table, x = make_cohort(rng, 60)
    spec = {"name": "site", "kind": "multiclass", "target": "site"}
    _, rows = evaluated(table, x, spec, {"kind": "few-shot", "sizes": [4, 12, 500], "repeats": 2})
    skipped = rows[rows["metric"] == "skipped"].set_index("protocol")["flags"]
    assert "3 classes need 6" in skipped["few-shot-4"]
    assert "48 to draw from" in skipped["few-shot-500"]
    assert {"few-shot-12", "few-shot-all"} <= set(rows.loc[rows["metric"] == "balanced_accuracy", "protocol"])


def test_draws_are_made_among_those_who_may_be_trained_on(rng):
    problem, _ = make(*make_cohort(rng, 80), {**AGE, "train_query": "sick == 0"})
    found = make_splits(load_design({"kind": "few-shot", "sizes": [8]}), problem, None, [-1], 0)["few-shot-8"]
    assert {len(s.train) for s in found} == {8}
    assert {s.repeat for s in found} == set(range(10))


def test_draws_widen_intervals_and_tests(rng):
    table, x = make_cohort(rng, 100)
    design = {"kind": "few-shot", "sizes": [8], "repeats": 6}
    made, rows = evaluated(table, x, AGE, design)
    few = made[made["protocol"] == "few-shot-8"]
    names, counts = bootstrap.draw(units.of(few), 100, 0)
    found = bootstrap.replicate_draws(few, lambda run, w: metrics.evaluate(run, "regression", w), names, counts)["mae"]
    by_draw = [np.abs(run["y_pred"] - run["y_true"]).mean() for _, run in few.groupby("repeat")]
    assert found.draw_variance == (
        pytest.approx(np.var(by_draw, ddof=1) * (1 / 6 + units.pool_share(few))),
        pytest.approx(5),
    )
    row = rows[(rows["protocol"] == "few-shot-8") & (rows["metric"] == "mae")].iloc[0]
    plain = bootstrap.interval(found.values, n=100)
    assert row["high"] - row["low"] > np.ptp(plain)
    _, single = evaluated(table, x, AGE, {**design, "repeats": 1})
    assert single[single["protocol"] == "few-shot-8"]["flags"].str.contains("one draw").all()


@pytest.fixture
def sites(rng):
    table, x = make_cohort(rng, 120)
    table["site"] = [f"s{i:02d}" for i in np.arange(120) % 12]
    shift = rng.normal(size=12)
    return table, x + 1.5 * shift[np.arange(120) % 12][:, None]


def test_sites_are_resampled_where_sites_are_left_out(sites):
    table, x = sites
    predictions, rows = evaluated(table, x, AGE, "leave-site-out")
    assert set(predictions["unit_id"]) == set(table["site"])
    rows = rows.set_index("metric")
    assert rows.loc["mae", "n_units"] == 12
    error = (predictions["y_pred"] - predictions["y_true"]).abs().groupby(predictions["site_id"]).mean()
    assert rows.loc["mae_site_mean", "value"] == pytest.approx(error.mean())
    half = 2.201 * error.std(ddof=1) / np.sqrt(12)
    assert rows.loc["mae_site_mean", "high"] - error.mean() == pytest.approx(half, rel=0.45)


def test_correlation_and_r_squared_are_pooled_alike_over_left_out_sites(sites):
    table, x = sites
    predictions, rows = evaluated(table, x, AGE, "leave-site-out")
    site = predictions["site_id"]
    centred = predictions["y_true"] - predictions["y_true"].groupby(site).transform("mean")
    error = predictions["y_pred"] - predictions["y_true"]
    rows = rows.set_index("metric")
    assert rows.loc["r2", "value"] == pytest.approx(1 - (error**2).sum() / (centred**2).sum())
    assert "own mean" in rows.loc["r2", "flags"]


def test_transfer_counts_who_is_tested(rng):
    table, x = make_cohort(rng, 150)
    table["site"] = np.where(np.arange(150) < 130, "a", "b")
    _, rows = evaluated(table, x, AGE, {"kind": "transfer", "train": ["a"], "test": ["b"]})
    assert set(rows["n"]) == {20}
    assert set(rows["n_participants"]) == {20}
    assert rows["flags"].str.contains("small: 20 participants").all()


def test_the_leak_alarm_is_silent_on_clean_transfers(rng):
    alarms = 0
    for _ in range(30):
        table, x = make_cohort(rng, 200, signal=0.0)
        table["site"] = np.where(np.arange(200) < 170, "a", "b")
        design = {"kind": "transfer", "train": ["a"], "test": ["b"]}
        _, rows = evaluated(table, x, SICK, design, n_bootstrap=5, shuffles=5)
        alarms += rows["flags"].str.contains("leak").any()
    assert alarms <= 2


def test_one_small_method_leaves_the_tests_of_the_others_alone(rng):
    table, x = make_cohort(rng, 80)
    made = [evaluated(table, x + rng.normal(size=x.shape), AGE, method=m)[0] for m in "ab"]
    small = evaluated(table.iloc[:20], x[:20], AGE, method="c")[0]
    both = compare.compare_all(made, {"age": "regression"}, 60, 0)
    three = compare.compare_all([*made, small], {"age": "regression"}, 60, 0)
    pair = three[(three["method_a"] == "a") & (three["method_b"] == "b")].reset_index(drop=True)
    pd.testing.assert_frame_equal(pair.drop(columns="p_holm"), both.drop(columns="p_holm"))
    assert set(three.loc[three["method_b"] == "c", "n"]) == {20}


def test_the_gap_between_like_sites_is_not_found(rng):
    """An interval from the F distribution excludes zero in 5 % of cohorts, a bootstrap's in most of them."""
    site = np.repeat([f"s{i}" for i in range(8)], 20)
    unit = np.arange(160).astype(str)
    found = [gap.site_share_interval(rng.normal(size=160), site, unit) for _ in range(600)]
    assert np.mean([low > 0 for low, _ in found]) == pytest.approx(0.025, abs=0.02)
    assert np.mean([high < 0 for _, high in found]) == pytest.approx(0.025, abs=0.02)
    low, high = gap.site_share_interval(rng.normal(size=160) + 2.0 * (np.arange(160) // 20), site, unit)
    assert 0 < low < high < 1


def test_seeds_of_an_encoder_are_a_level(tmp_path, rng):
    table, x = make_cohort(rng, 60)
    for seed in range(4):
        for fold in range(2):
            place = tmp_path / f"seed-{seed}" / f"fold-{fold}"
            place.mkdir(parents=True)
            noise = rng.normal(size=x.shape) * (1 + seed)
            np.savez(place / "embeddings.npz", scan=table["scan"].to_numpy(str), embedding=x + noise)
    features = load_embeddings(tmp_path, table["scan"])
    assert len(features.other_seeds) == 3
    assert len(load_embeddings(tmp_path, table["scan"], seeds=2).other_seeds) == 1  # what a run of more has left
    folds = pd.DataFrame({"participant_id": table["participant_id"], "fold": np.arange(60) % 2})
    chosen = Settings("folds", n_bootstrap=50, shuffles=0)
    made, rows = evaluate_task(load_task(AGE), "untrained", table, features, folds, chosen)
    assert set(made["seed_id"]) == set("0123")
    by_seed = [np.abs(run["y_pred"] - run["y_true"]).mean() for _, run in made.groupby("seed_id")]
    assert rows.set_index("metric").loc["mae", "value"] == pytest.approx(np.mean(by_seed))
    first = Features({0: x, 1: x}, np.ones(60, bool), features.names)
    other = evaluate_task(load_task(AGE), "m", table, first, folds, chosen)[0]
    found = compare.compare_all([made, other], {"age": "regression"}, 50, 0)
    assert set(found["note"]) == {""}
    one = evaluate_task(load_task(AGE), "untrained", table, first, folds, chosen)[0]
    assert set(compare.compare_all([one, other], {"age": "regression"}, 50, 0)["note"]) == {compare.ONE_SEED}


def test_shuffles_of_one_are_judged_by_theory(rng):
    assert control.own_limit(np.array([0.4])) == 0
    assert control.own_limit(rng.normal(size=20)) > 0


def test_counts_of_refused_tasks_are_those_of_the_problem(rng):
    problem, _ = make(*make_cohort(rng, 30), AGE)
    assert scores.describe(problem)["n"] == 30
