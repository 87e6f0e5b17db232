"""What a representation holds: each regional measure, beyond age, sex and head size, from the frozen embedding."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.data.features import REGION, Features, load_embeddings, select_columns
from anatcl.evaluate.data.split import fold_column
from anatcl.evaluate.probes.cross_validation import rng_for
from anatcl.evaluate.probes.linear import RidgeProbe, Standardise
from anatcl.evaluate.probes.prepare import Covariates
from anatcl.evaluate.statistics import bootstrap, compare
from anatcl.evaluate.statistics.bootstrap import Replicates
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.inputs import scans_table
from anatcl.spec.names import ADJUST, REGIONAL

log = logging.getLogger(__name__)
COLUMNS = ["method", "measure", "region", "r2", "low", "high", "n", "n_participants", "seeds", "adjusted", "flags"]
ALL = "all"  # in the place of a measure or a region: the mean over them
FEWEST = 10  # training scans without which no regression is fitted


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Measures of unseen people and what was read of them from an embedding.

    Attributes
    ----------
    columns : list of t str
        Names of the measures: ``thickness_lh_bankssts``.
    true : ndarray of shape (n, t)
        Residuals, in SDs of the training residuals; NaN where a person lacks the measure.
    predicted : ndarray of shape (s, n, t)
        By seed.
    people : ndarray of shape (n,), text
    folds : int
        Number of folds.
    """

    columns: list[str]
    true: np.ndarray
    predicted: np.ndarray
    people: np.ndarray
    folds: int


