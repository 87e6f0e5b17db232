"""Whether a configuration fits its dataset: columns, participants, sites, scans; checked before the first job."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError, InputErrors
from anatcl.base.words import does, nearest, plural
from anatcl.bids.derivatives import find_maps
from anatcl.evaluate.data.features import load_table, used_columns
from anatcl.plan.check_tasks import check_tasks
from anatcl.plan.columns import lacking
from anatcl.plan.plan import Plan
from anatcl.spec import layout
from anatcl.spec.bids import matches
from anatcl.spec.check import Found, Place, can_be_read, check_files_and_names, tasks_of
from anatcl.spec.check_arrays import ARRAYS
from anatcl.spec.check_seen import seen
from anatcl.spec.config import Config, Evaluate
from anatcl.spec.layers import Layers
from anatcl.spec.mend import Mended
from anatcl.spec.names import QUALITY, VOLUMES, needs_age
from anatcl.spec.names import methods as known_methods
from anatcl.spec.protocol import load_design
from anatcl.spec.section import dotted
from anatcl.spec.task import canonical

log = logging.getLogger(__name__)
OF_WHOLE = ("preprocess", "threads")  # what the one check of the whole is about
# Sections without which the index would be another one than was meant.
OF_INDEX = ("bids_dir", "bids", "participants")
FEWEST = 2  # scans to train on
ROWS = "Write the names of the scans as in results/bids/scans.tsv, or those of the participants."


def checked_plan(layers: Layers, dataset: bool = True, scans_alone: bool = False, environments: bool = False) -> Plan:
    """The plan of a configuration that fits its dataset.

    Parameters
    ----------
    layers : Layers
        Content of each file.
    dataset : bool
        Compare it with the dataset, too.
    scans_alone : bool
        Nothing will be trained or scored: what the dataset lacks for that is only said. One participant of a BIDS App
        has neither folds nor classes.
    environments : bool
        Jobs run in environments of their own.

    Raises
    ------
    InputErrors
        Everything that is wrong, each with its file, key, nearest name and remedy.
    """
    mended = Mended(layers.values)
    plan = Plan(mended.config)
    wrong = [InputError(f"{one.text}.", layers.origin(one.place or OF_WHOLE) or None) for one in mended.wrong]
    found = list(check_files_and_names(plan.config, environments))
    places = [one.place for one in mended.wrong if one.place]
    unknown = ARRAYS in (place for place, _ in found)  # then the index would be of another folder than was meant
    if dataset and not unknown and not any(place[0] in OF_INDEX for place in places):
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
            yield error.key or ("bids_dir",), error
        return
    for check in (_maps,) if plan.cohort.source else (_decisions, _masks, _means):
        yield from check(plan, table)
    _name_seen(plan)
    later = [one for check in (_folds, _ages, _columns, _protocols, _features) for one in check(plan, table)]
    later += _tasks(plan, table)
    if not scans_alone:
        yield from later
    elif later:
        (place, first), more = later[0], len(later) - 1
        rest = f" ({more} more)" if more else ""
        log.warning("Training and evaluation would be refused with these scans%s: %s: %s", rest, dotted(place), first)


def _tasks(plan: Plan, table: pd.DataFrame) -> list[tuple[Place, InputError]]:
    """Tasks that the dataset cannot answer; only said where the user wants them skipped."""
    found = list(check_tasks(plan.config, table))
    if plan.config.evaluate.unanswerable == "refuse":
        return found
    for place, error in found:
        log.warning("%s will be skipped: %s", dotted(place), error)
    return []


# -- who takes part -----------------------------------------------------------------------------------------------


def _participants(config: Config) -> Found:
    """Patterns of participants to take that fit nobody."""
    people = _people(Path(config.bids_dir))
    bare = {name.removeprefix("sub-") for name in people}
    for number, pattern in enumerate(config.participants.include if people else ()):
        plain = not set(pattern) & set("*?[")
        if pattern.removeprefix("sub-") in bare or (not plain and any(matches(p, (pattern,), "sub-") for p in people)):
            continue
        remedy = nearest(pattern, people)
        if pattern.isdigit():
            same = [name for name in sorted(bare) if name.isdigit() and int(name) == int(pattern)]
            remedy = f"Write {same[0]!r} in quotes: YAML reads it as a number." if same else remedy
        error = InputError(f"{pattern!r} matches no participant of {config.bids_dir}.", None, remedy)
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
            error = InputError(f"{scan!r} is not a scan of the dataset.", None, nearest(scan, table["scan"]))
            yield (("preprocess", key), error)


def _name_seen(plan: Plan) -> None:
    """Name the encoders that have seen the cohort and are left out; where they are refused, that is said elsewhere."""
    if plan.config.evaluate.unanswerable == "skip" and (left := sorted(seen(plan.config))):
        log.warning("These encoders were pretrained on this cohort and are left out: %s.", ", ".join(left))


def _maps(plan: Plan, table: pd.DataFrame) -> Found:
    """Maps of another program that belong to nobody; scans without one, and missing rivals, are only named."""
    asked = (*plan.config.evaluate.baselines, *plan.config.evaluate.rivals)
    left = [name for name in asked if name in plan.methods.unmeasured]
    if left := [*left, *(name for name in plan.config.evaluate.own if name not in plan.methods.own)]:
        log.warning("There are no regional measures, so that these methods are left out: %s.", ", ".join(left))
    if not plan.config.pretrain.maps or not Path(plan.config.pretrain.maps).is_dir():
        return  # the latter is said already
    try:
        found = find_maps(plan.config.pretrain.maps, table["scan"])
    except InputError as error:
        yield (("pretrain", "maps"), error)
        return
    without = sorted(set(table["scan"]) - set(found))
    if without:
        log.warning("pretrain.maps: %s of %s have no map, %s first.", len(without), len(table), without[0])


def _masks(plan: Plan, table: pd.DataFrame) -> Found:
    """Given masks that do not exist."""
    if plan.config.preprocess.skullstrip.method != "mask":
        return
    try:
        without = [scan for scan in table["scan"] if not plan.cohort.given_mask(scan)]
    except InputError:
        return  # the table of corrections is wrong, which is said already
    if not without:
        return
    place, pattern = ("preprocess", "skullstrip", "masks"), plan.config.preprocess.skullstrip.masks
    have = does(len(without), "has", "have")
    reason = f"{len(without)} of {plural(len(table), 'scan')} {have} no mask there, {without[0]} first."
    if len(without) == len(table):
        yield (place, InputError(reason, pattern.replace("{scan}", without[0]), "Correct the path."))
    else:
        log.warning("%s: %s Scans without one fail at this step, the others continue.", dotted(place), reason)


# -- pretraining --------------------------------------------------------------------------------------------------


def _means(plan: Plan, table: pd.DataFrame) -> Found:
    """Mean scans of participants for whom masks are given, or whose name is taken."""
    if not plan.config.measures.longitudinal:
        return
    place, method = ("measures", "longitudinal"), plan.config.preprocess.skullstrip.method
    if method in ("mask", "none"):
        reason = f"measures: longitudinal makes masks of mean scans, but preprocess: skullstrip: method is {method!r}."
        yield (place, InputError(reason, None, "Write method: auto, or longitudinal: false."))
    try:
        _ = plan.cohort.persons
    except InputError as error:
        yield (place, error)


def _folds(plan: Plan, table: pd.DataFrame) -> Found:
    """The column that is kept whole within a fold."""
    settings = plan.config.pretrain
    if not plan.methods.encoders:
        return  # nothing is trained: as many folds as can be filled will do
    missing = lacking(("pretrain", "group"), settings.group, table)
    yield from missing
    if not missing:
        groups = table.drop_duplicates("participant_id")[settings.group].fillna("n/a").astype(str).nunique()
        if groups < settings.folds:
            reason = f"{plural(groups, 'value')} of {settings.group!r} cannot fill {settings.folds} folds."
            remedy = f"Lower pretrain: folds to {groups}." if groups > 1 else "Include more participants."
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
        if any(part in known_methods() and needs_age(part, settings.alpha_age) for part in parts):
            who = f"{plural(int(known), 'scan')} of the dataset {does(known, 'has', 'have')} one"
            reason = f"{method!r} trains on ages, and {who}."
            remedy = "Name the column by bids: columns: {age: ...}, use simclr, or use AnatCL with alpha_age: 0."
            yield (("pretrain", "methods", number), InputError(reason, None, remedy))


# -- columns ------------------------------------------------------------------------------------------------------


def _columns(plan: Plan, table: pd.DataFrame) -> Found:
    """Columns of the evaluation; those of the default may be absent, since no dataset has them all."""
    settings, usual = plan.config.evaluate, Evaluate()
    for number, column in enumerate(settings.subgroups):
        if column not in usual.subgroups:
            yield from lacking(("evaluate", "subgroups", number), column, table)
    if settings.site_column != usual.site_column:
        yield from lacking(("evaluate", "site_column"), settings.site_column, table)
    for number, column in enumerate(settings.confounds):
        if column not in (*VOLUMES, *QUALITY):  # known once the scans are measured
            yield from lacking(("evaluate", "confounds", number), column, table)
    for number, column in enumerate(settings.decode_adjust if settings.decode != "none" else ()):
        if column not in (*usual.decode_adjust, *VOLUMES):
            yield from lacking(("evaluate", "decode_adjust", number), column, table)
    if settings.shuffle_within:
        yield from lacking(("evaluate", "shuffle_within"), settings.shuffle_within, table)


def _protocols(plan: Plan, table: pd.DataFrame) -> Found:
    """Columns and values of the protocols."""
    for number, told in enumerate(plan.config.evaluate.protocols):
        place: Place = ("evaluate", "protocols", number)
        design = load_design(told)
        if design.kind not in ("leave-site-out", "transfer"):
            continue
        missing = lacking((*place, "column"), design.column, table)
        yield from missing
        if missing:
            continue
        values = sorted(set(table[design.column].dropna().map(canonical)))
        if design.kind == "leave-site-out" and len(values) < 2:
            error = InputError(
                f"the column {design.column!r} has one value, {values[0]!r}.", None, "Choose another one."
            )
            yield ((*place, "column"), error)
        for side in ("train", "test") if design.kind == "transfer" else ():
            for value in getattr(design, side):
                if value not in values:
                    reason = f"no scan has {value!r} in the column {design.column!r}."
                    yield ((*place, side), InputError(reason, None, nearest(value, values)))


# -- features of other tools --------------------------------------------------------------------------------------


def _features(plan: Plan, table: pd.DataFrame) -> Found:
    """Tables of features that cannot be joined, hold no numbers, or hold nobody of this dataset."""
    used = used_columns(task for _, task in tasks_of(plan.config))
    for name, given in plan.config.evaluate.features.items():
        place: Place = ("evaluate", "features", name, "table")
        if not can_be_read(given):
            continue  # said already
        try:
            found = load_table(given.table, given.columns, table, used)
        except InputError as error:
            yield (place, error)
            continue
        if not found.present.any():
            yield (
                place,
                InputError(f"no scan of the dataset has a row in it. {' '.join(found.notes)}", given.table, ROWS),
            )
