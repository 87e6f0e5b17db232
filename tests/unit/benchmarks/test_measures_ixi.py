"""The tables of the benchmark on IXI, on measures made here with a known answer."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import measures_ixi

REGIONS = [f"{side}_{name}" for side in ("lh", "rh") for name in ("insula", "cuneus", "precuneus", "fusiform")]
SHIFT = 0.3  # mm that ours is thicker than the reference, in one region


@pytest.fixture(scope="module")
def data() -> dict[str, pd.DataFrame]:
    """Forty people: thickness as in the reference but for one region; volumes follow sex."""
    rng = np.random.default_rng(0)
    people = pd.Index([f"sub-{i:02d}" for i in range(40)], name="participant_id")
    woman = np.arange(40) % 2 == 0
    mean = np.linspace(2, 3, len(REGIONS))
    theirs = pd.DataFrame(mean + rng.normal(0, 0.1, (40, 1)) + rng.normal(0, 0.05, (40, len(REGIONS))), people)
    theirs = theirs.set_axis([f"{r}_thickness" for r in REGIONS], axis=1)
    ours = theirs.set_axis([f"thickness_{r}" for r in REGIONS], axis=1)
    ours["thickness_lh_insula"] += SHIFT
    whole = theirs.mean(axis=1)
    theirs = theirs.assign(lh_MeanThickness_thickness=whole - 0.1, rh_MeanThickness_thickness=whole + 0.1)
    for name, size in (("tiv_mm3", 1.4e6), ("gm_mm3", 6e5), ("wm_mm3", 5e5), ("csf_mm3", 3e5)):
        ours[name] = size * (1 - 0.1 * woman) + rng.normal(0, 1e3, 40)
    for region in REGIONS:
        ours[f"volume_{region}"] = 5e3 * (1 - 0.1 * woman) + rng.normal(0, 10, 40)
        ours[f"area_{region}"] = 2e3 * rng.normal(1, 0.1, 40)
    noise = pd.DataFrame(rng.normal(1e5, 1e3, (40, 3)), people, columns=["ICV", "GM", "WM"])
    table = pd.DataFrame({"age": rng.uniform(20, 80, 40), "sex": np.where(woman, "F", "M")}, people)
    return {"ours": ours, "freesurfer": theirs, "dlmuse": noise, "people": table}


def test_a_region_that_is_thicker_than_the_reference_comes_first(data: dict[str, pd.DataFrame]) -> None:
    table = measures_ixi.regions_table(data)
    assert table.loc[0, "quantity"] == "lh_insula"
    assert table.loc[0, "mean_difference"] == pytest.approx(SHIFT)
    assert table.loc[1:, "mean_difference"].abs().max() == pytest.approx(0, abs=1e-9)
    assert (table["r"] > 0.999).all()


def test_people_have_their_agreement_and_the_metrics_of_their_surfaces(data, tmp_path) -> None:
    folder = tmp_path / "measures" / "sub-03" / "anat"
    folder.mkdir(parents=True)
    numbers = {"L": {"euler": 2, "defects": 5, "intersections": 0}, "R": {"euler": 2, "defects": 7, "intersections": 1}}
    (folder / "sub-03_desc-surfaces_qc.json").write_text(json.dumps({"hemispheres": numbers}))
    table = measures_ixi.people_table(data, tmp_path).set_index("participant_id")
    ours = data["ours"].filter(like="thickness_").loc["sub-07"]
    theirs = data["freesurfer"].loc["sub-07"].iloc[: len(REGIONS)]
    assert table.loc["sub-07", "r_68_regions"] == pytest.approx(np.corrcoef(ours, theirs)[0, 1])
    assert table.loc["sub-07", "ours_mm"] - table.loc["sub-07", "freesurfer_mm"] == pytest.approx(SHIFT / len(REGIONS))
    assert table.loc["sub-03", ["defects_L", "defects_R", "intersections_R"]].tolist() == [5, 7, 1]
    assert np.isnan(table.loc["sub-07", "defects_L"])


def test_the_mean_over_the_surface_weighs_regions_by_their_area(data) -> None:
    wide = data["ours"].copy()
    wide["area_lh_insula"] = 1e9
    ours, theirs = measures_ixi._over_surface(data | {"ours": wide})
    np.testing.assert_allclose(ours, wide["thickness_lh_insula"], rtol=1e-3)
    np.testing.assert_allclose(theirs, data["freesurfer"].iloc[:, : len(REGIONS)].mean(axis=1))
    rows = {row["quantity"]: row for row in measures_ixi.thickness_rows(data)}
    assert rows["thickness, mean over the surface, over people"]["n"] == 40
    assert rows["thickness, cortex, over people"]["mean_difference"] == pytest.approx(SHIFT / len(REGIONS))


def test_sex_is_found_where_it_shows_and_not_in_noise(data: dict[str, pd.DataFrame]) -> None:
    auc = measures_ixi.sex(data, seeds=2, folds=5, draws=200).set_index("features")
    assert auc.loc["ours: measures as they are", "auc"] > 0.99
    noise = auc.loc["DLMUSE: volumes/ICV"]
    assert noise["low"] < 0.5 < noise["high"]
