"""Figures that others published: cited rows of their own, never ranked with ours, the difference of protocol named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from anatcl.base.errors import InputError
from anatcl.evaluate.statistics.scores import COLUMNS

SHIPPED = Path(__file__).with_name("published.yaml")
PROTOCOL = "published"
KEYS = {"task", "method", "metric", "value", "n", "source", "difference"}


def load_published(source: str | Path = SHIPPED) -> list[dict[str, Any]]:
    """Rows of a file of published figures, with the source and the difference of protocol written out.

    Raises
    ------
    InputError
        A row lacks a source or a difference, or has unknown keys.
    """
    data = yaml.safe_load(Path(source).read_text(encoding="utf-8")) or {}
    found = []
    for row in data.get("rows", []):
        if set(row) | {"n"} != KEYS:
            raise InputError(f"a published figure has {sorted(KEYS - {'n'})}; not {sorted(row)}.", file=source)
        cited = data.get("sources", {}).get(row["source"], row["source"])
        difference = data.get("differences", {}).get(row["difference"], row["difference"])
        found.append({**row, "source": cited, "difference": difference})
    return found


def published_rows(tasks: Iterable[str], table: pd.DataFrame, source: str | Path = SHIPPED) -> list[dict[str, Any]]:
    """Published figures of the tasks that were evaluated, as rows of the long table.

    Parameters
    ----------
    tasks : iterable of str
        Names of tasks.
    table : DataFrame
        Long table, for the kind and the group of each task.
    source : str or Path
        File of figures.
    """
    wanted = set(tasks)
    kinds = table.drop_duplicates("task").set_index("task")[["kind", "group"]].to_dict("index")
    rows = []
    for row in load_published(source):
        if row["task"] in wanted:
            cited = {"protocol": PROTOCOL, "flags": f"{row['source']}: {row['difference']}"}
            known = {k: row.get(k) for k in ("task", "method", "metric", "value", "n")}
            of_task = {str(key): item for key, item in kinds[row["task"]].items()}
            rows.append(dict.fromkeys(COLUMNS) | of_task | known | cited)
    return rows
