"""Scores reported beside the main ones: rates at the threshold, calibration, pooled and within-site values.

Weights are those of `anatcl.evaluate.statistics.metrics`: (b, n), one row per resample. A class is predicted where the
log odds at equal class frequencies exceed zero; sensitivity, specificity and positive predictive value are of that
threshold, and the last is of the cases' share among the tested participants.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from anatcl.evaluate.data import units
from anatcl.evaluate.statistics.metrics import Array, _blocks, _moments, divide, pearson_r, roc_auc

NEWTON_STEPS = 25


def rates(y: Array, pred: Array, w: Array) -> dict[str, Array]:
    """Sensitivity, specificity and positive predictive value."""
    case, told = y == 1, pred == 1
    return {
        "sensitivity": divide(w @ (case & told), w @ case),
        "specificity": divide(w @ (~case & ~told), w @ ~case),
        "ppv": divide(w @ (case & told), w @ told),
    }


def calibration_intercept(y: Array, prob: Array, w: Array) -> Array:
    """Shift of the log odds that makes the mean probability the share of cases (calibration in the large); 0 is right.

    Newton's method for all resamples at once; NaN where one class is absent.
    """
    p = np.clip(prob, 1e-9, 1 - 1e-9)
    z, total = np.log(p / (1 - p)), w.sum(1)
    cases = w @ y
    shift = np.zeros(len(w))
    for _ in range(NEWTON_STEPS):
        q = 1 / (1 + np.exp(-(z + shift[:, None])))
        step = divide(cases - (w * q).sum(1), (w * q * (1 - q)).sum(1))
        step = np.clip(np.nan_to_num(step), -2.0, 2.0)
        shift += step
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    return np.where((cases > 0) & (cases < total), shift, np.nan)


def partial_r(y: Array, pred: Array, other: Array, w: Array, block: Array) -> Array:
    """Correlation of prediction and target with the linear effect of `other` out of both, around the folds' means."""
    known = np.isfinite(other)
    y, pred, other, w, block = y[known], pred[known], other[known], w[:, known], block[known]
    sums = np.zeros((6, len(w)))
    for rows in _blocks(block, len(y)):
        weight, part = w[:, rows].sum(1), w[:, rows]
        vy, vp, cyp = _moments(y[rows], pred[rows], part)
        vo, _, cyo = _moments(other[rows], y[rows], part)
        _, _, cpo = _moments(other[rows], pred[rows], part)
        sums += np.nan_to_num(np.stack([vy, vp, vo, cyp, cyo, cpo])) * weight
    vy, vp, vo, cyp, cyo, cpo = sums
    left_y, left_p = vy - divide(cyo**2, vo), vp - divide(cpo**2, vo)
    gone = (left_y <= 1e-9 * vy) | (left_p <= 1e-9 * vp)
    return np.where(gone, np.nan, divide(cyp - divide(cyo * cpo, vo), np.sqrt(np.maximum(left_y * left_p, 0.0))))


def blocks_within_site(table: pd.DataFrame) -> Array | None:
    """Number of fold and site of each row; None where there are not several sites within folds."""
    if units.PLACE not in table or units.sites(table) is not None:
        return None
    return table.groupby(["fold", units.PLACE]).ngroup().to_numpy()


def evaluate(table: pd.DataFrame, kind: str, w: Array, wanted: Collection[str] = ()) -> dict[str, Array]:
    """The scores of this file for one run's predictions; those in `wanted` alone, where it names some."""
    if kind == "multiclass":
        return {}
    y, fold = table["y_true"].to_numpy(float), table["fold"].to_numpy()
    within = blocks_within_site(table)

    def asked(*names: str) -> bool:
        return not wanted or bool(set(names) & set(wanted))

    found: dict[str, Array] = {}
    if kind == "binary":
        score, prob = table["score"].to_numpy(float), table["prob"].to_numpy(float)
        if asked("sensitivity", "specificity", "ppv"):
            found |= rates(y, table["y_pred"].to_numpy(), w)
        if asked("calibration_intercept"):
            found["calibration_intercept"] = calibration_intercept(y, prob, w)
        if asked("roc_auc_pooled"):
            found["roc_auc_pooled"] = roc_auc(y, score, w)
        if within is not None and asked("roc_auc_within_site"):
            found["roc_auc_within_site"] = roc_auc(y, score, w, within)
    else:
        pred = table["y_pred"].to_numpy(float)
        if asked("pearson_r_pooled"):
            found["pearson_r_pooled"] = pearson_r(y, pred, w)
        if within is not None and asked("pearson_r_within_site"):
            found["pearson_r_within_site"] = pearson_r(y, pred, w, within)
        if units.AGE in table and asked("partial_r_age"):
            found["partial_r_age"] = partial_r(y, pred, table[units.AGE].to_numpy(float), w, fold)
    return {name: values for name, values in found.items() if not wanted or name in wanted}
