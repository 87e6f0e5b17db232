"""Early probe: a quick look at what frozen embeddings say, while training goes on. No result of a table."""

from __future__ import annotations

import numpy as np

from anatcl.models import ContrastiveModel
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.bundle import embed_arrays
from anatcl.pretrain.cohort import Cohort
from anatcl.pretrain.device import Device

MOST = 2000  # scans embedded per part, so that a probe stays cheap on large cohorts


def early_probe(
    model: ContrastiveModel, arrays: PackedArrays, train: Cohort, held_out: Cohort, place: Device
) -> dict[str, float]:
    """Fit ridge (age) and logistic (site) probes on training participants and score them on the held-out fold.

    Returns
    -------
    dict
        ``probe_age_mae`` (years) and ``probe_site_bacc``; NaN where labels do not allow it, nothing where nobody is
        held out. The model is left in the mode it had.
    """
    if len(held_out) == 0:
        return {}
    training = model.training
    parts = [cohort.subset(np.arange(len(cohort)) < MOST) for cohort in (train, held_out)]
    features = [embed_arrays(model, arrays, part.index, place).numpy() for part in parts]
    model.train(training)
    mean, sd = features[0].mean(0), features[0].std(0) + 1e-6
    x = [(f - mean) / sd for f in features]
    return {"probe_age_mae": _age_mae(x, parts), "probe_site_bacc": _site_accuracy(x, parts)}


def _age_mae(x: list[np.ndarray], parts: list[Cohort]) -> float:
    from sklearn.linear_model import Ridge

    known = [np.isfinite(part.age) for part in parts]
    if min(k.sum() for k in known) < 2:
        return float("nan")
    probe = Ridge(alpha=10.0).fit(x[0][known[0]], parts[0].age[known[0]])
    return float(np.abs(probe.predict(x[1][known[1]]) - parts[1].age[known[1]]).mean())


def _site_accuracy(x: list[np.ndarray], parts: list[Cohort]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    if "site" not in parts[0].rows or len(parts[1]) == 0:
        return float("nan")
    site = [part.rows["site"].astype(str).to_numpy() for part in parts]
    seen = np.isin(site[1], site[0])
    if len(set(site[0])) < 2 or not seen.any():
        return float("nan")
    probe = LogisticRegression(C=0.1, max_iter=500).fit(x[0], site[0])
    return float(balanced_accuracy_score(site[1][seen], probe.predict(x[1][seen])))
