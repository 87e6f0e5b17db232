"""Cross-validation folds by participant."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import does, plural

log = logging.getLogger(__name__)


def make_folds(scans: pd.DataFrame, folds: int, seed: int = 0, group: str = "participant_id") -> pd.DataFrame:
    """Assign each participant to one fold.

    Parameters
    ----------
    scans : DataFrame
        Columns ``participant_id`` and, where known, ``age`` (years) and `group`; one row per scan.
    folds : int
        At least 2.
    seed : int
    group : str
        ``participant_id``: ages are balanced over the folds (participants are sorted by age and each run of `folds`
        neighbours is dealt out in random order). Another column (``site``): whole groups go to one fold, largest first
        to the smallest fold.

    Returns
    -------
    DataFrame
        Columns ``participant_id``, ``fold`` (0 ... folds - 1), sorted by participant. It depends on the set of
        participants, not on the order of the rows.
    """
    if folds < 2:
        raise InputError(f"{folds} folds leave no participant to hold out.", remedy="Set pretrain: folds to 2 or more.")
    people = _people(scans, group)
    random = np.random.default_rng(seed)
    fold = _by_age(people, folds, random) if group == "participant_id" else _by_group(people, folds, random, group)
    table = pd.DataFrame({"participant_id": people.index, "fold": fold})
    return table.sort_values("participant_id", ignore_index=True)


def fold_of(folds: pd.DataFrame) -> dict[str, int]:
    """Fold of each participant of a folds table.

    Raises
    ------
    InputError
        A column is missing, a fold is not a whole number, or a participant has two folds: one would be tested by
        an encoder that has seen them.
    """
    missing = {"participant_id", "fold"} - set(folds.columns)
    if missing:
        reason = f"the folds table lacks the columns {sorted(missing)}."
        raise InputError(reason, remedy="Write one row for each participant: participant_id, fold.")
    people, numbers = folds["participant_id"].astype(str), pd.to_numeric(folds["fold"], errors="coerce")
    wrong = ~(numbers % 1 == 0)
    if wrong.any():
        reason = f"the fold of participant {people[wrong].iloc[0]} is not a whole number."
        raise InputError(
            reason, remedy="Number the folds 0, 1, 2 ...; leave participants without a fold out of the table."
        )
    twice = people[people.duplicated()]
    if len(twice):
        reason = f"participant {twice.iloc[0]} occurs in the folds table more than once."
        raise InputError(reason, remedy="Keep one row for each participant.")
    return dict(zip(people, numbers.astype(int), strict=True))


def _people(scans: pd.DataFrame, group: str) -> pd.DataFrame:
    """One row per participant: mean age and group, sorted by identifier."""
    if group not in scans:
        raise InputError(
            f"folds are grouped by {group!r}, but the cohort has no such column.",
            remedy="Name a column of participants.tsv, or participant_id.",
        )
    scans = scans.sort_values("participant_id", kind="stable")
    age = pd.to_numeric(scans["age"], errors="coerce") if "age" in scans else pd.Series(np.nan, scans.index)
    frame = pd.DataFrame({"participant": scans["participant_id"].astype(str), "age": age, "group": scans[group]})
    people = frame.groupby("participant").agg(age=("age", "mean"), group=("group", "first"))
    several = frame.groupby("participant")["group"].nunique()
    if (several > 1).any():
        many = int((several > 1).sum())
        who = f"{plural(many, 'participant')} {does(many, 'appears', 'appear')}"
        log.warning("%s in several %s groups; the first counts", who, group)
    return people


def _by_age(people: pd.DataFrame, folds: int, random: np.random.Generator) -> np.ndarray:
    n = len(people)
    folds = _filled(plural(n, "participant"), n, folds)
    # Ties (and unknown ages, which sort last) are broken at random, not by identifier.
    order = np.lexsort((random.permutation(n), people["age"].to_numpy()))
    fold = np.empty(n, dtype=int)
    for start in range(0, n, folds):
        block = order[start : start + folds]
        fold[block] = random.permutation(folds)[: len(block)]
    return fold


def _filled(what: str, there: int, folds: int) -> int:
    """How many folds are made: no more than can be filled. The training without an empty one says that it cannot be."""
    if there < folds:
        log.warning("%s cannot fill %d folds: no more than %s.", what, folds, plural(there, "fold"))
    return min(there, folds)


def _by_group(people: pd.DataFrame, folds: int, random: np.random.Generator, group: str) -> np.ndarray:
    names = people["group"].fillna("n/a").astype(str)
    sizes = names.value_counts()
    folds = _filled(plural(len(sizes), f"value of {group!r}"), len(sizes), folds)
    keys = sorted(sizes.index)
    order = sorted(random.permutation(len(keys)), key=lambda i: -int(sizes[keys[i]]))
    load = np.zeros(folds, dtype=int)
    where: dict[str, int] = {}
    for i in order:
        where[keys[i]] = int(load.argmin())
        load[where[keys[i]]] += int(sizes[keys[i]])
    return names.map(where).to_numpy(dtype=int)
