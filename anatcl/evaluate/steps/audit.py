"""Leaks: participants, scans or fitted steps that connect training and test."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.base.words import does, plural
from anatcl.evaluate.data import identity, leaky
from anatcl.evaluate.data.brought import Brought, brought
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.data.twins import duplicates
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.spec.baselines import OwnBaseline
from anatcl.spec.overlaps import overlaps_file, overlaps_of

log = logging.getLogger(__name__)
digest = identity.digest
COLUMNS = ["method", "check", "encoder", "n_train", "n_test", "n_overlap", "overlap", "verdict"]
NOT_CHECKED = "not checked"


class LeakError(InputError):
    """Something tested was also trained on."""


def overlap(trained: Iterable[str], tested: Iterable[str], aliases: dict[str, str] | None = None) -> list[str]:
    """Tested participants that were trained on, by any spelling of a name or alias, or by hash."""
    return identity.compare(trained, tested, aliases).same


def trained_on(folder: str | Path, strict: bool = True) -> dict[int, list[str]]:
    """Training participants of each encoder ``fold-*/model.json`` of a method, of all its seeds (``seed-*/fold-*``).

    Where an encoder does not list them, the list is empty if not `strict`.

    Raises
    ------
    InputError
        No encoder, or one without a list of its training participants.
    """
    files = [file for place in ("", "seed-*/") for file in sorted(Path(folder).glob(f"{place}fold-*/model.json"))]
    if not files:
        raise InputError("no fold-*/model.json.", folder, "Give the folder of a pretrained method.")
    found: dict[int, list[str]] = {}
    for file in files:
        description = read_json(file)
        people = description.get("train_participants")
        if not people and strict:
            raise InputError("the encoder does not list its training participants (train_participants).", file)
        known = found.setdefault(int(file.parent.name.removeprefix("fold-")), [])
        before = set(known)
        known += [str(p) for p in people or [] if str(p) not in before]
    return found


def seen_by(folder: str | Path | None) -> dict[int, list[str]]:
    """Training participants of each encoder that has a fold; nothing of encoders that serve every fold."""
    if not folder or brought(folder) or not any(Path(folder).glob("fold-*/model.json")):
        return {}
    return trained_on(folder, strict=False)


def _check_brought(problem: Problem, encoders: dict[int, Brought], folder: str | Path) -> list[str]:
    """Abort when somebody who takes part was trained on: any row may be tested."""
    warnings = set()
    for number, one in encoders.items():
        compared = identity.compare(one.people, problem.rows["participant_id"])
        if compared.same:
            raise LeakError(
                f"encoder {number} was trained on {len(compared.same)} of the participants that it is tested on: "
                f"{_some(compared.same)}.",
                folder,
                "Leave these participants out of the task.",
            )
        why = compared.why_not if one.people else one.why_not
        warnings |= {f"overlap with pretraining not checked: {why}"} if why else set()
        warnings |= set() if one.people else set(_known_to_overlap(problem, one.cohorts))
    return sorted(warnings)


def _known_to_overlap(problem: Problem, cohorts: Iterable[str]) -> Iterator[str]:
    """Sentences on participants of a shipped cohort's task who are known to be in a pretraining cohort."""
    named = {identity.normal(name) for name in cohorts}
    for rule in overlaps_of(problem.task.name):
        if identity.normal(str(rule["cohort"])) not in named:
            continue
        try:
            found = len(_known_people(problem.rows, rule))
        except InputError:  # the dataset has no such column
            continue
        if found:
            total = problem.rows["participant_id"].nunique()
            yield f"{found} of {total} participants are known to be in {rule['cohort']}, which it was pretrained on"


