"""Whether a dataset has the columns, the values and the participants that the tasks need."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.queries import fits_query
from anatcl.base.words import nearest
from anatcl.evaluate.data.problem import Problem, Refused, in_groups, make_problem
from anatcl.plan.columns import lacking
from anatcl.spec.check import Found, Place, tasks_of
from anatcl.spec.config import Config
from anatcl.spec.names import VOLUMES
from anatcl.spec.section import dotted
from anatcl.spec.task import Task, canonical, shipped_tasks

log = logging.getLogger(__name__)
SHOWN = 8  # values of a column that a sentence lists
QUOTES = "Put yes, no, true and false in quotes where they are text. "
Told = Iterator[tuple[Place, InputError]]


def check_tasks(config: Config, table: pd.DataFrame) -> Found:
    """What is wrong with the tasks of a configuration for this table of scans."""
    full = table.assign(**{name: np.nan for name in VOLUMES if name not in table})
    for place, task in tasks_of(config):
        named = task.at(config.evaluate.site_column)
        wrong = [*_task_columns(place, named if task.harmonise else task, table), *_queries(place, task, full)]
        yield from wrong or _people(place, named, full)


def _task_columns(place: Place, task: Task, table: pd.DataFrame) -> Told:
    """Columns that a task names."""
    wanted = [task.target, task.group, *task.covariates, *task.preserve, *(g.column for g in task.gap_groups)]
    wanted += [task.site] if task.harmonise or task.site != Task.model_fields["site"].default else []
    for column in dict.fromkeys(wanted):
        if column not in VOLUMES:
            yield from lacking(place, column, table, f"task {task.name}: ")


def _queries(place: Place, task: Task, table: pd.DataFrame) -> Told:
    """Queries of a task that cannot be asked."""
    for key in ("query", "train_query", "covariates_query"):
        if not (query := getattr(task, key)):
            continue
        try:
            fits_query(table, query, f"task {task.name}, {key}")
        except InputError as error:
            yield (place, error)


def _people(place: Place, task: Task, table: pd.DataFrame) -> Told:
    """Whether anybody has the values that a task is about; that they are few is a warning: the task will be skipped."""
    if any(name in f"{task.query} {task.train_query} {task.target}" for name in VOLUMES):
        return  # known once the scans are measured
    nobody = [*_classes(place, task, table), *_gap_groups(place, task, table)]
    if nobody:
        yield from nobody
        return
    try:
        yield from _trained(place, make_problem(task, table))
    except Refused as error:
        asked = table[fits_query(table, task.query)] if task.query else table
        if asked[task.target].isna().all():
            reason = f"task {task.name}: no participant takes part ({error.reason.rstrip('.')})."
            yield (place, InputError(reason, None, "Correct its query or its values, or leave the task out."))
            return
        log.warning("%s: task %s will be skipped: %s", dotted(place), task.name, error.reason)
    except InputError as error:
        yield (place, error)


def _trained(place: Place, problem: Problem) -> Told:
    """Whether those whom `train_query` leaves to be trained on have a target to learn."""
    task, labels = problem.task, problem.y[problem.trainable]
    if task.harmonise and problem.rows[task.site][problem.trainable].nunique() < 2:
        reason = f"task {task.name}: all training rows are of one {task.site}: there is nothing to harmonise."
        yield (place, InputError(reason, None, "Remove harmonise, or name another column by site."))
    if len(np.unique(labels)) < 2:
        what = "nobody" if not len(labels) else "participants of one class only" if problem.classes else "one target"
        reason = f"task {task.name}: train_query {task.train_query!r} leaves {what} to train on."
        yield (place, InputError(reason, None, "Correct train_query, or leave it out."))


def _classes(place: Place, task: Task, table: pd.DataFrame) -> Told:
    """Classes that nobody is in; a value that nobody has is a warning, where the user wrote it."""
    if task.kind == "regression" or (task.kind == "binary" and task.threshold is not None):
        return
    there = sorted(set(table[task.target].dropna().map(canonical)))
    sides = {"positives": task.positives, "negatives": task.negatives, "classes": task.classes}
    for key, side in ((key, side) for key, side in sides.items() if side):
        absent = [value for value in side if value not in there]
        if len(absent) == len(side):
            yield (place, _nobody(f"task {task.name}", task.target, side, there))
        # A shipped task lists the spellings of many datasets.
        elif absent and getattr(shipped_tasks().get(task.name), key, ()) != side:
            said = _nobody(f"task {task.name}: {key}", task.target, tuple(absent), there)
            log.warning("%s: %s", dotted(place), said)


def _gap_groups(place: Place, task: Task, table: pd.DataFrame) -> Told:
    """Groups of a brain-age gap that nobody is in."""
    for number, group in enumerate(task.gap_groups):
        there = sorted(set(table[group.column].dropna().map(canonical)))
        member = in_groups(table[group.column], group.positives, group.negatives)
        for code, side in ((1, group.positives), (0, group.negatives)):
            if not (member == code).any():
                inside = (*place, "gap_groups", number)
                yield (inside, _nobody(f"task {task.name}", group.column, side, there))


def _nobody(what: str, column: str, side: tuple[str, ...], there: list[str]) -> InputError:
    listed = f"{', '.join(there[:SHOWN])}{' ...' if len(there) > SHOWN else ''}"
    reason = (
        f"{what}: no participant has {' or '.join(map(repr, side[:4]))} in the column {column!r} (there: {listed})."
    )
    truth = QUOTES if {"True", "False"} & set(side) else ""
    return InputError(reason, None, f"{truth}{nearest(side[0], there)}")
