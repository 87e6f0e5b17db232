"""Steps before the probe do what they say and learn from training rows only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.evaluate.data.problem import Refused
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.probes.prepare import Combat, Covariates, Residualise
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from tests.unit.evaluate.helpers import AGE, make, make_cohort


def test_covariates_use_training_levels_and_fill_with_the_mean():
    rows = pd.DataFrame({"age": [20.0, 40.0, np.nan], "sex": ["F", "M", "F"]})
    made = Covariates(("age", "sex")).fit(rows).transform(pd.DataFrame({"age": [30.0, np.nan], "sex": ["M", "X"]}))
    np.testing.assert_allclose(made, [[0, 1], [0, 0]])


def test_residuals_do_not_depend_on_the_covariate(rng):
    rows = pd.DataFrame({"age": rng.uniform(20, 80, 100)})
    x = rng.normal(size=(100, 3)) + rows["age"].to_numpy()[:, None] * [0.1, 0, -2]
    z = Residualise(("age",)).fit(x, rows).transform(x, rows)
    assert np.abs(np.corrcoef(z.T, rows["age"])[3, :3]).max() < 1e-8
    np.testing.assert_allclose(z.mean(0), x.mean(0))


def test_combat_removes_site_shifts_and_refuses_strangers(rng):
    pytest.importorskip("combatlearn")
    table, x = make_cohort(rng, 120)
    x = x + (table["site"] == "b").to_numpy()[:, None] * 5
    x[:, 4] = 7.0  # a dead channel
    combat = Combat("site").fit(x[:90], table.iloc[:90])
    z = combat.transform(x[90:], table.iloc[90:])
    site = table["site"].iloc[90:].to_numpy()
    assert abs(z[site == "b", 0].mean() - z[site == "a", 0].mean()) < 1
    assert (z[:, 4] == 7.0).all()
    with pytest.raises(InputError, match="cannot harmonise"):
        combat.transform(x[:1], table.iloc[:1].assign(site="z"))


def test_combat_keeps_what_it_is_told_to(rng):
    pytest.importorskip("combatlearn")
    table, x = make_cohort(rng, 200)
    table["age"] = rng.uniform(20, 80, 200) + 30 * (table["site"] == "b")  # site b is older
    x = rng.normal(size=(200, 4)) + 0.1 * table["age"].to_numpy()[:, None]
    kept = Combat("site", ("age",)).fit(x, table).transform(x, table)
    lost = Combat("site").fit(x, table).transform(x, table)
    slope = [np.polyfit(table["age"], z[:, 0], 1)[0] for z in (kept, lost)]
    assert slope[0] == pytest.approx(0.1, abs=0.02)
    assert slope[1] < slope[0] - 0.02


def test_combat_cannot_leave_a_site_out(rng):
    problem, features = make(*make_cohort(rng, 60), {**AGE, "harmonise": "combat"})
    splits = make_splits(load_design("leave-site-out"), problem, None, [-1], 0)["leave-site-out"]
    with pytest.raises(Refused, match="ComBat"):
        protocol.cross_validate(problem, features, splits, 0)


def test_the_target_is_no_covariate():
    with pytest.raises(InputError, match="target is among"):
        load_task({**AGE, "covariates": ["age"]})
