"""Regional statistics of the cohort: means, effects of age, within-participant differences."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd

MEASURES = {"thickness": "Cortical thickness", "volume": "Grey-matter volume", "area": "Surface area"}
UNITS = {"thickness": "mm", "volume": "mm³", "area": "mm²"}
SIDES = {"lh": "left ", "rh": "right "}
# What the flags of the table of measures mean.
KINDS = {"outlier": "unusual", "no-surface": "no surface", "tiny": "very small", "empty": "no voxel"}
# Head size explains much of volume and area, little of thickness.
SCALED_BY_HEAD = ("volume", "area")
FEWEST_FOR_EFFECTS = 12
Q_LIMIT = 0.05


@dataclasses.dataclass(frozen=True)
class AgeEffects:
    """Partial correlation of a measure with age in each region.

    Parameters
    ----------
    measure : str
        Key of `MEASURES`.
    adjusted : list of str
        What else stands in the model.
    n : int
        Participants.
    table : DataFrame
        Index region (``lh_insula``); columns ``r``, ``per_decade`` (unit of the measure), ``percent`` (per decade, of
        the mean), ``p``, ``q`` (Benjamini–Hochberg over regions).
    """

    measure: str
    adjusted: list[str]
    n: int
    table: pd.DataFrame


def regional(measures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Columns of one cortical measure, renamed to regions (``lh_insula``).

    Regions are known by the surface labels of thickness: a volume of the hippocampus is not a cortical region.
    """
    pattern = re.compile(rf"{measure}_([lr]h_\w+)")
    found = {name: match[1] for name in measures if (match := pattern.fullmatch(str(name)))}
    cortical = {str(name).removeprefix("thickness_") for name in measures if str(name).startswith("thickness_")}
    kept = {name: region for name, region in found.items() if not cortical or region in cortical}
    return measures[list(kept)].rename(columns=kept).apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")


def flag_text(flag: str) -> str:
    """A flag of the table of measures in words: ``outlier:area_lh_insula`` is an unusual surface area, left insula."""
    kind, _, column = flag.partition(":")
    match = re.fullmatch(r"(?:(thickness|thicknessstd|volume|area)_)?(?:([lr]h)_)?(\w+)", column)
    if match is None:
        return flag
    measure, side, region = match.groups(default="")
    name = (MEASURES | {"thicknessstd": "spread of thickness", "": ""})[measure].lower()
    place = SIDES.get(side, "") + region
    return f"{KINDS.get(kind, kind)} {name}, {place}" if name else f"{KINDS.get(kind, kind)}: {place}"


def ages_of(scans: pd.DataFrame) -> pd.Series:
    """Ages in years; all missing when there is no such column."""
    if "age" not in scans:
        return pd.Series(float("nan"), index=scans.index)
    return pd.to_numeric(scans["age"], errors="coerce")


def by_person(measures: pd.DataFrame, scans: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean of each participant's scans: regions, ``age`` (years), ``male`` (0, 1), ``tiv_mm3`` where known."""
    columns = [name for name in ("scan", "age", "sex") if name in scans]
    people = measures[["scan", "participant_id"]].merge(scans[columns], on="scan", how="left")
    table = regional(measures, measure)
    table["participant_id"] = people["participant_id"].to_numpy()
    table["age"] = ages_of(people).to_numpy()
    if "sex" in people:
        first = people["sex"].astype("string").str.upper().str[0]
        table["male"] = first.map({"M": 1.0, "F": 0.0}).to_numpy(float)
    if "tiv_mm3" in measures:
        table["tiv_mm3"] = pd.to_numeric(measures["tiv_mm3"], errors="coerce").to_numpy()
    return table.groupby("participant_id", sort=True).mean()


def age_effects(measures: pd.DataFrame, scans: pd.DataFrame, measure: str) -> AgeEffects | None:
    """Linear effect of age per region, adjusted for sex, and for head size where that matters.

    Returns
    -------
    AgeEffects or None
        None when fewer than `FEWEST_FOR_EFFECTS` participants have what is needed.
    """
    table = by_person(measures, scans, measure)
    wanted = ["male", *(["tiv_mm3"] if measure in SCALED_BY_HEAD else [])]
    known = table.dropna(subset=["age", *(name for name in wanted if name in table)])
    covariates = [name for name in wanted if name in known and known[name].nunique() > 1]
    regions = [name for name in table if name not in ("age", "male", "tiv_mm3") and known[name].notna().all()]
    if len(known) < FEWEST_FOR_EFFECTS or known["age"].nunique() < 3 or not regions:
        return None
    effects = linear_effects(known["age"].to_numpy(), known[covariates].to_numpy(float), known[regions])
    return AgeEffects(measure, covariates, len(known), effects)


def linear_effects(age: np.ndarray, covariates: np.ndarray, values: pd.DataFrame) -> pd.DataFrame:
    """Ordinary least squares of each column on age and covariates; see `AgeEffects` for the columns."""
    from scipy import stats

    design = np.column_stack([np.ones_like(age), age, covariates])
    scale = np.abs(design).max(axis=0)
    design = design / scale  # volumes of 1e6 beside ones would cost digits
    target = values.to_numpy(float)
    coefficients, *_ = np.linalg.lstsq(design, target, rcond=None)
    freedom = len(age) - np.linalg.matrix_rank(design)
    residual = target - design @ coefficients
    variance = (residual**2).sum(axis=0) / freedom
    error = np.sqrt(variance * np.linalg.pinv(design.T @ design)[1, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = coefficients[1] / error
    slope = coefficients[1] / scale[1]
    table = pd.DataFrame({"r": t / np.sqrt(t**2 + freedom), "per_decade": 10 * slope}, index=values.columns)
    table["percent"] = 100 * table["per_decade"] / values.mean()
    table["p"] = 2 * stats.t.sf(np.abs(t), freedom)
    table["q"] = benjamini_hochberg(table["p"].fillna(1).to_numpy())
    return table


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False-discovery-rate adjusted p values."""
    order = np.argsort(p)[::-1]
    ranked = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked), 1)
    return adjusted


@dataclasses.dataclass(frozen=True)
class Repeats:
    """How much a region differs between two scans of one participant.

    Parameters
    ----------
    measure : str
        Key of `MEASURES`.
    people : int
        Participants with at least two scans.
    percent : Series
        Mean absolute difference in per cent, by region.
    icc : Series
        ICC(3,1) by region; all missing when there are too few participants.
    """

    measure: str
    people: int
    percent: pd.Series
    icc: pd.Series


def repeats(reliability: pd.DataFrame, measure: str) -> Repeats | None:
    """Rows of ``reliability.tsv`` for one cortical measure; None when there are none."""
    if not {"measure", "percent_difference", "n_participants"} <= set(reliability):
        return None
    name = reliability["measure"].astype(str)
    cortical = set(name[name.str.startswith("thickness_")].str.removeprefix("thickness_"))
    region = name.str.removeprefix(f"{measure}_")
    rows = reliability[name.str.startswith(f"{measure}_") & region.isin(cortical)]
    rows = rows.set_index(region[rows.index]).dropna(subset=["percent_difference"])
    if rows.empty:
        return None
    icc = rows["icc31"] if "icc31" in rows else pd.Series(float("nan"), index=rows.index)
    return Repeats(measure, int(rows["n_participants"].max()), rows["percent_difference"], icc.astype(float))
