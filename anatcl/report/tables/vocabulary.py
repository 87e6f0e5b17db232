"""What methods, metrics and task groups are called, and in which order they are shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from anatcl.spec.methods import declared_methods

GROUPS = {
    "brain_age": "Brain age",
    "diagnosis": "Diagnosis",
    "clinical_scores": "Clinical scores",
    "site": "Site",
    "sex": "Sex",
    "other": "Other tasks",
}

TRAINED = {name: declared.label for name, declared in declared_methods().items() if declared.loss}
# Methods that learn nothing from volumes: they stand below a line in every table.
_NOTHING_LEARNT = {name: declared.label for name, declared in declared_methods().items() if not declared.loss} | {
    "voxel-pca": "Voxel components",
    "voxel-ridge": "Voxel ridge",
    "regional-measures": "Regional measures",
    "tissue-volumes": "Tissue volumes",
    "age-sex-tiv": "Age, sex, head size",
    "confounds": "Confounds",
    "majority-median": "Majority / median",
}
BASELINES = tuple(_NOTHING_LEARNT)
METHODS = TRAINED | _NOTHING_LEARNT


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one metric is shown.

    Parameters
    ----------
    label : str
        Name in a table head.
    better : {"up", "down", "zero", ""}
        Which way is better; empty when the metric has no better side.
    decimals : int
        Digits after the point.
    chance : float or None
        Value of a predictor that knows nothing, where that is one number.
    main : bool
        Whether it stands in the tables for print; the others are in the CSV, the long table and the page.
    """

    label: str
    better: str = "up"
    decimals: int = 3
    chance: float | None = None
    main: bool = True

    @property
    def arrow(self) -> str:
        """Sign of the better side."""
        return {"up": "↑", "down": "↓", "zero": "→0"}.get(self.better, "")

    def loss(self, value: float) -> float:
        """Value turned so that smaller is better (infinity when missing)."""
        if math.isnan(value):
            return math.inf
        return {"up": -value, "zero": abs(value)}.get(self.better, value)


METRICS = {
    "mae": Metric("MAE", "down", 2),
    "rmse": Metric("RMSE", "down", 2, main=False),
    "r2": Metric("R²", "up", 2, 0.0),
    "r": Metric("r", "up", 2, 0.0),
    "pearson_r": Metric("r", "up", 2, 0.0),
    "pearson_r_pooled": Metric("r, folds pooled", "up", 2, 0.0, main=False),
    "pearson_r_within_site": Metric("r, within site", "up", 2, 0.0, main=False),
    "partial_r_age": Metric("r, age-adjusted", "up", 2, 0.0, main=False),
    "bias_slope": Metric("Bias slope", "zero", 2, 0.0),
    "bias_mean": Metric("Mean bias", "zero", 2, 0.0, main=False),
    "mae_corrected": Metric("MAE, bias-corrected", "", 2, main=False),
    "bias_slope_corrected": Metric("Bias slope, corrected", "zero", 2, 0.0, main=False),
    "gap_site_share": Metric("Gap variance between sites", "zero", 2, 0.0),
    "roc_auc": Metric("ROC AUC", "up", 3, 0.5),
    "balanced_accuracy": Metric("Balanced accuracy", "up", 3),
    "average_precision": Metric("Average precision", "up", 3),
    "accuracy": Metric("Accuracy", "up", 3),
    "f1": Metric("F1", "up", 3),
    "brier": Metric("Brier score", "down", 3, main=False),
    "calibration_slope": Metric("Calibration slope", "", 2, main=False),
    "calibration_intercept": Metric("Calibration intercept", "zero", 2, main=False),
    "sensitivity": Metric("Sensitivity", "up", 3, main=False),
    "specificity": Metric("Specificity", "up", 3, main=False),
    "ppv": Metric("Positive predictive value", "up", 3, main=False),
    "roc_auc_pooled": Metric("ROC AUC, folds pooled", "up", 3, 0.5, main=False),
    "roc_auc_within_site": Metric("ROC AUC, within site", "up", 3, 0.5, main=False),
    "external_mae": Metric("MAE, unseen sites", "down", 2),
    "openbhb_score": Metric("OpenBHB score", "down", 2),
}
SHUFFLED, SITE_MEAN = "_shuffled", "_site_mean"
HIDDEN = ("p_chance",)
# The metric that a task is judged by, first found wins.
PRIMARY = ("mae", "roc_auc", "balanced_accuracy", "pearson_r", "r", "r2")


def metric_of(name: str) -> Metric:
    """How metric `name` is shown; a name that is not known is shown as it is, with no better side."""
    if str(name).endswith(SITE_MEAN):
        pooled = metric_of(str(name).removesuffix(SITE_MEAN))
        return dataclasses.replace(pooled, label=f"{pooled.label}, mean over sites")
    known = METRICS.get(str(name).removesuffix(SHUFFLED).lower())
    if known and not name.endswith(SHUFFLED):
        return known
    if known:
        return dataclasses.replace(known, label=f"{known.label}, labels shuffled", better="")
    if name.startswith("gap_g_"):
        return Metric(f"Gap, Hedges g {name.removeprefix('gap_g_')}", "", 2, 0.0)
    return Metric(name.replace("_", " "), "", main=name not in HIDDEN)


def method_label(name: str) -> str:
    """Readable name of a method; its own name when it is not known."""
    return METHODS.get(name, name)


def _order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    rank = {name: index for index, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def order_methods(names: Iterable[str]) -> list[str]:
    """Trained methods first, methods that are not known next, baselines last."""
    names = set(names)
    return _order(names - set(BASELINES), TRAINED) + [name for name in BASELINES if name in names]


def order_metrics(names: Iterable[str]) -> list[str]:
    """Metrics in the order of `METRICS`, unknown ones last by name."""
    return _order(names, METRICS)


def primary_metric(names: Iterable[str]) -> str:
    """The metric among `names` that a task is judged by."""
    ordered = order_metrics(names)
    return next((name for name in PRIMARY if name in ordered), ordered[0])


def group_of(task: str, kind: str) -> str:
    """Group of a task whose row names none: by the words in its name, else by its kind."""
    words = set(task.lower().replace("-", "_").split("_"))
    for group, hints in (("brain_age", {"age"}), ("sex", {"sex", "gender"}), ("site", {"site", "scanner"})):
        if words & hints:
            return group
    return "clinical_scores" if kind == "regression" else "diagnosis"
