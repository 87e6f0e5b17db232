"""Variables other than the brain that a target is associated with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import write_tsv
from anatcl.evaluate.data import confounds as columns
from anatcl.evaluate.data.problem import Problem, Refused, make_problem
from anatcl.evaluate.statistics.association import association
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.inputs import scans_table
from anatcl.spec.task import Task, load_task

COLUMNS = ["task", "target", "confound", "statistic", "value", "p", "n", "flag"]
# An association is told where it is at least this large, and surer than this over all confounds of a task.
STRONG, SURE = 0.2, 0.01


def associations(problem: Problem, extra: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of `COLUMNS`: the target with each confound, one row of each unit of independence."""
    task = problem.task
    _, first = np.unique(problem.groups, return_index=True)
    rows, y = problem.rows.iloc[first], problem.y[first]
    names = columns.present(problem.rows, task.target, task.site, extra)
    found = []
    for name in names:
        known = rows[name].notna().to_numpy()
        values, number = rows[name][known], columns.is_number(rows, name, task.site)
        if known.sum() < 5 or values.nunique() < 2 or len(np.unique(y[known])) < 2:
            continue
        a = values.to_numpy(float) if number else values.astype(str).to_numpy(str)
        word, size, p = association(a, y[known], (number, task.kind == "regression"))
        told = size >= STRONG and p * len(names) < SURE
        found.append({"task": task.name, "target": task.target, "confound": name, "statistic": word, "value": size,
                      "p": p, "n": int(known.sum()), "flag": "confounded" if told else ""})  # fmt: skip
    return found


def flags(problem: Problem, extra: Sequence[str] = ()) -> list[str]:
    """One sentence on the confounds that the target is associated with; empty where there are none."""
    hit = [r for r in associations(problem, extra) if r["flag"]]
    listed = ", ".join(f"{r['confound']} ({r['statistic']} {r['value']:.2f})" for r in hit)
    return [f"confounded: {problem.task.target} is associated with {listed}"] if hit else []


def confound_table(tasks: Sequence[Task], table: pd.DataFrame, extra: Sequence[str] = ()) -> pd.DataFrame:
    """`associations` of every task that this cohort can answer."""
    rows: list[dict[str, Any]] = []
    for task in tasks:
        try:
            rows += associations(make_problem(task, table), extra)
        except Refused:
            continue
    return pd.DataFrame(rows, columns=COLUMNS)


def run_confounds(
    tasks: Sequence[str],
    scans: str | Path,
    out: str | Path,
    *,
    measures: str | Path | None = None,
    quality: str | Path | None = None,
    extra: Sequence[str] = (),
    site_column: str = "site",
) -> None:
    """Write the association of each task's target with its confounds; see `anatcl.evaluate.steps.confounds`."""
    loaded = [load_task(task).at(site_column) for task in tasks]
    write_tsv(out, confound_table(loaded, scans_table(scans, measures, quality), extra), FLOATS)
