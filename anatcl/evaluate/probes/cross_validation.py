"""Out-of-fold predictions: everything that is fitted is fitted on the training rows of its split."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from anatcl.base.words import plural
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes.prepare import unfit_for_combat
from anatcl.evaluate.probes.probe import Make, Probe, maker
from anatcl.evaluate.statistics.dependence import LARGEST, Dependence
from anatcl.spec.baselines import OwnBaseline

COLUMNS = ["method", "task", "protocol", "scan", "participant_id", "repeat", "encoder", "fold", "y_true", "y_pred"]


@dataclasses.dataclass
class Outcome:
    """What a cross-validation gives.

    Attributes
    ----------
    predictions : DataFrame
        One row per tested row and run: scan, participant_id, repeat, encoder, fold, y_true, y_pred; for classes score
        (log odds at equal class frequencies) and prob; y_corrected where the age bias was corrected.
    controls : list of DataFrame
        Predictions of the same protocol with labels shuffled between participants.
    missing_variance : dict of str to float
        See `anatcl.evaluate.statistics.dependence`.
    ends : list of str
        For each fit, the end of its grid that the penalty is at (``strongest``, ``weakest``), empty inside it.
    """

    predictions: pd.DataFrame
    controls: list[pd.DataFrame]
    missing_variance: dict[str, float]
    ends: list[str] = dataclasses.field(default_factory=list)


def rng_for(seed: int, task: str, *numbers: int) -> np.random.Generator:
    """Source of random numbers of one task, equal for every method (so that their splits are)."""
    return np.random.default_rng([seed, zlib.crc32(task.encode()), *numbers])


def check_answerable(problem: Problem, splits: Sequence[Split]) -> None:
    """Refuse a task where some training part is too small, lacks a class or a site, or has a constant target."""
    for split in splits:
        if problem.task.harmonise:
            sites = problem.rows[problem.task.site].astype(str).to_numpy()
            strange = sorted(set(sites[split.test]) - set(sites[split.train]))
            if strange:
                raise Refused(f"fold {split.fold}: no site {', '.join(strange)} to fit ComBat on.", problem)
            if reason := unfit_for_combat(problem.rows[problem.task.site].iloc[split.train]):
                raise Refused(f"fold {split.fold}: {reason}", problem)
        y = problem.within(split.train).y[split.train]
        if problem.task.kind == "regression":
            if len(y) < 3 or np.ptp(y) == 0:
                raise Refused(f"fold {split.fold}: {plural(len(y), 'training row')}, or a constant target.", problem)
            continue
        missing = sorted(set(range(len(problem.classes))) - set(y.tolist()))
        if missing:
            names = " and no ".join(problem.classes[c] for c in missing)
            raise Refused(f"fold {split.fold}: no {names} case in the training rows.", problem)


def shuffled_labels(problem: Problem, splits: Sequence[Split], n: int, seed: int, within: str = "") -> np.ndarray:
    """Labels permuted between participants, shape (rows, n); every class stays in every training part.

    `within` is a column: labels are permuted between participants who share its value.

    The scans of a participant share the label of another participant's first scan.
    """
    names, first, person = np.unique(problem.groups, return_index=True, return_inverse=True)
    rng = rng_for(seed, problem.task.name, 77)
    cells = problem.rows[within].fillna("n/a").astype(str).to_numpy()[first] if within else np.zeros(len(names), int)
    found: list[np.ndarray] = []
    for _ in range(50 * n):
        if len(found) == n:
            break
        y = problem.y[first][_permuted(cells, rng)][person]
        if problem.task.kind == "regression" or all(len(set(y[s.train])) == len(problem.classes) for s in splits):
            found.append(y)
    return np.stack(found, axis=1) if found else np.empty((len(person), 0))


def _permuted(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row numbers, permuted within equal values of `cells`."""
    order = np.arange(len(cells))
    for cell in np.unique(cells):
        inside = np.flatnonzero(cells == cell)
        order[inside] = inside[rng.permutation(len(inside))]
    return order


