"""What embeddings hold of the regional measures, and what scores lose when scans are changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from anatcl.report.drawing import cortex
from anatcl.report.drawing.anatomy import Map, sequential
from anatcl.report.records.results import table
from anatcl.report.tables import vocabulary as words

ALL = "all"
SHOWN = "thickness"  # the measure that is drawn on the cortex
R2 = "R²"


@dataclasses.dataclass(frozen=True)
class Decoded:
    """R2 of the measures by method.

    Parameters
    ----------
    kinds : list of str
        Columns: all measures, then each kind.
    rows : list of (method, list of cell)
        A cell has ``r2``, ``low``, ``high``; None where a method has no such row.
    maps : list of Map
        Thickness on the cortex.
    adjusted : str
        Columns that the measures are residual on.
    people : int
    refused : list of (method, reason)
    """

    kinds: list[str]
    rows: list[tuple[str, list[dict[str, Any] | None]]]
    maps: list[Map]
    adjusted: str
    people: int
    refused: list[tuple[str, str]]


def decoded(files: Sequence[str] | None) -> Decoded | None:
    """The tables of `evaluate decode` on one page; None without any."""
    tables = [found for found in map(table, files or ()) if len(found)]
    if not tables:
        return None
    whole = pd.concat(tables, ignore_index=True)
    whole["method"] = whole["method"].astype(str)
    refused = whole[whole["r2"].isna() & whole["flags"].notna()]
    known = whole[whole["r2"].notna()]
    means = known[known["region"] == ALL]
    kinds = list(dict.fromkeys(means["measure"].astype(str)))
    order = words.order_methods(set(known["method"]))
    rows = []
    for method in order:
        own = means[means["method"] == method].set_index("measure")
        rows.append((method, [_cell(own, kind) for kind in kinds]))
    return Decoded(
        kinds,
        rows,
        [found for method in order if (found := _map(known[known["method"] == method], method))],
        ", ".join(str(known["adjusted"].iloc[0]).split()) if len(known) else "",
        int(known["n_participants"].max()) if len(known) else 0,
        [(words.method_label(m), str(why)) for m, why in zip(refused["method"], refused["flags"], strict=True)],
    )


def _map(rows: pd.DataFrame, method: str) -> Map | None:
    """Thickness of the regions on the cortex; nothing where the atlas has no place on it."""
    own = rows[(rows["measure"] == SHOWN) & (rows["region"] != ALL)]
    if own.empty or not cortex.views():
        return None
    values = own.set_index("region")["r2"].clip(lower=0)
    note = f"{R2} of {SHOWN}, mean {own['r2'].mean():.2f}; below 0 drawn as 0".replace("-", "−")
    return sequential(words.method_label(method), note, values, R2)


def shaken(files: Sequence[str] | None) -> list[dict[str, Any]]:
    """The tables of `evaluate perturbed`: per task the perturbations and a row for each method."""
    tables = [found for found in map(table, files or ()) if len(found) and "perturbation" in found]
    if not tables:
        return []
    whole = pd.concat(tables, ignore_index=True).dropna(subset=["perturbation"])
    found = []
    for task, part in whole.groupby("task", sort=True):
        kinds = list(dict.fromkeys(part["perturbation"].astype(str)))
        by_method = {str(m): rows.set_index("perturbation") for m, rows in part.groupby("method")}
        order = words.order_methods(set(by_method))
        cells = [(m, float(by_method[m]["clean"].iloc[0]), [_cell(by_method[m], k) for k in kinds]) for m in order]
        metric = words.metric_of(str(part["metric"].iloc[0]))
        found.append({"task": str(task), "metric": metric, "kinds": kinds, "rows": cells})
    return found


def _cell(rows: pd.DataFrame, kind: str) -> dict[str, Any] | None:
    return {str(name): value for name, value in rows.loc[kind].items()} if kind in rows.index else None
