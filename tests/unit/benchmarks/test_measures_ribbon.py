"""The benchmark on FreeSurfer's own cortex finds the thickness, volume and area of a made one."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import measures_ribbon

RADIUS, TRUE = 18.0, 3.0


@pytest.fixture(scope="module")
def found():
    """A white ball of 18 mm under 3 mm of cortex: its right half the insula, its left half the precentral gyrus."""
    x, y, z = np.indices((52, 52, 52)) - 25.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    ribbon = np.select([radius < RADIUS, radius < RADIUS + TRUE], [2, 3], 0)
    parcels = np.select([ribbon == 3, ribbon == 2], [np.where(x < 0, 2035, 1024), 2], 0)
    return measures_ribbon.measured(ribbon, parcels, np.eye(4))


def test_two_regions_have_their_halves_of_the_shell(found):
    halves = found.loc[["rh_insula", "lh_precentral"]]
    volume = 2 / 3 * np.pi * ((RADIUS + TRUE) ** 3 - RADIUS**3)
    assert halves["thickness_mm"].to_numpy() == pytest.approx([TRUE, TRUE], rel=0.05)
    assert halves["volume_mm3"].to_numpy() == pytest.approx([volume, volume], rel=0.02)
    assert halves["area_mm2"].to_numpy() == pytest.approx([2 * np.pi * RADIUS**2] * 2, rel=0.03)
    assert found.drop(index=halves.index)["volume_mm3"].isna().all()


def test_the_table_says_what_the_thickness_is_made_of(found):
    row = found.loc["rh_insula"]
    low, high = sorted((row["harmonic_mm"], row["layer_mm"]))
    assert low <= row["thickness_mm"] <= high


def test_what_lies_beside_a_deep_structure_is_no_cortex():
    """White matter between a ventricle and the cortex belongs to whichever is nearer."""
    ribbon, parcels = np.full((9, 3, 3), 2), np.full((9, 3, 3), 2)
    ribbon[8], parcels[8], parcels[0] = 3, 1024, 4
    _, nearest = measures_ribbon.cortex_labels(ribbon, parcels, pd.Series({"lh_precentral": 7}))
    assert (nearest[:4] == 0).all() and (nearest[5:] == 7).all()