def cross_validate(
    problem: Problem,
    features: Features,
    splits: list[Split],
    seed: int,
    shuffles: int = 0,
    make: Callable[[Split], Make] | None = None,
    within: str = "",
    units: np.ndarray | None = None,
) -> Outcome:
    """Predict every tested row with a probe fitted on the training rows of its split.

    Parameters
    ----------
    problem : Problem of n rows
        Labels and participants.
    features : Features of n rows
        Aligned with the problem's rows.
    splits : list of Split
        Outer splits. Each run (repetition, encoder) tests a row at most once.
    seed : int
        Seed of the inner folds and shuffles.
    shuffles : int
        How often the protocol is repeated with shuffled labels.
    make : callable, optional
        What makes the model of a split's probe; linear models when not given.
    within : str
        Column within whose values labels are shuffled.
    units : ndarray of shape (n,), optional
        What stands and falls together where it is not the task's group: the site, where whole sites are left out.
    """
    check_answerable(problem, splits)
    wrong = shuffled_labels(problem, splits, shuffles, seed, within)
    dependence = Dependence(problem.task.kind, problem.groups if units is None else units)
    tables: list[list[pd.DataFrame]] = []
    ends: list[str] = []
    ordered = sorted(splits, key=lambda s: (s.repeat, s.encoder))
    with tqdm(total=len(splits), desc=problem.task.name, disable=None, leave=False) as progress:
        for _, run in itertools.groupby(ordered, key=lambda s: (s.repeat, s.encoder)):
            fits, parts = _Fits(problem, features, wrong, seed, make or every(problem)), []
            for split in run:
                parts.append(fits.tables(split))
                progress.update()
            table = [_sorted([p[i] for p in parts]) for i in range(1 + wrong.shape[1])]
            fits.moved.add_to(dependence, table[0])
            tables.append(table)
            ends += fits.ends
    joined = [pd.concat([t[i] for t in tables], ignore_index=True) for i in range(1 + wrong.shape[1])]
    return Outcome(joined[0], joined[1:], dependence.variance(), ends)


def every(problem: Problem, kind: str | OwnBaseline = "linear") -> Callable[[Split], Make]:
    """Models of one kind for all splits, see `anatcl.evaluate.probes.probe.maker`."""
    return lambda split: maker(problem.task, kind)


def _sorted(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts).sort_values("scan", kind="stable").reset_index(drop=True)


class _Moved:
    """Collects the leverages of one run's splits."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.matrix: np.ndarray | None = None
        n = len(problem.y)
        if n <= LARGEST and problem.task.kind != "multiclass":
            self.matrix = np.zeros((n, n), np.float32)

    def set(self, split: Split, leverage: np.ndarray | None) -> None:
        if leverage is None:
            self.matrix = None
        elif self.matrix is not None:
            self.matrix[np.ix_(split.test, split.train)] = leverage

    def add_to(self, dependence: Dependence, table: pd.DataFrame) -> None:
        if self.matrix is None:
            return
        rows = pd.Index(self.problem.rows["scan"]).get_indexer(table["scan"])
        binary = self.problem.task.kind == "binary"
        fitted = expit(table["score"].to_numpy()) if binary else table["y_pred"].to_numpy()
        residual = np.zeros(len(self.problem.y))
        residual[rows] = table["y_true"].to_numpy() - fitted
        dependence.add(table, rows, self.matrix[rows], residual)


def frame_of(problem: Problem, split: Split) -> pd.DataFrame:
    """Tested rows of a split: scan, participant_id, repeat, encoder, fold."""
    rows = problem.rows.iloc[split.test]
    return pd.DataFrame(
        {
            "scan": rows["scan"].to_numpy(),
            "participant_id": rows["participant_id"].to_numpy(),
            "repeat": split.repeat,
            "encoder": max(split.encoder, 0),
            "fold": split.fold,
        }
    )


def fit_probe(problem: Problem, x: np.ndarray, y: np.ndarray, split: Split, seed: int, make: Make) -> Probe:
    """The probe of one split, as the tables have it.

    Parameters
    ----------
    problem : Problem of n rows
        The task.
    x : ndarray of shape (n, d)
        Features of all rows; those of the training rows are read.
    y : ndarray of shape (n,) or (n, t)
        Labels of all rows; those of the training rows are read.
    split : Split
        Says which rows are trained on.
    seed : int
        Of the inner folds.
    make : callable
        See `Probe`.
    """
    train = split.train
    rng = rng_for(seed, problem.task.name, split.repeat, split.fold)
    return Probe(problem.task, make).fit(x[train], problem.rows.iloc[train], y[train], problem.groups[train], rng)


@dataclasses.dataclass
class _Fits:
    """The probes of one run (repetition, encoder): with the labels, and with each column (n, shuffles) of `wrong`."""

    problem: Problem
    features: Features
    wrong: np.ndarray
    seed: int
    make: Callable[[Split], Make]

    def __post_init__(self) -> None:
        self.moved = _Moved(self.problem)
        self.ends: list[str] = []

    def tables(self, split: Split) -> list[pd.DataFrame]:
        """Predictions of one split: with the labels first, then with each of the shuffled ones."""
        x = self.features.of(split.fold if split.encoder < 0 else split.encoder)
        return (self._regress if self.problem.task.kind == "regression" else self._classify)(split, x)

    def _tested(self, probe: Probe, split: Split, x: np.ndarray) -> np.ndarray:
        """What the probe's model reads of the tested rows; their leverages are noted."""
        tested = probe.prepare(x[split.test], self.problem.rows.iloc[split.test])
        self.ends.append(getattr(probe.model_, "end_", ""))
        self.moved.set(split, probe.model_.leverage(tested) if self.moved.matrix is not None else None)
        return tested

    def _regress(self, split: Split, x: np.ndarray) -> list[pd.DataFrame]:
        """All targets at once: they share the decompositions."""
        problem, targets = self.problem, np.column_stack([self.problem.y, self.wrong])
        probe = fit_probe(problem, x, targets, split, self.seed, self.make(split))
        predicted = probe.model_.predict(self._tested(probe, split, x))
        frame = frame_of(problem, split)
        found = [frame.assign(y_true=targets[split.test, i], y_pred=predicted[:, i]) for i in range(targets.shape[1])]
        if problem.task.bias_correction and probe.model_.inner_prediction_ is not None:
            bias = age_bias(problem.y[split.train], probe.model_.inner_prediction_)
            found[0]["y_corrected"] = predicted[:, 0] - np.polyval(bias, problem.y[split.test])
        return found

    def _classify(self, split: Split, x: np.ndarray) -> list[pd.DataFrame]:
        problem = self.problem.within(split.train)
        frame = frame_of(problem, split)
        probe = fit_probe(problem, x, problem.y, split, self.seed, self.make(split))
        tested, found = self._tested(probe, split, x), []
        for i, y in enumerate([problem.y, *self.wrong.T.astype(np.int64)]):
            if i:
                probe.refit(y[split.train], rng_for(self.seed, problem.task.name, split.repeat, split.fold))
            decision, probability = probe.model_.decision(tested), probe.model_.probability(tested)
            found.append(classified(frame, problem, decision, probability, y[split.test]))
        return found


