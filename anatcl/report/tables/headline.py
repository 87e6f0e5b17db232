"""One summary line per task: the best method beside the baselines."""

from __future__ import annotations

import dataclasses

import pandas as pd

from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.build import build_table, is_control
from anatcl.report.tables.table import Cell


@dataclasses.dataclass(frozen=True)
class Headline:
    """Best method of a task, with the baselines.

    Parameters
    ----------
    group, task, protocol : str
        Which task, evaluated how.
    metric_name : str
        The metric that the task is judged by.
    rows : list of (method, Cell)
        The best trained method first, then each baseline that was run.
    n : int
        Scans behind the best method's value.
    """

    group: str
    task: str
    protocol: str
    metric_name: str
    rows: list[tuple[str, Cell]]
    n: int

    @property
    def metric(self) -> words.Metric:
        """How the metric is shown."""
        return words.metric_of(self.metric_name)


def headlines(scores: pd.DataFrame) -> list[Headline]:
    """One headline per task, in the order of the tables; controls have none.

    "Best" is the best point value: whether it differs from the next is for the intervals to say.
    """
    found = []
    for group in words.GROUPS if len(scores) else ():
        table = build_table(scores, group)
        for task in table.tasks:
            names = [column.metric for column in table.columns if column.task == task]
            name = words.primary_metric(names)
            index = next(i for i, column in enumerate(table.columns) if (column.task, column.metric) == (task, name))
            protocol = next((p for p in table.protocols if not is_control(p)), "")
            cells = {row.method: row.cells[index] for row in table.rows if row.protocol == protocol}
            ranked = _ranked({method: cell for method, cell in cells.items() if cell is not None}, name)
            if ranked:
                n = ranked[0][1].n
                found.append(Headline(group, task, protocol, name, ranked, 0 if pd.isna(n) else int(n)))
    return found


def _ranked(cells: dict[str, Cell], metric: str) -> list[tuple[str, Cell]]:
    loss = words.metric_of(metric).loss
    trained = [(method, cell) for method, cell in cells.items() if method not in words.BASELINES]
    best = sorted(trained, key=lambda item: loss(item[1].value))[:1]
    return best + [(method, cells[method]) for method in words.BASELINES if method in cells]
