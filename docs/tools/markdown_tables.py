"""Small Markdown tables of the cohort page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from anatcl.measures import age_effects as regions

STRONGEST = 5


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell).replace("|", "&#124;") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def age_effects(measures: pd.DataFrame, scans: pd.DataFrame) -> str:
    """Effects of age on each regional measure: how many regions, and the strongest."""
    rows = []
    for measure, label in regions.MEASURES.items():
        effects = regions.age_effects(measures, scans, measure) if len(measures) else None
        if effects is None:
            continue
        found = effects.table.sort_values("r", key=abs, ascending=False)
        certain = found[found["q"] < regions.Q_LIMIT]
        strongest = ", ".join(f"{name} {row['r']:+.2f}" for name, row in found.head(STRONGEST).iterrows())
        falling = f"{int((certain['per_decade'] < 0).sum())} fall, {int((certain['per_decade'] > 0).sum())} rise"
        rows.append((label, f"{found['r'].median():+.2f}", f"{len(certain)} of {len(found)} ({falling})", strongest))
    if not rows:
        return ""
    head = ("measure", "median r with age", f"regions with q < {regions.Q_LIMIT:g}", "strongest (r)")
    note = "Partial correlations with age over participants, adjusted for sex (volume and area for head size, too):"
    return f"{note}\n\n{table(head, rows)}"
