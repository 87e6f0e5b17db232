"""Whether a configuration fits its dataset: columns, people, sites, scans; asked before the first job."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError, InputErrors
from anatcl.base.words import nearest
from anatcl.evaluate.data.problem import Refused, make_problem
from anatcl.plan.plan import Plan
from anatcl.spec import layout
from anatcl.spec.bids import matches
from anatcl.spec.check import Found, Place, check_files_and_names, tasks_of
from anatcl.spec.config import Config, Evaluate
from anatcl.spec.layers import Layers
from anatcl.spec.mend import Mended
from anatcl.spec.names import VOLUMES, needs_age
from anatcl.spec.protocol import load_design
from anatcl.spec.section import dotted
from anatcl.spec.task import Task, canonical

log = logging.getLogger(__name__)
# Sections without which the index would be another one than was meant.
OF_WHOLE = ("preprocess", "threads")  # what the one check of the whole is about
OF_INDEX = ("bids_dir", "bids", "participants")
FEWEST = 2  # scans to train on


def checked_plan(layers: Layers, dataset: bool = True, scans_alone: bool = False) -> Plan:
    """The plan of a configuration that fits its dataset.

    Parameters
    ----------
    layers : Layers
        What each file says.
    dataset : bool
        Compare it with the dataset, too.
    scans_alone : bool
        Nothing will be trained or scored: what the dataset lacks for that is only said. One participant of a BIDS App
        has neither folds nor classes.

    Raises
    ------
    InputErrors
        Everything that is wrong, each with its file, key, nearest name and remedy.
    """
    mended = Mended(layers.values)
    plan = Plan(mended.config)
    wrong = [InputError(f"{one.text}.", layers.origin(one.place or OF_WHOLE) or None) for one in mended.wrong]
    found = list(check_files_and_names(plan.config))
    if dataset and not any(one.place[0] in OF_INDEX for one in mended.wrong if one.place):
        found += _against_index(plan, scans_alone)
    for place, error in found:
        if not mended.is_default(place):  # of a default in the place of a wrong value nothing is to be said
            wrong.append(_told(mended.of_user(place), error, layers))
    if wrong:
        raise InputErrors(wrong)
    return plan


def stops_at_scans(asked: Sequence[str]) -> bool:
    """Whether rules and files that Snakemake is asked for end at the scans: nothing will be trained or scored."""
    return bool(asked) and all(
        word in layout.OF_SCANS or any(Path(word).is_relative_to(folder) for folder in layout.FOLDERS_OF_SCANS)
        for word in asked
    )


def _told(place: Place, error: InputError, layers: Layers) -> InputError:
    """An error with the file that holds the key, and the key; the file that it names itself is part of the sentence."""
    inside = f"{error.file}: " if error.file else ""
    return InputError(f"{dotted(place)}: {inside}{error.reason}", layers.origin(place) or None, error.remedy)


def _against_index(plan: Plan, scans_alone: bool) -> Found:
    nobody = list(_participants(plan.config))
    yield from nobody
    try:
        table = plan.cohort.index.reset_index(drop=True)
    except InputError as error:
        if not nobody:
            yield ("bids_dir",), error
        return
    for check in (_decisions, _masks):
        yield from check(plan, table)
    later = [one for check in (_folds, _ages, _columns, _protocols, _tasks) for one in check(plan, table)]
    if not scans_alone:
        yield from later
    elif later:
        (place, first), more = later[0], len(later) - 1
        rest = f" ({more} more)" if more else ""
        log.warning("Training and evaluation would be refused with these scans%s: %s: %s", rest, dotted(place), first)


# -- who takes part -----------------------------------------------------------------------------------------------


def _participants(config: Config) -> Found:
    """Patterns of participants to take that fit nobody."""
    people = _people(Path(config.bids_dir))
    bare = {name.removeprefix("sub-") for name in people}
    for number, pattern in enumerate(config.participants.include if people else ()):
        plain = not set(pattern) & set("*?[")
        if pattern.removeprefix("sub-") in bare or (not plain and any(matches(p, (pattern,), "sub-") for p in people)):
            continue
        error = InputError(f"{pattern!r} fits no participant of {config.bids_dir}.", None, nearest(pattern, people))
        yield (("participants", "include", number), error)


def _people(root: Path) -> list[str]:
    """Names of the participants' folders."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.name.startswith("sub-"))
    except OSError:
        return []  # the index says why


