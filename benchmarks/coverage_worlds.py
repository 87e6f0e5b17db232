"""Simulated cohorts whose truth is known: people, families, scans and sites, and what two equal methods see of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

SICK_ABOVE = 0.5  # of a latent with unit noise, where a setting names no number of cases


@dataclasses.dataclass(frozen=True)
class Setting:
    """One kind of cohort and how it is evaluated.

    Parameters
    ----------
    name : str
        For the table, in words.
    kind : {"regression", "binary"}
        Kind of the task.
    n, d : int
        Units of independence (people or families; where there are sites, the mean over sites of people is n / sites)
        and features.
    signal : float
        Size of the effect; 0 for none.
    design : dict
        Protocol.
    family, scans : int
        People of a family, scans of a person. Families share four fifths of everything.
    cases : int
        Exact number of cases; 0 leaves it to chance.
    sites : int
        Sites, of sizes that differ, whose scanners shift every feature by `shift` standard deviations.
    shift : float
        See `sites`.
    target : {"models", "expected"}
        What an interval is about: the score of the very models on fresh people, or the mean over all draws and cohorts.
    gap, alarm, fit : bool
        Also the gap's variance between sites; also the alarm of shuffled labels; constants are fitted on this setting.
    """

    name: str
    kind: str
    n: int
    d: int
    signal: float
    design: dict[str, Any] = dataclasses.field(default_factory=lambda: {"kind": "repeated"})
    family: int = 1
    scans: int = 1
    cases: int = 0
    sites: int = 0
    shift: float = 0.0
    target: str = "models"
    gap: bool = False
    alarm: bool = False
    fit: bool = False

    @property
    def task(self) -> dict[str, Any]:
        """The task as a user would write it."""
        found = {"name": "y", "kind": self.kind, "target": "y"} | (
            {"positives": [1], "negatives": [0]} if self.kind == "binary" else {}
        )
        found |= {"group": "family"} if self.family > 1 else {}
        if self.kind == "binary":
            shown = ["roc_auc", "balanced_accuracy", "average_precision"]
            by_site = self.design["kind"] == "leave-site-out"
            found["metrics"] = shown + [f"{m}_site_mean" for m in shown if by_site]
        return found | ({"bias_correction": True} if self.gap else {})


@dataclasses.dataclass
class Cohort:
    """Scans of people and what two methods see of them.

    Attributes
    ----------
    table : DataFrame of n rows
        scan, participant_id, family, site, y.
    views : list of two ndarray of shape (n, d)
        Features of each method.
    """

    table: pd.DataFrame
    views: list[np.ndarray]


class World:
    """Three hidden factors make the target and, mixed and with noise, the features.

    Parameters
    ----------
    setting : Setting
        What people there are.
    rng : Generator
        Source of everything.
    mixing : ndarray of shape (3, d)
        How the factors show.
    """

    def __init__(self, setting: Setting, rng: np.random.Generator, mixing: np.ndarray) -> None:
        self.setting, self.rng, self.mixing = setting, rng, mixing

    def cohort(self, n: int, sites: int) -> Cohort:
        """`n` units at `sites` sites (0: none)."""
        s = self.setting
        unit = np.repeat(np.arange(n), s.family)
        hidden = self._shared(unit, 3)
        latent = s.signal * hidden.sum(1) + self._shared(unit, 1)[:, 0]
        site = self._sites(len(unit), sites)
        offset = s.shift * self.rng.normal(size=(max(sites, 1), s.d))
        views = [hidden @ self.mixing + self._shared(unit, s.d) + offset[site] for _ in range(2)]
        y = 50 + 10 * latent if s.kind == "regression" else self._cases(latent)
        row = np.repeat(np.arange(len(unit)), s.scans)
        again = [np.sqrt(0.2) * self.rng.normal(size=(len(row), s.d)) if s.scans > 1 else 0.0 for _ in range(2)]
        person = np.char.add("sub-", np.char.zfill(row.astype(str), 6))
        table = pd.DataFrame(
            {
                "scan": [f"{p}_{i:06d}" for i, p in enumerate(person)],
                "participant_id": person,
                "family": np.char.add("fam-", unit[row].astype(str)),
                "site": np.char.add("site-", np.char.zfill(site[row].astype(str), 4)),
                "y": y[row],
            }
        )
        return Cohort(table, [v[row] + e for v, e in zip(views, again, strict=True)])

    def _shared(self, unit: np.ndarray, columns: int) -> np.ndarray:
        """Standard normal values, of which families have four fifths of the variance in common."""
        own = self.rng.normal(size=(len(unit), columns))
        if self.setting.family == 1:
            return own
        return np.sqrt(0.8) * self.rng.normal(size=(unit.max() + 1, columns))[unit] + np.sqrt(0.2) * own

    def _sites(self, n: int, sites: int) -> np.ndarray:
        if not sites:
            return np.zeros(n, int)
        size = self.rng.uniform(0.5, 1.5, sites)
        return np.sort(
            np.r_[np.repeat(np.arange(sites), 4), self.rng.choice(sites, n - 4 * sites, p=size / size.sum())]
        )

    def _cases(self, latent: np.ndarray) -> np.ndarray:
        """Labels; an exact share of cases where the setting names one."""
        share = self.setting.cases / self.setting.n
        limit = np.sort(latent)[::-1][round(share * len(latent))] if share else SICK_ABOVE
        return (latent > limit).astype(int)


def mixing_of(rng: np.random.Generator, d: int) -> np.ndarray:
    """How three hidden factors show in `d` features."""
    return rng.normal(size=(3, d)) / np.sqrt(3)


FEW = {"kind": "few-shot", "sizes": [16]}
LEAVE = {"kind": "leave-site-out"}
TRANSFER = {"kind": "transfer", "train": ["site-0000"], "test": ["site-0001"]}
SETTINGS = (
    Setting("regression", "regression", 150, 20, 0.5),
    Setting("regression, no signal", "regression", 150, 20, 0.0),
    Setting("regression, strong signal", "regression", 150, 20, 2.0),
    Setting("regression, more features than people", "regression", 100, 200, 0.5),
    Setting("regression, 20 people", "regression", 20, 5, 0.7),
    Setting("regression, families of 5, no signal", "regression", 40, 10, 0.0, family=5),
    Setting("regression, three scans each", "regression", 100, 10, 0.5, scans=3),
    Setting("two classes", "binary", 200, 10, 0.7),
    Setting("two classes, no signal", "binary", 200, 10, 0.0),
    Setting("two classes, strong signal", "binary", 200, 10, 2.0),
    Setting("two classes, more features than people", "binary", 100, 200, 0.7),
    Setting("two classes, families of 5, no signal", "binary", 40, 10, 0.0, family=5),
    Setting("40 cases of 500", "binary", 500, 10, 0.5, cases=40),
    Setting("20 cases of 500", "binary", 500, 10, 0.5, cases=20),
    Setting("5 cases of 500, no signal", "binary", 500, 10, 0.0, cases=5),
    Setting("8 people, 4 cases, no signal", "binary", 8, 4, 0.0, {"kind": "repeated", "folds": 4}, cases=4),
    Setting("few-shot of 16, regression", "regression", 150, 10, 0.7, FEW, target="expected"),
    Setting("few-shot of 16, two classes", "binary", 150, 10, 0.7, FEW, target="expected"),
    Setting("12 sites left out, regression", "regression", 360, 10, 0.7, LEAVE, sites=12, shift=0.4, target="expected"),
    Setting("20 sites left out, two classes", "binary", 600, 10, 0.7, LEAVE, sites=20, shift=0.4, target="expected"),
    Setting("transfer, 55 tested", "binary", 110, 10, 0.0, TRANSFER, sites=2, shift=0.3, alarm=True),
    Setting("gap between 8 like sites", "regression", 200, 10, 0.7, sites=8, gap=True),
    Setting("fit: regression, 120 people", "regression", 120, 12, 0.8, fit=True),
    Setting("fit: regression, 200 people, 40 features", "regression", 200, 40, 0.4, fit=True),
    Setting("fit: two classes, 160 people", "binary", 160, 15, 0.5, fit=True),
    Setting("fit: two classes, 300 people", "binary", 300, 20, 1.0, fit=True),
    Setting("fit: regression, strong signal", "regression", 180, 15, 2.5, fit=True),
    Setting("fit: two classes, strong signal", "binary", 180, 15, 2.5, fit=True),
    Setting("fit: regression, no signal", "regression", 120, 12, 0.0, fit=True),
    Setting("fit: two classes, no signal", "binary", 160, 15, 0.0, fit=True),
)