def check_encoders(problem: Problem, splits: list[Split], folder: str | Path) -> list[str]:
    """Abort when a split tests a training participant of its encoder; warnings where names could not tell."""
    if serving := brought(folder):
        return _check_brought(problem, serving, folder)
    people, warnings = trained_on(folder), set()
    for split in splits:
        encoder = split.fold if split.encoder < 0 else split.encoder
        if encoder not in people:
            raise InputError(f"no model.json of the encoder of fold {encoder}.", folder)
        compared = identity.compare(people[encoder], problem.rows["participant_id"].iloc[split.test])
        if compared.same:
            raise LeakError(
                f"encoder {encoder} was trained on {len(compared.same)} of the participants that it is tested on: "
                f"{_some(compared.same)}.",
                folder,
                "Use the folds of pretraining, or leave these participants out.",
            )
        if compared.why_not:
            warnings.add(f"overlap with pretraining not checked: {compared.why_not}")
    return sorted(warnings)


def check_features(problem: Problem, features: Features, splits: list[Split]) -> list[str]:
    """Abort when a split trains on and tests the same features under two names; warn of features that tell the target.

    Every door is looked at: our encoders, others', and tables.
    """
    if not features.names:
        return []
    pairs = leaky.same_rows(problem, features)
    for split in splits if pairs else ():
        train, test = set(split.train.tolist()), set(split.test.tolist())
        both = [(i, j) for i, j in pairs if (i in train and j in test) or (j in train and i in test)]
        if both:
            names = problem.rows["participant_id"].astype(str).tolist()
            raise LeakError(
                f"{plural(len(both), 'pair')} of different participants {does(len(both), 'has', 'have')} the same "
                f"features, so fold {split.fold} trains on and tests the same participants: "
                f"{_some([f'{names[i]} = {names[j]}' for i, j in both])}.",
                remedy="Give each participant one participant_id, or name a column of the scans table that joins "
                "them as the task's group.",
            )
    return leaky.determined(problem, features)


def check_apart(problem: Problem, folds: pd.DataFrame, pretrained: str | Path | None) -> None:
    """Abort when encoders of this cohort would be tested outside their own folds.

    Every encoder of a cross-validated pretraining has seen all people but one fold. Where it is known whom each was
    trained on (`pretrained`), `check_encoders` looks at the very splits instead.
    """
    if pretrained:
        return
    both = sorted(set(problem.rows["participant_id"].astype(str)) & set(folds["participant_id"].astype(str)))
    if both:
        raise LeakError(
            f"{plural(len(both), 'tested participant')} {does(len(both), 'is', 'are')} in the pretraining folds "
            f"({_some(both)}): other encoders were trained on them.",
            remedy="Use protocol folds; for another cohort give no folds table; or give --pretrained.",
        )


def check_splits(problem: Problem, splits: list[Split]) -> None:
    """Abort when a participant is trained on and tested in one split."""
    for split in splits:
        both = sorted(set(problem.groups[split.train]) & set(problem.groups[split.test]))
        people = problem.rows["participant_id"].astype(str).to_numpy()
        both = both or sorted(set(people[split.train]) & set(people[split.test]))
        if both:
            raise LeakError(f"fold {split.fold} trains on and tests {_some(both)}.")


