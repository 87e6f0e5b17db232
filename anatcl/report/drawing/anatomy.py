"""Cortical maps of the page: mean thickness, effects of age, differences between repeated scans."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from anatcl.base.words import plural
from anatcl.measures.age_effects import (
    MEASURES,
    Q_LIMIT,
    UNITS,
    AgeEffects,
    Repeats,
    age_effects,
    ages_of,
    regional,
    repeats,
)
from anatcl.report.drawing import cortex
from anatcl.report.drawing.figures import Drawn
from anatcl.report.drawing.svg import RAMP, Panel, brief, padded, ramp_bins, short

# Correlations of this size take the strongest colour.
STRONGEST_R = 0.7
COVARIATES = {"male": "sex", "tiv_mm3": "intracranial volume"}


@dataclasses.dataclass(frozen=True)
class Map:
    """One cortical map with its colour scale.

    Parameters
    ----------
    title, note : str
        Heading; one line below.
    chart : Markup
        The drawing.
    scale : list of (css, text)
        Colours from low to high with the lower end of each.
    """

    title: str
    note: str
    chart: Markup
    scale: list[tuple[str, str]]


def maps(measures: pd.DataFrame, scans: pd.DataFrame, reliability: pd.DataFrame) -> dict[str, Any]:
    """All maps that the tables allow, and the table of age effects.

    Returns
    -------
    dict
        ``means``, ``effects``, ``repeats``: lists of `Map`; ``globals``: scatters of whole-brain measures by age;
        ``rows``: the strongest age effects.
    """
    empty: dict[str, Any] = {"means": [], "effects": [], "repeats": [], "globals": [], "rows": []}
    if measures.empty or "participant_id" not in measures:
        return empty
    effects = [e for e in (age_effects(measures, scans, m) for m in MEASURES) if e] if "scan" in scans else []
    known = {"rows": [row for e in effects for row in effect_rows(e)], "globals": global_scatters(measures, scans)}
    if not cortex.views():
        return empty | known
    repeated = [found for found in (repeats(reliability, measure) for measure in MEASURES) if found]
    drawn = {
        "means": [mean_map(measures, "thickness")] if not regional(measures, "thickness").empty else [],
        "effects": [effect_map(effect) for effect in effects],
        "repeats": [repeat_map(found) for found in repeated],
    }
    return empty | drawn | known


def mean_map(measures: pd.DataFrame, measure: str) -> Map:
    """Cohort mean per region."""
    means = regional(measures, measure).mean()
    of = f"Mean of {plural(len(measures), 'scan')}"
    if measure == "thickness" and is_coarse(measures):
        return rank_map(means, of)
    unit = UNITS[measure]
    note = f"{of}; mean of regions {short(means.mean())} {unit}"
    return sequential(f"{MEASURES[measure]} ({unit})", note, means, unit)


def scan_map(cortical: pd.DataFrame, measure: str) -> Map | None:
    """A measure of the regions of one scan; None when no region has it.

    Parameters
    ----------
    cortical : DataFrame
        Cortical rows of the table of the scan, indexed by region.
    measure : str
        Key of `MEASURES`.
    """
    unit = UNITS[measure]
    values = cortical[f"{measure}_{unit.replace('³', '3').replace('²', '2')}"].dropna()
    if values.empty:
        return None
    if measure == "thickness" and is_coarse(cortical):
        return rank_map(values, "This scan")
    return sequential(f"{MEASURES[measure]} ({unit})", f"Mean of regions {short(values.mean())} {unit}", values, unit)


def is_coarse(table: pd.DataFrame) -> bool:
    """Whether voxels of some scan are too coarse for thickness in mm."""
    return "thickness_trust" in table and bool((table["thickness_trust"] == "coarse").any())


def rank_map(values: pd.Series, of: str) -> Map:
    """Thickness where voxels are too coarse for it: the order of the regions, which can be read, and no mm."""
    note = f"{of}. Voxels exceed 1.5 mm: the order of regions can be read, their thickness in mm cannot"
    return sequential("Cortical thickness, rank of regions (1 is the thinnest)", note, values.rank(), "")


def global_scatters(measures: pd.DataFrame, scans: pd.DataFrame) -> list[Drawn]:
    """Mean thickness and the share of each tissue in intracranial volume, by age."""
    if "scan" not in scans:
        return []
    age = ages_of(measures[["scan"]].merge(scans, on="scan", how="left"))
    thickness = regional(measures, "thickness")
    values = {} if thickness.empty else {"Mean thickness (mm)": thickness.mean(axis=1)}
    if "tiv_mm3" in measures:
        tissues = {"Grey matter": "gm_mm3", "White matter": "wm_mm3", "CSF": "csf_mm3"}
        shares = {
            f"{name} (% of TIV)": 100 * measures[c] / measures["tiv_mm3"]
            for name, c in tissues.items()
            if c in measures
        }
        values |= shares
    if is_coarse(measures) and "Mean thickness (mm)" in values:
        values = {"Mean thickness (coarse voxels)": values.pop("Mean thickness (mm)"), **values}
    drawn = [scatter(age.to_numpy(float), found.to_numpy(float), title) for title, found in values.items()]
    return [found for found in drawn if found]


def scatter(age: np.ndarray, values: np.ndarray, title: str) -> Drawn | None:
    """One measure by age, with the correlation; None when fewer than three scans have both."""
    known = np.isfinite(age) & np.isfinite(values)
    if known.sum() < 3:
        return None
    age, values = age[known], values[known]
    panel = Panel(padded(age), padded(values), 240, 200, "Age (years)", title.removesuffix(" (coarse voxels)"))
    constant = np.ptp(age) == 0 or np.ptp(values) == 0
    note = f"n = {len(age)}" + ("" if constant else f", r = {signed(np.corrcoef(age, values)[0, 1])}")
    dots = panel.dots(age, values, "c0" if len(age) <= 400 else "c0 small")
    return Drawn(title, panel.draw(f"{title} by age. {note}", dots), note)


def repeat_map(found: Repeats) -> Map:
    """Mean within-participant difference per region."""
    note = f"{plural(found.people, 'participant')} scanned twice; median region {found.percent.median():.2g} %"
    if found.icc.notna().any():
        low, median = found.icc.min(), found.icc.median()
        note += f"; ICC(3,1) median {median:.2f}, lowest {low:.2f} ({found.icc.idxmin()})"
    return sequential(f"{MEASURES[found.measure]}, difference (%)", note, found.percent, "%")


def sequential(title: str, note: str, values: pd.Series, unit: str) -> Map:
    """A map on the ramp from low to high."""
    bins, edges = ramp_bins(values.to_numpy(float))
    css = {region: f"s{step}" for region, step in zip(values.index, bins, strict=True) if step >= 0}
    words = {str(region): f"{region}: {short(value)} {unit}".rstrip() for region, value in values.items()}
    chart = cortex.brain_map(css, words, f"Cortical map: {title}. {note}. {extremes(values, unit)}")
    ticks = [low if unit else float(np.ceil(low)) for low, _ in edges]  # of ranks, the first of each step
    return Map(title, note, chart, [(f"s{step}", brief(tick)) for step, tick in enumerate(ticks)])


def extremes(values: pd.Series, unit: str) -> str:
    """Lowest and highest region in words, for readers who cannot see the map."""
    low, high = short(values.min()), short(values.max())
    unit = f" {unit}" if unit else ""
    return f"Lowest {values.idxmin()} {low}{unit}, highest {values.idxmax()} {high}{unit}."


def diverging_step(r: float) -> int:
    """Step 0 ... 6 of the diverging ramp; 3 is no effect."""
    middle = RAMP // 2
    return int(np.clip(round(r / STRONGEST_R * middle), -middle, middle)) + middle


def signed(value: float) -> str:
    """Two decimals with a sign; zero has none."""
    return f"{value:+.2f}".replace("-", "−") if value else "0"


def effect_map(effect: AgeEffects) -> Map:
    """Partial correlation with age; regions that do not survive correction are faded."""
    table = effect.table.dropna(subset=["r"])
    css, words = {}, {}
    for region, row in table.iterrows():
        faded = " faded" if row["q"] >= Q_LIMIT else ""
        css[str(region)] = f"d{diverging_step(row['r'])}{faded}"
        words[str(region)] = f"{region}: r = {row['r']:.2f}, {row['percent']:+.2g} % per decade, q = {row['q']:.2g}"
    survived = int((table["q"] < Q_LIMIT).sum())
    adjusted = " and ".join(COVARIATES[name] for name in effect.adjusted)
    people = plural(effect.n, "person") + (f", adjusted for {adjusted}" if adjusted else "")
    note = f"{people}; {survived} of {plural(len(table), 'region')} at q < .05"
    title = f"{MEASURES[effect.measure]} and age (r)"
    chart = cortex.brain_map(css, words, f"Cortical map: {title}. {note}. {extremes(table['r'], '')}")
    middle = RAMP // 2
    scale = [(f"d{step}", signed((step - middle) / middle * STRONGEST_R)) for step in range(RAMP)]
    return Map(title, note, chart, scale)


def effect_rows(effect: AgeEffects, count: int = 10) -> list[dict[str, str]]:
    """The strongest effects as rows of a table."""
    strongest = effect.table.assign(size=effect.table["r"].abs()).sort_values("size", ascending=False, kind="stable")
    return [
        {
            "measure": MEASURES[effect.measure],
            "region": str(region),
            "r": f"{row['r']:.2f}",
            "percent": f"{row['percent']:+.2f}",
            "slope": f"{row['per_decade']:+.3g} {UNITS[effect.measure]}",
            "q": f"{row['q']:.2g}",
        }
        for region, row in strongest.head(count).iterrows()
    ]