def run_decode(
    method: str,
    embeddings_dir: str | Path,
    scans: str | Path,
    folds: str | Path,
    measures: str | Path,
    out: str | Path,
    *,
    adjust: Sequence[str] = ADJUST,
    seeds: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> None:
    """Write the R2 of each regional measure, of the mean over each kind and over all.

    Parameters
    ----------
    method : str
        Name in the table.
    embeddings_dir : path
        As of `anatcl.evaluate.data.features.load_embeddings`.
    scans, folds, measures : path
        scans.tsv, folds.tsv, measures.tsv.
    out : path
        Table to write, `COLUMNS`.
    adjust : sequence of str
        Columns of the scans table (with the volumes of the measures) that the measures are residual on; those of
        `ADJUST` that it lacks are left out.
    seeds : int, optional
        Seeds that are read.
    n_bootstrap, seed : int
        Resamples of people; seed of them and of the inner folds.
    """
    table = scans_table(scans, measures)
    features = load_embeddings(embeddings_dir, table["scan"], seeds)
    values = read_tsv(measures).set_index("scan")
    columns = select_columns(values, REGIONAL, measures)
    gone = [name for name in adjust if name in ADJUST and name not in table]
    if gone:
        log.warning("%s: measures are not adjusted for %s, which the scans table lacks", method, ", ".join(gone))
    adjust = [name for name in adjust if name not in gone]
    try:
        found = decode(table, features, values[columns].reindex(table["scan"]), read_tsv(folds), adjust, seed)
    except InputError as refusal:
        log.warning("%s: nothing is decoded: %s", method, refusal.reason)
        row = {"method": method, "measure": ALL, "region": ALL, "flags": refusal.reason}
        write_tsv(out, pd.DataFrame([row], columns=COLUMNS), FLOATS)
        return
    write_tsv(out, decode_rows(method, found, adjust, n_bootstrap, seed), FLOATS)


def decode(
    table: pd.DataFrame,
    features: Features,
    values: pd.DataFrame,
    folds: pd.DataFrame,
    adjust: Sequence[str] = ADJUST,
    seed: int = 0,
) -> Decoded:
    """Predict the residual of each measure for unseen people by ridge regression on the embedding.

    Both regressions, on `adjust` and on the embedding, are fitted on the training people of a fold; the encoder of the
    fold has not seen those who are tested either.

    Parameters
    ----------
    table : DataFrame of n rows
        Scans with the columns of `adjust`.
    features : Features of n rows
    values : DataFrame of n rows
        Measures.
    folds : DataFrame
        Folds table.
    adjust : sequence of str
        See `run_decode`.
    seed : int
        Of the inner folds.

    Raises
    ------
    InputError
        Too few people, or a column of `adjust` that is not there.
    """
    missing = [name for name in adjust if name not in table]
    if missing:
        reason = f"measures cannot be adjusted for {', '.join(missing)}: the scans table has no such column."
        raise InputError(reason, remedy="Correct evaluate: decode_adjust.")
    y = values.to_numpy(float)
    kept = features.present & np.isfinite(y).any(1)
    y, rows, features = y[kept], table[kept].reset_index(drop=True), features.take(kept)
    fold = fold_column(rows["participant_id"], folds) if kept.any() else np.empty(0, int)
    numbers = sorted(set(fold))
    if len(numbers) < 2 or min(int((fold != k).sum()) for k in numbers) < FEWEST:
        raise InputError(f"{len(rows)} scans with measures and embeddings are too few to decode from.")
    known = np.isfinite(y).any(0)
    y, names = y[:, known], [c for c, k in zip(values.columns, known, strict=True) if k]
    true, predicted = np.full(y.shape, np.nan), np.full((1 + len(features.other_seeds), *y.shape), np.nan)
    people = rows["participant_id"].astype(str).to_numpy()
    for k in numbers:
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        residual = residuals(y, rows, adjust, train)
        true[test] = residual[test]
        learnt = np.where(np.isfinite(residual[train]), residual[train], 0.0)
        for i, one in enumerate([features, *features.other_seeds]):
            x = one.of(int(k))
            probe = RidgeProbe().fit(x[train], learnt, people[train], rng_for(seed, "decode", int(k)))
            predicted[i, test] = probe.predict(x[test])
    return Decoded(names, true, predicted, people, len(numbers))


def residuals(y: np.ndarray, rows: pd.DataFrame, adjust: Sequence[str], train: np.ndarray) -> np.ndarray:
    """Measures (n, t) less what a regression fitted on the training rows says, in SDs of the training residuals."""
    covariates = Covariates(tuple(adjust)).fit(rows.iloc[train])
    design = np.column_stack([np.ones(len(rows)), covariates.transform(rows)])
    scale = Standardise().fit(y[train])
    scaled = np.where(np.isfinite(y), scale.transform(y), 0.0)
    beyond = scaled - design @ np.linalg.lstsq(design[train], scaled[train], rcond=None)[0]
    spread = beyond[train].std(0)
    beyond = beyond / np.where(spread > 1e-9, spread, np.inf)
    return np.where(np.isfinite(y), beyond, np.nan)


def replicates(found: Decoded, chosen: np.ndarray, n_bootstrap: int, seed: int) -> Replicates:
    """Mean R2 of some measures (mask over columns): in the sample, in each resample of people, and by seed."""
    return _over_seeds(r2_replicates(found, n_bootstrap, seed)[:, :, chosen].mean(2))


def _over_seeds(by_seed: np.ndarray) -> Replicates:
    """Values (s, b + 1) of each seed as those of their mean; several seeds are a level of chance."""
    return Replicates(by_seed.mean(0), {"seed_id": by_seed[:, 0]} if len(by_seed) > 1 else {})


def r2_replicates(found: Decoded, n_bootstrap: int, seed: int) -> np.ndarray:
    """R2 of each measure in the sample and in each resample, shape (s, b + 1, t).

    The spread of a resample is taken around the sample's mean: around its own it would be smaller by one part in n, and
    all resamples would lie below the sample.
    """
    names, counts = bootstrap.draw(found.people, n_bootstrap, seed)
    weights = counts[:, np.searchsorted(names, found.people)]
    known = np.isfinite(found.true)
    y = np.where(known, found.true, 0.0)
    centre = y.sum(0) / np.maximum(known.sum(0), 1)
    total = weights @ np.where(known, (y - centre) ** 2, 0.0)
    total = np.where(total > 1e-12, total, np.nan)
    errors = [weights @ np.where(known, (y - p) ** 2, 0.0) for p in found.predicted]
    return np.stack([1 - e / total for e in errors])


def decode_rows(method: str, found: Decoded, adjust: Sequence[str], n_bootstrap: int, seed: int) -> pd.DataFrame:
    """Rows of the table: means over all and over each kind of measure first, then each measure of each region."""
    split = [str(name).split("_", 1) if REGION.fullmatch(name) else [str(name), ALL] for name in found.columns]
    kinds = np.array([kind for kind, _ in split])
    values = r2_replicates(found, n_bootstrap, seed)
    people = len(set(found.people))
    about = {"method": method, "n": len(found.people), "n_participants": people, "seeds": len(found.predicted)}
    about |= {"adjusted": " ".join(adjust), "flags": ""}
    wanted = [(ALL, ALL, np.ones(len(kinds), bool))] + [(k, ALL, kinds == k) for k in dict.fromkeys(kinds)]
    wanted += [(k, region, np.arange(len(kinds)) == i) for i, (k, region) in enumerate(split)]
    rows = []
    for kind, region, chosen in wanted:
        mean = _over_seeds(np.nanmean(values[:, :, chosen], axis=2))
        extra, freedom = mean.draw_variance
        low, high = bootstrap.interval(mean.values, n=people, extra=extra, extra_freedom=freedom)
        rows.append(about | {"measure": kind, "region": region, "r2": mean.values[0], "low": low, "high": high})
    return pd.DataFrame(rows, columns=COLUMNS)


def decode_difference(a: Decoded, b: Decoded, n_bootstrap: int, seed: int) -> dict[str, float]:
    """Paired test of two representations of the same people: mean R2 over all measures, a less b."""
    everything = np.ones(len(a.columns), bool)
    found = replicates(a, everything, n_bootstrap, seed) - replicates(b, everything, n_bootstrap, seed)
    return compare.paired(found, len(set(a.people)), a.folds)
