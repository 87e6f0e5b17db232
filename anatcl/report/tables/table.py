"""A wide table: methods in rows, tasks and metrics in columns, a value with its interval in each cell."""

from __future__ import annotations

import dataclasses

import pandas as pd

from anatcl.report.tables import vocabulary as words


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table with its 95 % interval, and its standard deviation over the method's encoders."""

    value: float
    low: float
    high: float
    n: float
    decimals: int
    best: bool = False
    above: bool = False
    spread: float = float("nan")

    @property
    def spread_text(self) -> str:
        """The standard deviation over several encoders of a method (seeds, folds of others); empty for a single one."""
        return "" if pd.isna(self.spread) or pd.isna(self.value) else f"SD {number(self.spread, self.decimals)}"

    @property
    def text(self) -> str:
        """``value [low, high]``; a dash when there is no value."""
        if pd.isna(self.value):
            return "–"
        value = number(self.value, self.decimals)
        if pd.isna(self.low) or pd.isna(self.high):
            return value
        return f"{value} [{number(self.low, self.decimals)}, {number(self.high, self.decimals)}]"


@dataclasses.dataclass(frozen=True)
class Column:
    """One task and metric."""

    task: str
    metric: str

    @property
    def shown(self) -> words.Metric:
        """How the metric is shown."""
        return words.metric_of(self.metric)


@dataclasses.dataclass(frozen=True)
class Row:
    """One method under one protocol."""

    method: str
    protocol: str
    cells: tuple[Cell | None, ...]

    @property
    def label(self) -> str:
        """Readable name of the method."""
        return words.method_label(self.method)

    @property
    def is_baseline(self) -> bool:
        """Whether the method learnt nothing from volumes."""
        return self.method in words.BASELINES


@dataclasses.dataclass(frozen=True)
class Table:
    """A wide table: methods in rows, tasks and metrics in columns."""

    group: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sizes: dict[str, str]
    flags: dict[str, list[str]]

    @property
    def protocols(self) -> list[str]:
        """Protocols in the order of their first row."""
        return list(dict.fromkeys(row.protocol for row in self.rows))

    @property
    def tasks(self) -> list[str]:
        """Tasks in column order."""
        return list(dict.fromkeys(column.task for column in self.columns))


def number(value: float, decimals: int) -> str:
    """Fixed decimals with a true minus sign; zero has no sign."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
