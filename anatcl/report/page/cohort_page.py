"""The page of the cohort, made after the measures and before any training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl import __version__
from anatcl.report.drawing import anatomy
from anatcl.report.page import cohort, facts, markdown, notes, shared
from anatcl.report.records import exclusions, methods, results
from anatcl.report.records.results import Sources


@dataclasses.dataclass(frozen=True)
class Stages:
    """What the stages before training left.

    Parameters
    ----------
    excluded : sequence of path
        Tables of exclusions.
    failures : path or None
        Folder of the markers of failed scans.
    pages : sequence of path
        Lists of participants' pages.
    records : sequence of path
        Folders of the measures' records, for the methods text.
    participants : path or None
        Folder of the participants' pages, for the links.
    options : mapping
        What is configured of dataset and imaging; paths are relative to the folder of the run, where the step runs.
    """

    excluded: Sequence[str | Path] = ()
    failures: str | Path | None = None
    pages: Sequence[str | Path] = ()
    records: Sequence[str | Path] = ()
    participants: str | Path | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write_cohort_page(sources: Sources, stages: Stages, out: str | Path, title: str, gallery_limit: int = 200) -> None:
    """Write the cohort's page and, for a large cohort, gallery pages beside it.

    Parameters
    ----------
    sources : Sources
        Where the index, the measures and the pictures are.
    stages : Stages
    out : path
        The page; gallery pages are named ``{stem}-gallery-001.html`` and so on.
    title : str
    gallery_limit : int
        Largest number of scans whose pictures all stand in the page.
    """
    out = Path(out)
    measures, scans = results.table(sources.measures), results.table(sources.scans)
    excluded = exclusions.merge(stages.excluded, stages.failures)
    names = sorted({str(scan) for table in (scans, measures) if "scan" in table for scan in table["scan"]})
    quality, left = shared.quality_context(sources, names, measures, excluded, gallery_limit)
    if left:
        quality["qc_pages"] = shared.write_gallery_pages(sources, left, measures, excluded, out, title)
    text = methods.methods_text(sources.preprocess, stages.records, stages.options, excluded)
    context = {
        "title": title,
        "facts": facts.facts(sources, len(scans), excluded, facts.dataset(stages.options, Path())),
        "version": __version__,
        "anonymous": False,
        **quality,
        "people": people(stages, out),
        "cohort": cohort.describe(scans),
        "anatomy": anatomy.maps(measures, scans, results.table(sources.reliability)),
        "excluded": results.records(excluded),
        "notes": notes.grouped(results.table(sources.notes)),
        "methods": markdown.to_html(text),
        "provenance": {"machines": [], "runs": [], "versions": {}},
        "config": json.dumps(stages.options, indent=2, ensure_ascii=False) if stages.options else "",
    }
    shared.render(out, "cohort.html", context | {"sprite": shared.outlines(context)})


def people(stages: Stages, out: Path) -> list[dict[str, object]]:
    """Every participant with a page: name, link, scans, how many of them lie beyond a limit; those first."""
    tables = [found for path in stages.pages if len(found := results.table(path))]
    if not tables or stages.participants is None:
        return []
    joined = pd.concat(tables).sort_values(["beyond", "participant_id"], ascending=[False, True], kind="stable")
    folder = Path(stages.participants).name
    return [
        {
            "name": row["participant_id"],
            "link": f"{folder}/{row['page']}",
            "scans": row["scans"],
            "beyond": row["beyond"],
        }
        for row in joined.to_dict("records")
    ]
