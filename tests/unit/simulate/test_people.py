from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.simulate.effects import DIAGNOSIS_EFFECT, factors, person_factors, regions
from anatcl.simulate.people import person, scans


@given(st.integers(0, 10_000), st.integers(0, 998))
def test_a_person_is_a_function_of_seed_and_number(seed, index):
    one, two = person(seed, index), person(seed, index)
    assert (one.age, one.sex, one.site, one.score) == (two.age, two.sex, two.site, two.score)
    np.testing.assert_array_equal(one.own, two.own)
    assert 20 <= one.age <= 80
    assert 0 <= one.score <= 30
    assert (one.severity > 0) == (one.diagnosis == "patient")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_site_has_both_diagnoses_at_all_ages(seed):
    table = pd.DataFrame(
        [(p.site.name, p.diagnosis, p.age) for p in (person(seed, k) for k in range(24))],
        columns=["site", "diagnosis", "age"],
    )
    cells = table.groupby(["site", "diagnosis"]).age
    assert cells.size().tolist() == [6, 6, 6, 6]
    assert (cells.max() - cells.min()).min() > 25
    assert table.groupby("diagnosis").age.mean().diff().abs().iloc[-1] < 10


def test_twenty_four_people_have_thirty_scans_with_mixed_entities():
    stems = [s.stem(p.participant_id) for p in (person(0, k) for k in range(24)) for s in scans(p)]
    assert len(stems) == len(set(stems)) == 30
    assert "sub-004/anat/sub-004" in stems
    assert "sub-005/ses-1/anat/sub-005_ses-1_run-2" in stems
    assert "sub-008/ses-2/anat/sub-008_ses-2" in stems
    assert any("_acq-" in s for s in stems)
    assert sum("ses-" not in s for s in stems) == 1


def test_men_are_larger_and_scores_fall_with_severity():
    people = [person(0, k) for k in range(400)]
    size = {sex: np.mean([np.prod(p.size) for p in people if p.sex == sex]) for sex in "MF"}
    assert 1.08 < size["M"] / size["F"] < 1.18
    ill = [p for p in people if p.severity]
    assert np.corrcoef([p.severity for p in ill], [p.score for p in ill])[0, 1] < -0.6


def test_effects_are_in_the_named_regions_and_grow_with_age(rng):
    own = np.ones(len(regions()))
    well, ill = factors(60, 0, own), factors(60, 1, own)
    for region, before, after in zip(regions(), well.total, ill.total, strict=True):
        assert after == pytest.approx(before * (1 - DIAGNOSIS_EFFECT.get(region.name, 0)))
    assert ill.ventricle_mm > well.ventricle_mm > factors(30, 0, own).ventricle_mm
    cortex = np.array([r.cortical for r in regions()])
    slope = (factors(70, 0, own).total - factors(30, 0, own).total)[cortex].mean() / 40
    assert -0.005 < slope < -0.003
    spread = np.array([person_factors(rng) for _ in range(300)])
    assert 0.03 < spread.std(axis=0).mean() < 0.06


def test_the_atlas_has_34_cortical_regions_per_hemisphere():
    for hemisphere in ("lh", "rh"):
        assert sum(r.cortical and r.hemisphere == hemisphere for r in regions()) == 34
    assert {"lh_bankssts", "rh_insula", "lh_hippocampus", "brainstem"} <= {r.key for r in regions()}
