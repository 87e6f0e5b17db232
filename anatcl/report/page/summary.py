"""The headline figures as a few lines for a terminal."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from anatcl.base.words import plural
from anatcl.report.records import results
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.headline import headlines
from anatcl.report.tables.verdict import verdict


def summary_text(
    benchmark: str | Path, report: str | Path, scans: str | Path | None = None, excluded: str | Path | None = None
) -> str:
    """Results of a run, their paths, and exclusions.

    Parameters
    ----------
    benchmark : path
        Long benchmark table.
    report : path
        The page; the tables lie beside it.
    scans, excluded : path, optional
        Table of usable scans and of exclusions; by default those of the same results folder.
    """
    folder = Path(report).parent
    usable = results.table(scans or folder.parent / "bids" / "scans.tsv")
    left_out = results.table(excluded or folder / "excluded.tsv")
    scores = results.scores(benchmark)
    lines = [f"Scans in: {_count(usable)}; {_excluded(left_out)}."]
    for headline in headlines(scores):
        metric = headline.metric
        lines.append(
            f"{words.GROUPS[headline.group]} ({headline.task}), {metric.label} {metric.arrow}, n = {headline.n}"
        )
        lines += [
            f"  {words.method_label(name):<20} {cell.text}{' †' if cell.above else ''}" for name, cell in headline.rows
        ]
    if any(cell.above for headline in headlines(scores) for _, cell in headline.rows):
        lines.append("† better than every baseline (paired test, Holm-corrected p < .05)")
    lines += verdict(headlines(scores), results.table(folder.parent / "evaluate" / "comparisons.tsv"))
    lines += [f"Tables: {folder / 'tables'}", f"Report: {report}"]
    return "\n".join(lines) + "\n"


def _count(usable: pd.DataFrame) -> str:
    if "participant_id" not in usable:
        return str(len(usable))
    return f"{len(usable)} of {plural(usable['participant_id'].nunique(), 'participant')}"


def _excluded(left_out: pd.DataFrame) -> str:
    if left_out.empty:
        return "none excluded"
    stages = ", ".join(f"{count} in {stage}" for stage, count in left_out["stage"].value_counts(sort=False).items())
    return f"{len(left_out)} excluded ({stages}; reasons and remedies in excluded.tsv)"