def _decisions(plan: Plan, table: pd.DataFrame) -> Found:
    """Scans that somebody decided about and that the dataset does not have."""
    settings = plan.config.preprocess
    try:
        corrections = sorted(plan.cohort.corrections.scans)
    except InputError:
        corrections = []  # said already
    for key, scans in (("accept", settings.accept), ("reject", settings.reject), ("corrections", corrections)):
        for scan in sorted(set(scans) - set(table["scan"])):
            if any((Path(plan.config.bids_dir) / f"{scan}_T1w{end}").exists() for end in (".nii.gz", ".nii")):
                log.warning("preprocess.%s: %s is not among the scans of this run.", key, scan)
                continue
            error = InputError(f"{scan!r} is no scan of the dataset.", None, nearest(scan, table["scan"]))
            yield (("preprocess", key), error)


def _masks(plan: Plan, table: pd.DataFrame) -> Found:
    """Given masks that do not exist."""
    if plan.config.preprocess.skullstrip.method != "mask":
        return
    try:
        lacking = [scan for scan in table["scan"] if not plan.cohort.given_mask(scan)]
    except InputError:
        return  # the table of corrections is wrong, which is said already
    if not lacking:
        return
    place, pattern = ("preprocess", "skullstrip", "masks"), plan.config.preprocess.skullstrip.masks
    reason = f"{len(lacking)} of {len(table)} scans have no mask there, {lacking[0]} first."
    if len(lacking) == len(table):
        yield (place, InputError(reason, pattern.replace("{scan}", lacking[0]), "Correct the path."))
    else:
        log.warning("%s: %s They fail at this step, the others go on.", dotted(place), reason)


# -- pretraining --------------------------------------------------------------------------------------------------


def _folds(plan: Plan, table: pd.DataFrame) -> Found:
    """The column that is kept whole within a fold."""
    settings = plan.config.pretrain
    lacking = _lacking(("pretrain", "group"), settings.group, table)
    yield from lacking
    if not lacking:
        groups = table.drop_duplicates("participant_id")[settings.group].fillna("n/a").astype(str).nunique()
        if groups < settings.folds:
            reason = f"{groups} values of {settings.group!r} cannot fill {settings.folds} folds."
            remedy = f"Lower pretrain: folds to {groups}." if groups > 1 else "Take more people."
            error = InputError(reason, None, remedy)
            yield (("pretrain", "folds"), error)


def _ages(plan: Plan, table: pd.DataFrame) -> Found:
    """Methods that train on ages in a cohort that has none."""
    settings = plan.config.pretrain
    known = pd.to_numeric(table["age"], errors="coerce").notna().sum() if "age" in table else 0
    if known >= FEWEST:
        return
    for number, method in enumerate(settings.methods):
        parts = settings.joint.get(method, (method,))
        if any(needs_age(part, settings.alpha_age) for part in parts):
            reason = f"{method!r} trains on ages, and {known} scans of the dataset have one."
            remedy = "Name the column by bids: columns: {age: ...}, take simclr, or AnatCL with alpha_age: 0."
            yield (("pretrain", "methods", number), InputError(reason, None, remedy))


# -- columns ------------------------------------------------------------------------------------------------------


def _columns(plan: Plan, table: pd.DataFrame) -> Found:
    """Columns of the evaluation; those of the default may be absent, since no dataset has them all."""
    settings, usual = plan.config.evaluate, Evaluate()
    for number, column in enumerate(settings.subgroups):
        if column not in usual.subgroups:
            yield from _lacking(("evaluate", "subgroups", number), column, table)
    if settings.site_column != usual.site_column:
        yield from _lacking(("evaluate", "site_column"), settings.site_column, table)


def _lacking(place: Place, column: str, table: pd.DataFrame, who: str = "") -> list[tuple[Place, InputError]]:
    """What is wrong with a column that is needed: it is not there, or nobody has a value."""
    if column in table and table[column].notna().any():
        return []
    known = [str(name) for name in table if table[name].notna().any() and name != "path"]
    why = "no scan has a value in the column" if column in table else "the scans table has no column"
    remedy = f"{nearest(column, known)} Or name it by bids: columns."
    return [(place, InputError(f"{who}{why} {column!r}.", None, remedy))]


