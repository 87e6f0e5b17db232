"""What may be done to features before the probe, each step fitted on training rows only.

A step takes part again in every fit of a split; `audit.check_untouched` proves for each run that no tested row leaks
in.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.queries import fits_query
from anatcl.base.words import does, plural
from anatcl.spec.task import Task


class Step(Protocol):
    """A transformation that learns from training rows."""

    def fit(self, x: np.ndarray, rows: pd.DataFrame) -> Step:
        """Learn from features (n, d) and their rows of the scans table."""

    def transform(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Apply to features (m, d) and their rows."""

    def affine(self, rows: pd.DataFrame, d: int) -> tuple[np.ndarray, np.ndarray]:
        """Slope and offset (m, d) of what `transform` does to features that are not missing, given their rows."""


class Covariates:
    """Columns as numbers: numeric ones standardised, others as indicators of the training levels; missing = mean.

    Parameters
    ----------
    columns : tuple of str
        Columns of the scans table.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns

    def fit(self, rows: pd.DataFrame) -> Covariates:
        """Learn means, deviations and levels."""
        self.levels_: dict[str, dict[str, float]] = {}  # level to its share of the training rows
        self.scale_: dict[str, tuple[float, float]] = {}
        for column in self.columns:
            if column not in rows:
                raise InputError(f"no column {column!r} in the scans table.", remedy="Correct the task's covariates.")
            if pd.api.types.is_numeric_dtype(rows[column]):
                spread = rows[column].std(ddof=0)
                self.scale_[column] = (rows[column].mean(), spread if spread > 0 else 1.0)
            else:
                share = rows[column].dropna().astype(str).value_counts(normalize=True).sort_index()
                self.levels_[column] = {str(level): float(part) for level, part in share.iloc[1:].items()}
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Design matrix of shape (m, c), without an intercept."""
        parts: list[np.ndarray] = [np.zeros((len(rows), 0))]
        for column, (mean, spread) in self.scale_.items():
            parts.append(((rows[column].astype(float) - mean) / spread).fillna(0.0).to_numpy()[:, None])
        for column, levels in self.levels_.items():
            text, unknown = rows[column].astype(str), rows[column].isna()
            for level, share in levels.items():
                parts.append((text == level).astype(float).where(~unknown, share).to_numpy()[:, None])
        return np.hstack(parts)