def check_untouched(
    problem: Problem, features: Features, split: Split, seed: int, probe: str | OwnBaseline = "linear"
) -> None:
    """Abort when a prediction depends on the labels or the features of tested participants.

    One split is repeated with every tested label replaced, and the features of all tested rows but one: the prediction
    of that one must not move. This sees any step that is fitted outside the training part (scaling, ComBat, feature
    selection, target statistics), whatever the code claims.
    """
    keep, others = split.test[:1], split.test[1:]
    before = protocol.predict_split(problem, features, split, seed, probe)
    changed = problem.y.copy()
    if problem.task.kind == "regression":
        changed[split.test] = -10 * changed[split.test] - 1000
    else:
        changed[split.test] = (changed[split.test] + 1) % len(problem.classes)
    score = None if problem.score is None else problem.score.copy()
    if score is not None:
        score[split.test] = -10 * score[split.test] - 1000
    matrices = {k: m.astype(float).copy() for k, m in features.matrices.items()}
    for matrix in matrices.values():
        matrix[others] = -7 * matrix[others] + 13
    after = protocol.predict_split(
        dataclasses.replace(problem, y=changed, score=score),
        dataclasses.replace(features, matrices=matrices),
        split,
        seed,
        probe,
    )
    column = (
        "y_pred"
        if problem.task.kind == "regression"
        else [c for c in before.columns if str(c).startswith(("score", "prob_"))]
    )
    where = before["scan"] == problem.rows["scan"].iloc[keep[0]]
    if not np.allclose(before.loc[where, column].to_numpy(), after.loc[where, column].to_numpy(), rtol=1e-7, atol=1e-9):
        raise LeakError(
            f"task {problem.task.name}: the prediction of a tested scan changes with the labels or features of other "
            "tested scans: something is fitted outside the training part."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def audit(
    scans: pd.DataFrame,
    pretrained: str | Path | Sequence[str | Path],
    *,
    folds: pd.DataFrame | None = None,
    aliases: dict[str, str] | None = None,
    known: list[dict[str, Any]] | None = None,
    cohort: str = "",
    volumes: tuple[np.ndarray, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Look for leaks between the pretraining of each encoder and its tested participants.

    Parameters
    ----------
    scans : DataFrame
        Tested scans.
    pretrained : str or Path, or a list of them
        Folders of fold-*/model.json, one per method.
    folds : DataFrame, optional
        Folds table where the cohort is that of pretraining: encoder k is tested on fold k. Without it every encoder is
        tested on everybody.
    aliases : dict, optional
        Other names of tested participants.
    known : list of dict, optional
        Known overlaps between cohorts: ``cohort`` (of pretraining), ``query`` over the scans table, ``reason``.
    cohort : str
        Name of the pretraining cohort, to choose among the known overlaps.
    volumes : tuple of (ndarray, DataFrame), optional
        Packed volumes and their rows, searched for the same scan under two names.

    Returns
    -------
    DataFrame
        One row per method, check and encoder (`COLUMNS`); verdict is ``clean``, ``LEAK``, or ``not checked`` where
        nothing could be compared (then overlap says why).

    Raises
    ------
    InputError
        `known` without a cohort, or without one of that name.
    """
    folders = [pretrained] if isinstance(pretrained, str | Path) else list(pretrained)
    serving = {folder: brought(folder) for folder in folders}
    told = any(one.cohorts for encoders in serving.values() for one in encoders.values())
    rules = rules_of(known, cohort) if known is not None and (cohort or not told) else []
    rows = []
    people = scans["participant_id"].astype(str)
    fold = None if folds is None else dict(zip(folds["participant_id"].astype(str), folds["fold"], strict=True))
    twins = _twins(volumes) if volumes is not None else []
    for folder in folders:
        method = Path(folder).name
        rows += [
            row for i, one in serving[folder].items() for row in _rows_of_brought(scans, method, i, one, aliases, known)
        ]
        if serving[folder]:
            continue
        for encoder, trained in trained_on(folder, strict=False).items():
            tested = people if fold is None else people[people.map(fold) == encoder]
            row = functools.partial(_row, method, encoder=encoder, trained=trained, tested=tested)
            rows += _rows_of_ours(row, trained, tested, aliases, volumes, twins)
    for rule in rules:
        check = f"known overlap: {rule.get('reason', rule['query'])}"
        rows.append(_row("all", check, encoder="all", trained=[], tested=people, found=_known_people(scans, rule)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows_of_ours(
    row: Callable[..., dict[str, Any]],
    trained: list[str],
    tested: pd.Series,
    aliases: dict[str, str] | None,
    volumes: tuple[np.ndarray, pd.DataFrame] | None,
    twins: list[tuple[str, str]],
) -> list[dict[str, Any]]:
    """An encoder of one fold is tested on the people of that fold: by name, and by the same volume under two names."""
    found, why = _same_people(trained, tested, aliases)
    rows = [row("participant", found=found, why_not=why)]
    if volumes is not None:
        why = _without_volume(volumes[1], trained)
        rows.append(row("volume", found=_same_scans(twins, trained, set(tested)), why_not=why))
    return rows


def _rows_of_brought(
    scans: pd.DataFrame,
    method: str,
    encoder: int,
    one: Brought,
    aliases: dict[str, str] | None,
    known: list[dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """Everybody is tested with an encoder that serves every fold: by name, and by what is known of its cohorts."""
    people = scans["participant_id"].astype(str)
    row = functools.partial(_row, method, encoder=encoder, trained=one.people, tested=people)
    compared = identity.compare(one.people, people, aliases)
    rows = [row("participant", found=compared.same, why_not=compared.why_not if one.people else one.why_not)]
    cohorts = {identity.normal(name) for name in one.cohorts}
    for rule in [r for r in known or [] if identity.normal(str(r["cohort"])) in cohorts]:
        rows.append(row(f"known overlap: {rule.get('reason', rule['query'])}", found=_known_people(scans, rule)))
    return rows


def _same_people(trained: list[str], tested: pd.Series, aliases: dict[str, str] | None) -> tuple[list[str], str]:
    """Tested participants who were trained on, and why nothing could be compared."""
    compared = identity.compare(trained, tested, aliases)
    return compared.same, compared.why_not if trained else "the encoder does not list its training participants"


def _without_volume(rows: pd.DataFrame, trained: list[str]) -> str:
    """Why volumes cannot be compared; empty when they can."""
    seen = set(rows["participant_id"].astype(str)) & set(trained)
    return "" if seen else "no volume of its training participants is among the arrays"


def rules_of(known: list[dict[str, Any]], cohort: str) -> list[dict[str, Any]]:
    """Known overlaps with one pretraining cohort; a cohort that no rule names would check nothing."""
    names = sorted({str(rule["cohort"]) for rule in known})
    found = [r for r in known if identity.normal(str(r["cohort"])) == identity.normal(cohort)]
    if not found:
        given = f"no known overlap is listed for the cohort {cohort!r}" if cohort else "known overlaps need a cohort"
        raise InputError(f"{given}.", remedy=f"Name one of {names} with --cohort, or leave out --known-overlaps.")
    return found


def _known_people(scans: pd.DataFrame, rule: dict[str, Any]) -> list[str]:
    try:
        hit = scans.query(rule["query"])
    except Exception as error:  # pandas raises many kinds for a wrong expression
        raise InputError(
            f"the known overlap {rule['query']!r} cannot be checked: {error}.",
            remedy=f"Columns of the scans table: {list(scans.columns)}.",
        ) from error
    return sorted(set(hit["participant_id"].astype(str)))


def _twins(volumes: tuple[np.ndarray, pd.DataFrame]) -> list[tuple[str, str]]:
    """Pairs of people, both ways, who have the same scan."""
    names = volumes[1]["participant_id"].astype(str).to_numpy()
    pairs = [(names[i], names[j]) for i, j in duplicates(volumes[0], names)]
    return pairs + [(b, a) for a, b in pairs]


def _same_scans(twins: list[tuple[str, str]], trained: list[str], tested: set[str]) -> list[str]:
    """Pairs ``tested = trained`` of the same scan under two names."""
    known = set(trained)
    return sorted(f"{a} = {b}" for a, b in twins if a in tested and b in known)


def _row(
    method: str,
    check: str,
    *,
    encoder: int | str,
    trained: Iterable[str],
    tested: Iterable[str],
    found: list[str],
    why_not: str = "",
) -> dict[str, Any]:
    listed = " ".join(found) if len(found) <= 20 else " ".join(found[:20]) + " ..."
    return {
        "method": method,
        "check": check,
        "encoder": encoder,
        "n_train": len(set(trained)),
        "n_test": len(set(tested)),
        "n_overlap": len(found),
        "overlap": listed or why_not,
        "verdict": "LEAK" if found else (NOT_CHECKED if why_not else "clean"),
    }


def load_known(source: str | Path) -> list[dict[str, Any]]:
    """Known overlaps from a YAML or JSON file (a list, or a mapping with the key ``known_overlaps``), or a name."""
    source = source if Path(source).is_file() else overlaps_file(str(source)) or source
    data = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    rules = data.get("known_overlaps", []) if isinstance(data, dict) else data
    for rule in rules:
        if not {"cohort", "query"} <= set(rule):
            raise InputError(f"a known overlap has cohort and query; not {json.dumps(rule)}.", file=source)
    return list(rules)
