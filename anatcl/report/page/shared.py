"""What the pages of a run have in common: templates, remarks about scans, the gallery, what the run is made of."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from anatcl.base.files import write_text
from anatcl.measures.age_effects import flag_text
from anatcl.report.drawing import cortex
from anatcl.report.page import gallery
from anatcl.report.records import results
from anatcl.report.records.results import Sources
from anatcl.report.tables import vocabulary as words

# Scans shown in a page itself when the cohort is too large for all; and scans per further gallery page.
SHOWN_OF_LARGE = 24
PER_PAGE = 100


@functools.cache
def environment() -> Environment:
    """Templates of this package; every value is escaped."""
    loader = PackageLoader("anatcl.report.page")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["method"] = words.method_label
    found.filters["metric"] = lambda name: words.metric_of(name).label
    found.filters["seconds"] = duration
    return found


def render(out: Path, template: str, context: dict[str, Any]) -> None:
    """Write a page made from a template."""
    write_text(out, environment().get_template(template).render(context))


def duration(seconds: float) -> str:
    """Time in words: ``12 s``, ``4 min``, ``3.2 h``."""
    if pd.isna(seconds):
        return "–"
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5940 else f"{seconds / 3600:.3g} h"


def outlines(context: dict[str, Any]) -> Markup:
    """Outlines of the cortical regions, where some map of the page refers to them."""
    mapped = any(context["anatomy"][kind] for kind in ("means", "effects", "repeats"))
    return cortex.sprite() if mapped or any(one.regions for one in context.get("interpretations", ())) else Markup("")


def quality_context(
    sources: Sources, names: list[str], measures: pd.DataFrame, excluded: pd.DataFrame, limit: int
) -> tuple[dict[str, Any], list[str]]:
    """The section on quality: its pictures, those that deserve a look first.

    Parameters
    ----------
    sources : Sources
    names : list of str
        Scans.
    measures, excluded : DataFrame
        The cohort's measures, whose flags are quoted, and the exclusions.
    limit : int
        Largest number of scans whose pictures all stand in the page; of more, `SHOWN_OF_LARGE` do.

    Returns
    -------
    context : dict
    left : list of str
        All scans with pictures where the page has room for some alone, else none.
    """
    quality = results.quality(sources.preprocess, names)
    odd = gallery.unusual(quality, scan_remarks(excluded), outlier_remarks(measures))
    pictured = [scan for scan in names if scan in quality or has_picture(sources, scan)]
    large = len(pictured) > limit
    shown = sorted(pictured, key=lambda scan: (-len(odd.get(scan, [])), scan))[:SHOWN_OF_LARGE] if large else pictured
    items = gallery.items(sources.preprocess, shown, quality, odd) if sources.preprocess else []
    return {"qc": items, "qc_count": len(pictured), "qc_pages": [], "qc_home": ""}, pictured if large else []


def write_gallery_pages(
    sources: Sources, scans: list[str], measures: pd.DataFrame, excluded: pd.DataFrame, out: Path, title: str
) -> list[str]:
    """Write all pictures to pages of `PER_PAGE` scans beside a page; return their file names."""
    quality = results.quality(sources.preprocess, scans)
    odd = gallery.unusual(quality, scan_remarks(excluded), outlier_remarks(measures))
    names: list[str] = []
    for start in range(0, len(scans), PER_PAGE):
        name = f"{out.stem}-gallery-{start // PER_PAGE + 1:03d}.html"
        items = gallery.items(str(sources.preprocess), scans[start : start + PER_PAGE], quality, odd)
        context = {"title": title, "home": out.name, "qc": items, "number": len(names) + 1}
        render(out.with_name(name), "gallery.html", context)
        names.append(name)
    return names


def has_picture(sources: Sources, scan: str) -> bool:
    """Whether the quality step left a picture of the scan."""
    return sources.preprocess is not None and (Path(sources.preprocess) / f"{scan}_desc-qc.png").is_file()


def scan_remarks(excluded: pd.DataFrame) -> dict[str, list[str]]:
    """Why scans were left out."""
    remarks: dict[str, list[str]] = {}
    for row in excluded.to_dict("records"):
        remarks.setdefault(str(row.get("scan")), []).append(f"left out of the tables: {row.get('reason')}")
    return remarks


def outlier_remarks(measures: pd.DataFrame) -> dict[str, list[str]]:
    """Flags of the measures in words, by scan."""
    if not {"scan", "flags"} <= set(measures):
        return {}
    flagged = measures.dropna(subset=["flags"])[["scan", "flags"]].astype(str).itertuples(index=False)
    return {scan: [flag_text(flag) for flag in text.split(";") if flag] for scan, text in flagged if text}
