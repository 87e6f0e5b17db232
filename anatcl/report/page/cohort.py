"""The cohort: counts by site, ages, missing values."""

from __future__ import annotations

import dataclasses

import pandas as pd
from markupsafe import Markup

from anatcl.base.words import plural
from anatcl.measures.age_effects import ages_of
from anatcl.report.drawing.figures import histogram


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The cohort in a few numbers.

    Parameters
    ----------
    lede : str
        One sentence.
    sites : list of list of str
        Rows of site, scans, participants, female share, ages.
    ages : Markup or None
        Histogram of ages.
    missing : list of str
        What phenotypes are missing for how many scans.
    """

    lede: str
    sites: list[list[str]]
    ages: Markup | None
    missing: list[str]


PHENOTYPES = ("age", "sex", "site", "diagnosis")


def describe(scans: pd.DataFrame) -> Cohort:
    """Describe the table of usable scans."""
    if scans.empty:
        return Cohort("No table of scans was given.", [], None, [])
    age = ages_of(scans)
    parts = [plural(len(scans), "scan"), "of", plural(scans["participant_id"].nunique(), "participant")]
    if "site" in scans and scans["site"].notna().any():
        parts += ["from", plural(scans["site"].nunique(), "site")]
    spread = f", aged {age.min():.0f}–{age.max():.0f} years (median {age.median():.0f})" if age.notna().any() else ""
    chart = histogram(age.dropna(), "Age (years)") if age.notna().any() else None
    return Cohort(" ".join(parts) + spread + ".", _sites(scans), chart, missing(scans))


def missing(scans: pd.DataFrame) -> list[str]:
    """Which phenotypes lack, as sentences without their full stop."""
    counts = {name: int(scans[name].isna().sum()) for name in PHENOTYPES if name in scans}
    none = [name for name, count in counts.items() if count == len(scans)]
    some = [f"{name} is missing for {plural(n, 'scan')}" for name, n in counts.items() if 0 < n < len(scans)]
    return ([f"{', '.join(none)} not known for any scan"] if none else []) + some


def _sites(scans: pd.DataFrame) -> list[list[str]]:
    if "site" not in scans or scans["site"].isna().all():
        return []
    return [_site(str(site), part) for site, part in scans.fillna({"site": "n/a"}).groupby("site", sort=True)]


def _site(name: str, part: pd.DataFrame) -> list[str]:
    people = part.drop_duplicates("participant_id")
    women = "–"
    if "sex" in people and people["sex"].notna().any():
        women = f"{people['sex'].dropna().astype(str).str.upper().str[0].eq('F').mean():.0%}"
    age = ages_of(part)
    ages = f"{age.mean():.1f} ± {age.std(ddof=0):.1f} ({age.min():.0f}–{age.max():.0f})" if age.notna().any() else "–"
    return [name, str(len(part)), str(len(people)), women, ages]