def predict_split(
    problem: Problem, features: Features, split: Split, seed: int, probe: str | OwnBaseline = "linear"
) -> pd.DataFrame:
    """Predictions of one split alone, without control and leverage."""
    fits = _Fits(problem, features, np.empty((len(problem.y), 0)), seed, every(problem, probe))
    fits.moved.matrix = None
    return fits.tables(split)[0]


def predict_variants(problem: Problem, features: Sequence[Features], split: Split, seed: int) -> list[pd.DataFrame]:
    """Predictions of one split from several variants of the features, all by the probe of the first.

    Parameters
    ----------
    problem : Problem of n rows
        The task.
    features : sequence of Features of n rows
        The probe is fitted on the training rows of the first; the tested rows of each are predicted with it.
    split : Split
        Who is trained on and tested.
    seed : int
        Of the inner folds.
    """
    problem, key = problem.within(split.train), split.fold if split.encoder < 0 else split.encoder
    numbers = problem.task.kind == "regression"
    y = problem.y[:, None] if numbers else problem.y
    probe = fit_probe(problem, features[0].of(key), y, split, seed, maker(problem.task))
    frame, found = frame_of(problem, split), []
    for variant in features:
        tested = probe.prepare(variant.of(key)[split.test], problem.rows.iloc[split.test])
        if numbers:
            values = probe.model_.predict(tested)[:, 0]
            found.append(frame.assign(y_true=problem.y[split.test], y_pred=values))
        else:
            decision, probability = probe.model_.decision(tested), probe.model_.probability(tested)
            found.append(classified(frame, problem, decision, probability, problem.y[split.test]))
    return found


def classified(
    frame: pd.DataFrame, problem: Problem, decision: np.ndarray, probability: np.ndarray, y: np.ndarray
) -> pd.DataFrame:
    """Columns of a classification: y_true, y_pred, and score and prob, or prob_<class>.

    Parameters
    ----------
    frame : DataFrame of m rows
        See `frame_of`.
    problem : Problem
        The task.
    decision, probability : ndarray of shape (m, classes)
        Log probabilities at equal class frequencies; probabilities at those of the training rows.
    y : ndarray of shape (m,)
        Codes.
    """
    frame = frame.assign(y_true=y, y_pred=decision.argmax(1))
    if problem.task.kind == "binary":
        return frame.assign(score=decision[:, 1] - decision[:, 0], prob=probability[:, 1])
    return frame.assign(**{f"prob_{name}": probability[:, i] for i, name in enumerate(problem.classes)})


def age_bias(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Slope and intercept of the gap (prediction - target) on the target, from out-of-fold gaps of the training part.

    What they say is taken from a tested participant's prediction by that person's true age. The corrected gap is fit
    for comparing groups; the corrected prediction knows the age, so its error is not a measure of accuracy and both
    stand in the table.

    Returns
    -------
    ndarray of shape (2,)
        For `numpy.polyval`; NaN where the training part was too small for inner folds.
    """
    known = np.isfinite(predicted)
    if known.sum() < 3 or np.ptp(y[known]) == 0:
        return np.full(2, np.nan)
    return np.polyfit(y[known], (predicted - y)[known], 1)