def _protocols(plan: Plan, table: pd.DataFrame) -> Found:
    """Columns and values of the protocols."""
    for number, told in enumerate(plan.config.evaluate.protocols):
        place: Place = ("evaluate", "protocols", number)
        design = load_design(told)
        if design.kind not in ("leave-site-out", "transfer"):
            continue
        lacking = _lacking((*place, "column"), design.column, table)
        yield from lacking
        if lacking:
            continue
        values = sorted(set(table[design.column].dropna().map(canonical)))
        if design.kind == "leave-site-out" and len(values) < 2:
            error = InputError(f"the column {design.column!r} has one value, {values[0]!r}.", None, "Take another one.")
            yield ((*place, "column"), error)
        for side in ("train", "test") if design.kind == "transfer" else ():
            for value in getattr(design, side):
                if value not in values:
                    reason = f"no scan has {value!r} in the column {design.column!r}."
                    yield ((*place, side), InputError(reason, None, nearest(value, values)))


# -- tasks --------------------------------------------------------------------------------------------------------


def _tasks(plan: Plan, table: pd.DataFrame) -> Found:
    full = table.assign(**{name: np.nan for name in VOLUMES if name not in table})
    for place, task in tasks_of(plan.config):
        if task.site == "site":
            task = task.model_copy(update={"site": plan.config.evaluate.site_column})
        wrong = [*_task_columns(place, task, table), *_queries(place, task, full)]
        yield from wrong or _task_people(place, task, full)


def _task_columns(place: Place, task: Task, table: pd.DataFrame) -> Iterator[tuple[Place, InputError]]:
    """Columns that a task names."""
    wanted = [task.target, task.group, *task.covariates, *task.preserve, *(g.column for g in task.gap_groups)]
    wanted += [task.site] if task.harmonise else []
    for column in dict.fromkeys(wanted):
        if column not in VOLUMES:
            yield from _lacking(place, column, table, f"task {task.name}: ")


def _queries(place: Place, task: Task, table: pd.DataFrame) -> Iterator[tuple[Place, InputError]]:
    """Queries of a task that cannot be asked."""
    for query in filter(None, (task.query, task.train_query)):
        try:
            table.query(query)
        except Exception as error:  # pandas raises many kinds for a wrong expression
            unknown = re.search(r"name '(.+)' is not defined", str(error))
            remedy = nearest(unknown.group(1), map(str, table)) if unknown else "Write for example: age >= 18."
            reason = f"task {task.name}: the query {query!r} cannot be evaluated ({' '.join(str(error).split())})."
            yield (place, InputError(reason, None, remedy))


def _task_people(place: Place, task: Task, table: pd.DataFrame) -> Iterator[tuple[Place, InputError]]:
    """Whether anybody has the values that a task is about; that they are few is a warning: the task will be skipped."""
    if any(name in f"{task.query} {task.train_query} {task.target}" for name in VOLUMES):
        return  # known once the scans are measured
    nobody = _classes(task, table)
    if nobody:
        yield (place, InputError(f"task {task.name}: {nobody[0]}", None, nobody[1]))
        return
    try:
        make_problem(task, table)
    except Refused as error:
        asked = table.query(task.query) if task.query else table
        if asked[task.target].isna().all():
            reason = f"task {task.name}: nobody takes part ({error.reason.rstrip('.')})."
            yield (place, InputError(reason, None, "Mend its query or its values, or leave the task out."))
            return
        log.warning("%s: task %s will be skipped: %s", dotted(place), task.name, error.reason)
    except InputError as error:
        yield (place, error)


def _classes(task: Task, table: pd.DataFrame) -> tuple[str, str] | None:
    """Reason and remedy where nobody has a value of a class."""
    if task.kind == "regression" or (task.kind == "binary" and task.threshold is not None):
        return None
    there = sorted(set(table[task.target].dropna().map(canonical)))
    sides: Sequence[tuple[str, ...]] = (task.positives, task.negatives) if task.kind == "binary" else (task.classes,)
    for side in filter(None, sides):
        if not set(side) & set(there):
            shown = f"{', '.join(there[:8])}{' ...' if len(there) > 8 else ''}"
            reason = f"nobody has {' or '.join(map(repr, side[:4]))} in the column {task.target!r} (there: {shown})."
            return reason, nearest(side[0], there)
    return None
