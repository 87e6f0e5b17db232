"""What is to be predicted: a task is data (YAML or JSON), never code."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from anatcl.base.errors import InputError

SHIPPED = Path(__file__).parent / "tasks"
KINDS = ("regression", "binary", "multiclass")
NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


@dataclasses.dataclass(frozen=True)
class Task:
    """One prediction task.

    Parameters
    ----------
    name : str
        Used in file names and tables.
    kind : {"regression", "binary", "multiclass"}
        What the target is.
    target : str
        Column of the scans table.
    positives, negatives : tuple of str
        Values of the target that are the two classes of a binary task; other values are left out. Numbers may be
        written as numbers: 1, 1.0 and "1" are the same value.
    classes : tuple of str
        Values of a multiclass target that count; empty takes every value with enough participants.
    query : str
        `pandas.DataFrame.query` expression over the scans table: which rows take part.
    group : str
        Column whose equal values must stay in one fold.
    metrics : tuple of str
        Metrics to report; empty takes all of the kind.
    min_participants : int
        Fewer participants (regression) refuse the task.
    min_per_class : int
        Fewer participants in a class refuse the task (binary) or leave the class out (multiclass).
    unit : str
        Unit of a regression target, for tables.
    threshold : float or "median"
        A binary task made from a score: positive where the score exceeds it; instead of positives and negatives.
        The median is that of the rows that take part.
    site : str
        Column of the site: counted, harmonised over, and related to the brain-age gap.
    covariates : tuple of str
        Columns whose linear effect is taken from the features, fitted on the training rows.
    harmonise : {"", "combat"}
        Harmonise features over sites, fitted on the training rows.
    preserve : tuple of str
        Columns whose effect harmonisation keeps.
    train_query : str
        Only these rows are trained on; all rows are tested. Brain age is often trained on controls.
    bias_correction : bool
        Also report predictions corrected for their dependence on the target (brain age), fitted on training rows.
    gap_groups : tuple of dict
        Groups whose brain-age gaps are compared: name, column, positives, negatives.
    per_participant : {"all", "first"}
        Every scan of a participant, or the first by name.
    dataset : str
        Cohort that the task belongs to.
    table : str
        Table of the report that shows it: brain_age, sex, site, diagnosis or clinical_scores.
    note : str
        What a reader should know; not used.
    """

    name: str
    kind: str
    target: str
    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    query: str = ""
    group: str = "participant_id"
    metrics: tuple[str, ...] = ()
    min_participants: int = 8
    min_per_class: int = 4
    unit: str = ""
    threshold: float | str | None = None
    site: str = "site"
    covariates: tuple[str, ...] = ()
    harmonise: str = ""
    preserve: tuple[str, ...] = ()
    train_query: str = ""
    bias_correction: bool = False
    gap_groups: tuple[dict[str, Any], ...] = ()
    per_participant: str = "all"
    dataset: str = ""
    table: str = ""
    note: str = ""


def canonical(value: Any) -> str:
    """Text of a value such that 1, 1.0, "1" and " 1 " agree; missing values give an empty string."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if np.isfinite(number) and number.is_integer() else text


def load_task(source: str | Path | dict[str, Any]) -> Task:
    """Read a task from a dictionary, a JSON string, a YAML or JSON file, or the name of a shipped one."""
    if isinstance(source, dict):
        return task_from(source)
    text = str(source)
    if text.lstrip().startswith("{"):
        try:
            return task_from(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"the task is not valid JSON: {error}.", remedy="Check quotes and commas.") from error
    path = Path(text)
    if path.is_file():
        return task_from(yaml.safe_load(path.read_text(encoding="utf-8")), path)
    found = shipped_tasks()
    if text in found:
        return found[text]
    raise InputError(f"no task {text!r}: neither JSON, nor a file, nor one of {sorted(found)}.")


@functools.cache
def shipped_tasks() -> dict[str, Task]:
    """All tasks that come with the package, by name: single files, and the lists in cohort files."""
    found: dict[str, Task] = {}
    for path in sorted(SHIPPED.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in data.get("tasks", [data]):
            task = task_from({**entry, "dataset": data.get("dataset", "")}, path)
            if task.name in found:
                raise InputError(f"two shipped tasks are named {task.name!r}.", path)
            found[task.name] = task
    return found


def task_from(data: Any, file: Path | None = None) -> Task:
    """Build a task from a mapping and check it."""
    if not isinstance(data, dict):
        raise InputError("a task must be a mapping with at least name, kind and target.", file=file)
    if "tasks" in data:
        names = [t.get("name") for t in data["tasks"]]
        raise InputError("this file lists several tasks.", file, f"Name one of {names}, or write one to its own file.")
    fields = {field.name for field in dataclasses.fields(Task)}
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), sorted(fields), n=1)
            raise InputError(f"unknown task key {key!r}.", file, f"Did you mean {near[0]!r}?" if near else "")
    for key in ("name", "kind", "target"):
        if not data.get(key):
            raise InputError(f"the task lacks {key!r}.", file)
    labels = ("positives", "negatives", "classes")
    lists = ("metrics", "covariates", "preserve", "gap_groups")
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key in labels:
            values[key] = tuple(canonical(v) for v in _listed(value))
        else:
            values[key] = tuple(_listed(value)) if key in lists else value
    task = Task(**values)
    _check(task, file)
    return task


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _check(task: Task, file: Path | None) -> None:
    if task.kind not in KINDS:
        raise InputError(f"task {task.name}: kind {task.kind!r} is none of {KINDS}.", file)
    if not set(task.name) <= NAME_CHARACTERS:
        raise InputError(f"task name {task.name!r} has characters unfit for a file name.", file)
    if task.kind == "binary" and task.threshold is None and not (task.positives and task.negatives):
        raise InputError(f"task {task.name}: a binary task needs positives and negatives, or a threshold.", file)
    both = set(task.positives) & set(task.negatives)
    if both:
        raise InputError(f"task {task.name}: {sorted(both)} are positive and negative at once.", file)
    if task.harmonise not in ("", "combat"):
        raise InputError(f"task {task.name}: harmonise {task.harmonise!r} is unknown.", file, "Use combat or nothing.")
    if task.target in (*task.covariates, *task.preserve):
        raise InputError(f"task {task.name}: the target is among covariates or preserve: tested rows would need it.")
    for group in task.gap_groups:
        if set(group) != {"name", "column", "positives", "negatives"}:
            raise InputError(f"task {task.name}: a gap group has name, column, positives, negatives; not {group}.")
