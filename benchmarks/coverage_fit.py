"""What share of two methods' pair effects cancels in their difference, in simulated cohorts of their own.

A test takes the variance that the bootstrap of a difference lacks from what both methods' own intervals lack. The true
one is less by ``2 sum_ij q_ij r_ji`` (q and r are the pair effects of the methods,
`anatcl.evaluate.statistics.dependence`): counted here, where both methods' effects are at hand. `compare.SHARED` is the
smallest share over the settings, so that no test rests on more than was seen to cancel.
"""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

import numpy as np
import pandas as pd

from anatcl.evaluate.data.problem import make_problem
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.statistics.dependence import Dependence
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from benchmarks.calibration import METRICS, features_of
from benchmarks.coverage_worlds import Setting, World, mixing_of


def dependence_of(setting: Setting, seed: int) -> list[Dependence]:
    """Pair effects of two equal methods in one cohort."""
    rng = np.random.default_rng([seed, 99])
    cohort = World(setting, rng, mixing_of(rng, setting.d)).cohort(setting.n, setting.sites)
    problem = make_problem(load_task(setting.task), cohort.table)
    (splits,) = make_splits(load_design(setting.design), problem, None, [-1], seed).values()
    found: list[Dependence] = []

    def kept(kind: str, groups: np.ndarray) -> Dependence:
        found.append(Dependence(kind, groups))
        return found[-1]

    with mock.patch.object(protocol, "Dependence", kept):
        for view in cohort.views:
            protocol.cross_validate(problem, features_of(view), splits, seed)
    return found


def shares(settings: Iterable[Setting], repeats: int) -> pd.DataFrame:
    """Share of the pair effects that cancels, by setting and metric; sums over cohorts."""
    rows = []
    for setting in settings:
        sums: dict[str, np.ndarray] = {m: np.zeros(2) for m in METRICS[setting.kind]}
        for seed in range(repeats):
            one, other = dependence_of(setting, seed)
            for metric, both in sums.items():
                q, r = one.effects(metric), other.effects(metric)
                both += [2 * (q * r.T).sum(), (q * q.T).sum() + (r * r.T).sum()]
        rows += [{"setting": setting.name, "metric": m, "share": both[0] / both[1]} for m, both in sums.items()]
    return pd.DataFrame(rows)
