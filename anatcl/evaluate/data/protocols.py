"""The outer splits of a protocol, from a few words of configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import plural
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.split import Split, deal, fold_column
from anatcl.spec.protocol import Design
from anatcl.spec.task import canonical


def make_splits(
    design: Design,
    problem: Problem,
    folds: pd.DataFrame | None,
    encoders: list[int],
    seed: int,
    seen: Mapping[int, Collection[str]] | None = None,
) -> dict[str, list[Split]]:
    """Outer splits by the protocol's name in the tables.

    Where the splits are not those of pretraining, each encoder is evaluated apart on every split and the scores are
    averaged; features of different encoders are never mixed, since their latent spaces differ. Encoders that have seen
    a tested participant are left out of a split where others have not.

    Parameters
    ----------
    design : Design
        The protocol.
    problem : Problem
        Rows and labels.
    folds : DataFrame or None
        Folds table, needed by ``folds`` and ``few-shot``.
    encoders : list of int
        Keys of the features' matrices; [-1] where one matrix serves all.
    seed : int
        Seed of dealing and drawing.
    seen : mapping of int to collection of str, optional
        Training participants of each encoder, as far as they are known.
    """
    found = {name: list(splits) for name, splits in KINDS[design.kind](design, problem, folds, seed)}
    if evaluated_apart(design, folds) and encoders != [-1]:
        found = {
            name: [
                dataclasses.replace(s, encoder=e)
                for e in encoders
                for s in splits
                if e in _strangers(problem, s, encoders, seen or {})
            ]
            for name, splits in found.items()
        }
    suffix = "" if design.probe == "linear" else f"-{design.probe}"
    return {name + suffix: [_only_trainable(problem, s) for s in splits] for name, splits in found.items()}


def _strangers(problem: Problem, split: Split, encoders: list[int], seen: Mapping[int, Collection[str]]) -> list[int]:
    """Encoders that have seen nobody whom a split tests; all of them where there is none, which the audit refuses."""
    tested = set(problem.rows["participant_id"].iloc[split.test].astype(str))
    return [e for e in encoders if not tested & set(seen.get(e, ()))] or encoders


def evaluated_apart(design: Design, folds: pd.DataFrame | None) -> bool:
    """Whether the splits are not those of pretraining, so that every encoder meets every split."""
    return design.kind != "folds" and not (design.kind == "few-shot" and folds is not None)


# Draws of a few-shot protocol where the configuration names no number: one draw says little of another.
DRAWS = 10
LEAST_PER_CLASS, LEAST_REGRESSION = 2, 4
Named = Iterator[tuple[str, Iterator[Split] | list[Split]]]


def _fixed(fold: np.ndarray, repeat: int = 0) -> list[Split]:
    """One split per value of `fold`: tested once each."""
    return [Split(np.flatnonzero(fold != k), np.flatnonzero(fold == k), int(k), repeat) for k in np.unique(fold)]


def _pretraining_folds(problem: Problem, folds: pd.DataFrame | None) -> list[Split]:
    if folds is None:
        raise InputError("this protocol needs the folds table.", remedy="Give --folds, or choose protocol repeated.")
    splits = _fixed(fold_column(problem.rows["participant_id"], folds))
    if len(splits) < 2:
        raise Refused("all participants are in one fold.", problem)
    return splits


def _folds(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    splits = _pretraining_folds(problem, folds)
    yield f"{len(splits)}-fold", splits


def _repeated(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    rng = np.random.default_rng([seed, 1])
    continuous = problem.task.kind == "regression"
    k, repeats = min(design.folds, len(set(problem.groups))), design.repeats or 1
    dealt = [deal(problem.groups, problem.y, k, rng, continuous) for _ in range(repeats)]
    yield f"{repeats}x{k}-fold", [s for r, fold in enumerate(dealt) for s in _fixed(fold, r)]


def _column(design: Design, problem: Problem) -> np.ndarray:
    if design.column not in problem.rows:
        raise Refused(f"no column {design.column!r} to split by.", problem)
    return problem.rows[design.column].map(canonical).to_numpy()


def _leave_site_out(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    values = _column(design, problem)
    names, fold = np.unique(values, return_inverse=True)
    known = values != ""  # who has no site is neither tested nor trained on: it may be any
    if len(set(values[known])) < 2:
        raise Refused(f"{design.column!r} has {plural(len(set(values[known])), 'value')}, two are needed.", problem)
    sites = [_of_known(s, known) for s in _fixed(fold) if names[s.fold] != ""]
    yield f"leave-{design.column}-out", [_without_people_of_test(problem, s) for s in sites]


def _of_known(split: Split, known: np.ndarray) -> Split:
    """The split without training rows of an unknown site."""
    return dataclasses.replace(split, train=split.train[known[split.train]])


def _without_people_of_test(problem: Problem, split: Split) -> Split:
    """A participant scanned at two sites is not trained on where tested."""
    tested = set(problem.groups[split.test])
    keep = np.array([g not in tested for g in problem.groups[split.train]], bool)
    return dataclasses.replace(split, train=split.train[keep])


def _transfer(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    values = _column(design, problem)
    train, test = np.flatnonzero(np.isin(values, design.train)), np.flatnonzero(np.isin(values, design.test))
    if not len(train) or not len(test):
        raise Refused(f"{plural(len(train), 'row')} to train on and {len(test)} to test.", problem)
    name = f"{'+'.join(design.train)}-to-{'+'.join(design.test)}"
    yield name, [_without_people_of_test(problem, Split(train, test, 0))]


def _few_shot(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    splits, unfit = _training_parts(design, problem, folds, seed), too_small(design, problem, folds, seed)
    repeats = design.repeats or DRAWS
    for size in [n for n in design.sizes if few_shot_name(design, n) not in unfit]:
        yield f"few-shot-{size}", [_draw(problem, s, size, r, seed) for r in range(repeats) for s in splits]
    yield "few-shot-all", splits


def few_shot_name(design: Design, size: int) -> str:
    """Name in the tables."""
    return f"few-shot-{size}" + ("" if design.probe == "linear" else f"-{design.probe}")


def _training_parts(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> list[Split]:
    """Splits that are drawn from, with the rows that may be trained on."""
    if folds is not None:
        splits = _pretraining_folds(problem, folds)
    else:
        ((_, dealt),) = _repeated(design.model_copy(update={"repeats": 1}), problem, folds, seed)
        splits = list(dealt)
    return [_only_trainable(problem, s) for s in splits]


def too_small(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> dict[str, str]:
    """Sizes of a few-shot protocol that do not fit, by the protocol's name, with a sentence."""
    if design.kind != "few-shot":
        return {}
    splits = _training_parts(design, problem, folds, seed)
    most = min(len(set(problem.groups[s.train])) for s in splits)
    classes = len(problem.classes) if problem.task.kind != "regression" else 0
    least = max(LEAST_PER_CLASS * classes, LEAST_REGRESSION)
    found = {}
    for size in design.sizes:
        if size >= most:
            found[few_shot_name(design, size)] = f"size {size} skipped: {most} to draw from, see few-shot-all."
        elif size < least:
            why = f"{classes} classes need {least}" if classes else f"a regression needs {least}"
            found[few_shot_name(design, size)] = f"size {size} skipped: {why}."
    return found


