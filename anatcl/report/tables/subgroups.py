"""Scores within subgroups: methods in rows, subgroups in columns, on the metric that the task is judged by."""

from __future__ import annotations

import dataclasses

import pandas as pd

from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.marks import LEVEL
from anatcl.report.tables.table import Cell


@dataclasses.dataclass(frozen=True)
class Subgroups:
    """One task under one protocol.

    Parameters
    ----------
    task, protocol : str
    metric : Metric
    columns : list of str
        Subgroups with their numbers of people.
    rows : list of (method, list of Cell or None)
    tests : list of str
        Columns whose subgroups differ, by method.
    """

    task: str
    protocol: str
    metric: words.Metric
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]
    tests: list[str] = dataclasses.field(default_factory=list)


def tables(long: pd.DataFrame) -> list[Subgroups]:
    """Arrange ``subgroups.tsv``; nothing where it is empty."""
    if long.empty:
        return []
    return [_arrange(str(task), str(protocol), rows) for (task, protocol), rows in long.groupby(["task", "protocol"])]


def _arrange(task: str, protocol: str, rows: pd.DataFrame) -> Subgroups:
    name = words.primary_metric(rows["metric"])
    rows, metric = rows[rows["metric"] == name], words.metric_of(name)
    groups = list(dict.fromkeys(rows["subgroup"]))
    people = rows.groupby("subgroup")["n_participants"].max()
    found = {
        (method, group): Cell(float(value), float(low), float(high), float(n), metric.decimals)
        for method, group, value, low, high, n in rows[["method", "subgroup", "value", "low", "high", "n"]].itertuples(
            index=False
        )
    }
    methods = words.order_methods(rows["method"])
    columns = [f"{group} (n = {people[group]:.0f})" for group in groups]
    body = [(m, [found.get((m, g)) for g in groups]) for m in methods]
    return Subgroups(task, protocol, metric, columns, body, _differences(rows))


def _differences(rows: pd.DataFrame) -> list[str]:
    """Which columns' subgroups differ at 5 % (Holm over the columns of a method), in words."""
    if "p_differ" not in rows:
        return []
    told = rows[rows["p_differ"] < LEVEL].assign(column=lambda t: t["subgroup"].str.split("=").str[0])
    return [
        f"{words.method_label(str(r.method))}: scores differ by {r.column} (p = {r.p_differ:.2g})"
        for r in told.drop_duplicates(["method", "column"]).itertuples()
    ]
