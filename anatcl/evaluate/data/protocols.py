"""The outer splits of a protocol, from a few words of configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.split import Split, deal, fold_column
from anatcl.spec.protocol import Design
from anatcl.spec.task import canonical


def make_splits(
    design: Design, problem: Problem, folds: pd.DataFrame | None, encoders: list[int], seed: int
) -> dict[str, list[Split]]:
    """Outer splits by the protocol's name in the tables.

    Where the splits are not those of pretraining, each encoder is evaluated apart on every split and the scores are
    averaged; features of different encoders are never mixed, since their latent spaces differ.

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
    """
    found = {name: list(splits) for name, splits in KINDS[design.kind](design, problem, folds, seed)}
    if evaluated_apart(design, folds) and encoders != [-1]:
        found = {
            name: [dataclasses.replace(s, encoder=e) for e in encoders for s in splits]
            for name, splits in found.items()
        }
    suffix = "" if design.probe == "linear" else f"-{design.probe}"
    return {name + suffix: [_only_trainable(problem, s) for s in splits] for name, splits in found.items()}


def evaluated_apart(design: Design, folds: pd.DataFrame | None) -> bool:
    """Whether the splits are not those of pretraining, so that every encoder meets every split."""
    return design.kind != "folds" and not (design.kind == "few-shot" and folds is not None)


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
    k = min(design.folds, len(set(problem.groups)))
    dealt = [deal(problem.groups, problem.y, k, rng, continuous) for _ in range(design.repeats)]
    yield f"{design.repeats}x{k}-fold", [s for r, fold in enumerate(dealt) for s in _fixed(fold, r)]


def _column(design: Design, problem: Problem) -> np.ndarray:
    if design.column not in problem.rows:
        raise Refused(f"no column {design.column!r} to split by.", problem)
    return problem.rows[design.column].map(canonical).to_numpy()


def _leave_site_out(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    values = _column(design, problem)
    names, fold = np.unique(values, return_inverse=True)
    if len(names) < 2:
        raise Refused(f"{design.column!r} has one value.", problem)
    yield f"leave-{design.column}-out", [_without_people_of_test(problem, s) for s in _fixed(fold)]


def _without_people_of_test(problem: Problem, split: Split) -> Split:
    """A participant scanned at two sites is not trained on where tested."""
    tested = set(problem.groups[split.test])
    keep = np.array([g not in tested for g in problem.groups[split.train]], bool)
    return dataclasses.replace(split, train=split.train[keep])


def _transfer(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    values = _column(design, problem)
    train, test = np.flatnonzero(np.isin(values, design.train)), np.flatnonzero(np.isin(values, design.test))
    if not len(train) or not len(test):
        raise Refused(f"{len(train)} rows to train on and {len(test)} to test.", problem)
    name = f"{'+'.join(design.train)}-to-{'+'.join(design.test)}"
    yield name, [_without_people_of_test(problem, Split(train, test, 0))]


def _few_shot(design: Design, problem: Problem, folds: pd.DataFrame | None, seed: int) -> Named:
    if folds is None:
        ((_, dealt),) = _repeated(design.model_copy(update={"repeats": 1}), problem, folds, seed)
        splits = list(dealt)
    else:
        splits = _pretraining_folds(problem, folds)
    smallest = min(len(set(problem.groups[s.train])) for s in splits)
    for size in [n for n in design.sizes if n < smallest]:
        yield f"few-shot-{size}", [_draw(problem, s, size, r, seed) for r in range(design.repeats) for s in splits]
    yield "few-shot-all", splits


def _draw(problem: Problem, split: Split, size: int, repeat: int, seed: int) -> Split:
    """Keep `size` training participants, stratified by label."""
    groups, y = problem.groups[split.train], problem.y[split.train]
    rng = np.random.default_rng([seed, 2, size, repeat, split.fold])
    chosen = _stratified(groups, y, size, rng, problem.task.kind == "regression")
    return dataclasses.replace(split, train=split.train[np.isin(groups, chosen)], repeat=repeat)


def _stratified(groups: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator, continuous: bool) -> np.ndarray:
    """Names of `size` participants: one of each of `size` ranks of the target, or classes in proportion."""
    names, first = np.unique(groups, return_index=True)
    label, tie = y[first], rng.random(len(names))
    if continuous:
        bins = np.array_split(np.lexsort((tie, label)), size)
        return names[[b[int(rng.integers(len(b)))] for b in bins]]
    rank = np.empty(len(names))
    for c in np.unique(label):
        where = np.flatnonzero(label == c)[np.argsort(tie[label == c])]
        # Fractional ranks keep the proportions; the first two of each class come before all others.
        rank[where] = (np.arange(len(where)) + 0.5) / len(where) - 2.0 * (np.arange(len(where)) < 2)
    return names[np.argsort(rank, kind="stable")[:size]]


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