def _draw(problem: Problem, split: Split, size: int, repeat: int, seed: int) -> Split:
    """Keep `size` training units, stratified by label."""
    groups, y = problem.groups[split.train], problem.y[split.train]
    rng = np.random.default_rng([seed, 2, size, repeat, split.fold])
    chosen = stratified(groups, y, size, rng, problem.task.kind == "regression")
    return dataclasses.replace(split, train=split.train[np.isin(groups, chosen)], repeat=repeat)


def stratified(groups: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator, continuous: bool) -> np.ndarray:
    """Names of `size` units, of every part of the target in proportion.

    Units are sorted by their target (mean of a unit's rows; its first row's class), ties at random, and taken at equal
    steps from a random start, so that each has the same probability. A class with fewer than two then gets two at the
    cost of the largest: without two no penalty can be chosen.
    """
    names, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    label = np.bincount(inverse, weights=y) / np.bincount(inverse) if continuous else y[first]
    order = np.lexsort((rng.random(len(names)), label))
    step = len(names) / size
    taken = np.zeros(len(names), bool)
    taken[order[np.floor((rng.random() + np.arange(size)) * step).astype(int).clip(max=len(names) - 1)]] = True
    return names[taken if continuous else _two_of_each(taken, label, rng)]


def _two_of_each(taken: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The choice with at least two units of each class that has them."""
    taken, classes = taken.copy(), np.unique(label)
    for c in classes:
        while (taken & (label == c)).sum() < min(LEAST_PER_CLASS, (label == c).sum()):
            richest = max(classes, key=lambda k: (taken & (label == k)).sum())
            taken[rng.choice(np.flatnonzero(taken & (label == richest)))] = False
            taken[rng.choice(np.flatnonzero(~taken & (label == c)))] = True
    return taken


def _only_trainable(problem: Problem, split: Split) -> Split:
    """Leave out of the training part the rows that the task only tests."""
    return dataclasses.replace(split, train=split.train[problem.trainable[split.train]])


KINDS: dict[str, Callable[[Design, Problem, pd.DataFrame | None, int], Named]] = {
    "folds": _folds,
    "repeated": _repeated,
    "leave-site-out": _leave_site_out,
    "transfer": _transfer,
    "few-shot": _few_shot,
}