class Residualise:
    """Takes from each feature what covariates explain linearly in the training rows.

    Parameters
    ----------
    columns : tuple of str
        Covariates.
    query : str
        Which training rows teach their effect (controls); all when empty.
    """

    def __init__(self, columns: tuple[str, ...], query: str = "") -> None:
        self.columns = columns
        self.query = query

    def _teachers(self, x: np.ndarray, rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
        """Training rows that teach."""
        if not self.query:
            return x, rows
        keep = fits_query(rows, self.query, "covariates_query").to_numpy()
        if keep.sum() <= len(self.columns) + 2:
            raise InputError(
                f"covariates_query {self.query!r} leaves {keep.sum()} training rows to estimate the covariates' "
                f"effect on.",
                remedy="Correct it, or leave it out.",
            )
        return x[keep], rows[keep]

    def fit(self, x: np.ndarray, rows: pd.DataFrame) -> Residualise:
        """Learn one slope per covariate and feature; missing features count as the mean."""
        x, rows = self._teachers(x, rows)
        self.covariates_ = Covariates(self.columns).fit(rows)
        self.mean_ = np.nan_to_num(np.nanmean(np.vstack([x, np.full(x.shape[1], np.nan)]), axis=0))
        design = self.covariates_.transform(rows)
        self.centre_ = design.mean(0)
        known = np.where(np.isfinite(x), x - self.mean_, 0.0)
        self.slope_ = np.linalg.lstsq(design - self.centre_, known, rcond=None)[0]
        return self

    def transform(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Residuals, with the training mean kept."""
        return x - (self.covariates_.transform(rows) - self.centre_) @ self.slope_

    def affine(self, rows: pd.DataFrame, d: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Step.affine`."""
        return np.ones((len(rows), d)), -(self.covariates_.transform(rows) - self.centre_) @ self.slope_


WITHOUT_COMBAT = "Remove harmonise from the task, or exclude such sites by its query."


class Combat:
    """ComBat (Johnson 2007, Fortin 2018) by the package `combatlearn`, learned from the training sites.

    Parameters
    ----------
    site : str
        Column of the batch.
    preserve : tuple of str
        Covariates whose effects are kept. Never the target of the task: test rows would need it.
    """

    def __init__(self, site: str, preserve: tuple[str, ...] = ()) -> None:
        self.site = site
        self.preserve = preserve

    def fit(self, x: np.ndarray, rows: pd.DataFrame) -> Combat:
        """Learn the shift and scale of every site and feature; constant features are left alone."""
        try:
            from combatlearn.core import ComBatModel
        except ImportError as error:
            raise InputError("ComBat needs the package combatlearn.", remedy="pip install combatlearn.") from error
        self.mean_ = np.nan_to_num(np.nanmean(np.vstack([x, np.full(x.shape[1], np.nan)]), axis=0))
        filled = self._filled(x)
        self.spread_ = filled.std(0)
        self.alive_ = self.spread_ > 1e-9 * np.maximum(np.abs(filled.mean(0)), 1e-12)
        self.covariates_ = Covariates(self.preserve).fit(rows)
        self.model_ = ComBatModel(method="fortin" if self.preserve else "johnson")
        if reason := unfit_for_combat(rows[self.site]):
            raise InputError(reason, remedy=WITHOUT_COMBAT)
        self.sites_ = set(rows[self.site].astype(str))
        frame, extra = self._frame(filled, rows)
        self.model_.fit(frame, batch=rows[self.site].astype(str).set_axis(frame.index), **extra)
        return self

    def _filled(self, x: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(x), x, self.mean_)

    def _frame(self, filled: np.ndarray, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        frame = pd.DataFrame(filled[:, self.alive_], index=[str(i) for i in range(len(filled))])
        frame.columns = [str(c) for c in frame.columns]
        if not self.preserve:
            return frame, {}
        design = self.covariates_.transform(rows)
        names = [f"c{i}" for i in range(design.shape[1])]
        return frame, {"continuous_covariates": pd.DataFrame(design, frame.index, names)}

    def transform(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Harmonised features.

        Raises
        ------
        InputError
            A site that was not trained on: ComBat knows nothing of it.
        """
        strange = set(rows[self.site].astype(str)) - self.sites_
        if strange:
            raise InputError(
                f"ComBat cannot harmonise {sorted(strange)}, absent from the training rows.",
                remedy="Use protocol repeated, or drop harmonise for leave-site-out.",
            )
        out = self._filled(x).astype(float)
        frame, extra = self._frame(out, rows)
        batch = rows[self.site].astype(str).set_axis(frame.index)
        out[:, self.alive_] = np.asarray(self.model_.transform(frame, batch=batch, **extra))
        if not np.isfinite(out).all():
            raise InputError("ComBat gave values that are not numbers.", remedy=WITHOUT_COMBAT)
        return out

    def affine(self, rows: pd.DataFrame, d: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Step.affine`: within a site ComBat is a straight line for each feature, so two points say it."""
        low = np.tile(self.mean_, (len(rows), 1))
        width = np.where(self.alive_, self.spread_, 1.0)
        start = self.transform(low, rows)
        slope = (self.transform(low + width, rows) - start) / width
        return slope, start - slope * low


def unfit_for_combat(sites: pd.Series) -> str:
    """Why ComBat cannot learn from training rows of these sites, as a sentence; empty when it can."""
    if sites.isna().any():
        number = int(sites.isna().sum())
        return f"{plural(number, 'training row')} {does(number, 'has', 'have')} no site to harmonise."
    counts = sites.astype(str).value_counts()
    if len(counts) < 2:
        return "all training rows are of one site: there is nothing to harmonise."
    few = sorted(counts.index[counts < 2])
    return f"ComBat needs two rows of a site, and {', '.join(few)} has one training row." if few else ""


def steps_of(task: Task) -> list[Step]:
    """Steps that a task asks for, in their order."""
    steps: list[Step] = []
    if task.harmonise == "combat":
        steps.append(Combat(task.site, task.preserve))
    if task.covariates:
        steps.append(Residualise(task.covariates, task.covariates_query))
    return steps


class Preparation:
    """All steps of a task, learned one after the other.

    Parameters
    ----------
    task : Task
        Names the steps.
    """

    def __init__(self, task: Task) -> None:
        self.steps = steps_of(task)

    def fit_transform(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Learn from training features (n, d) and their rows; return them prepared."""
        for step in self.steps:
            x = step.fit(x, rows).transform(x, rows)
        return x

    def transform(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Features (m, d) after all steps."""
        for step in self.steps:
            x = step.transform(x, rows)
        return x

    def affine(self, rows: pd.DataFrame, d: int) -> tuple[np.ndarray, np.ndarray]:
        """Slope and offset (m, d): prepared = slope * raw + offset, feature by feature, given the rows."""
        slope, offset = np.ones((len(rows), d)), np.zeros((len(rows), d))
        for step in self.steps:
            a, b = step.affine(rows, d)
            slope, offset = a * slope, a * offset + b
        return slope, offset
