"""Intervals cover and tests reject as often as they claim. Slow: hundreds of simulated cohorts.

The functions, and what they measure, are in ``benchmarks/calibration.py``.
"""

from __future__ import annotations

import pytest

from anatcl.evaluate.statistics import metrics
from benchmarks.calibration import FOLDS, METRICS, World, chance, dealt, features_of, kept_models, problem_of, run

COHORTS = 400
# Kind, people, features, signal, cohorts: fewer where one takes a second.
CASES = [("regression", 150, 20, 0.5, COHORTS), ("binary", 200, 10, 0.7, COHORTS // 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n", "d", "signal", "cohorts"), CASES)
def test_intervals_cover_and_paired_tests_keep_their_level(kind, n, d, signal, cohorts):
    found = run(kind, n, d, signal, cohorts)
    print(found)
    assert set(found) == set(METRICS[kind])
    for metric, rates in found.items():
        assert 0.92 <= rates["coverage"] <= 0.98, (metric, found)
        assert abs(rates["rejected"] - 0.05) <= 0.022, (metric, found)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cohorts"), [("regression", COHORTS), ("binary", COHORTS // 4)])
def test_p_values_against_shuffled_labels_keep_their_level(kind, cohorts):
    assert abs(chance(kind, n=40, cohorts=cohorts) - 0.05) <= 0.022


def test_the_models_that_are_scored_on_fresh_people_are_those_that_were_fitted(rng):
    from anatcl.evaluate.probes import cross_validation as protocol

    (x, _), y = World(rng, "regression", 5, 0.5).people(40)
    problem = problem_of("regression", y)
    splits = dealt(problem, 0)
    with kept_models() as models:
        predictions = protocol.cross_validate(problem, features_of(x), splits, 0).predictions
    assert len(models) == FOLDS
    for split, model in zip(splits, models, strict=True):
        part = predictions[predictions["fold"] == split.fold]
        assert part["y_pred"].to_numpy() == pytest.approx(model.predict(x[split.test])[:, 0])
    assert metrics.PRIMARY["regression"] in METRICS["regression"]
