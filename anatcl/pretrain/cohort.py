"""The training rows: rows of the packed arrays that a method can use, with their labels."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.words import plural
from anatcl.bids.values import AGE_RANGE
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.folds import fold_of

log = logging.getLogger(__name__)
KINDS = ("thickness", "volume", "area")
HELD_OUT_OF_NOTHING = -1


@dataclass(frozen=True)
class Cohort:
    """Rows of the packed arrays that belong together, with labels in the same order.

    Attributes
    ----------
    index : ndarray of shape (n,), int
        Rows of the packed volumes.
    rows : DataFrame of n rows
        Columns of rows.tsv.
    age : ndarray of shape (n,), float32, years; NaN where unknown
    measures : ndarray of shape (n, K, M), float32
        M measures (of `kinds`) in K regions; NaN where missing; K = 0 without a measures table.
    regions, kinds : list of str
    dropped : dict of str to int
        Scans left out, by reason.
    imputed, permuted : dict of str to int
        What `anatcl.pretrain.labels` did, counted.
    """

    index: np.ndarray
    rows: pd.DataFrame
    age: np.ndarray
    measures: np.ndarray
    regions: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    dropped: dict[str, int] = field(default_factory=dict)
    imputed: dict[str, int] = field(default_factory=dict)
    permuted: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def participants(self) -> list[str]:
        """Sorted identifiers of the participants."""
        return sorted(set(self.rows["participant_id"].astype(str)))

    @property
    def participants_sha256(self) -> str:
        """Digest of the sorted identifiers, one per line."""
        return hashlib.sha256("\n".join(self.participants).encode()).hexdigest()

    def subset(self, keep: np.ndarray, reason: str = "") -> Cohort:
        """Return the rows where `keep` (n,) is true, counting the others under `reason`."""
        lost = int((~keep).sum())
        dropped = dict(self.dropped)
        if reason and lost:
            dropped[reason] = lost
            log.info("%d of %s left out: %s", lost, plural(len(keep), "scan"), reason)
        return dataclasses.replace(
            self,
            index=self.index[keep],
            rows=self.rows[keep].reset_index(drop=True),
            age=self.age[keep],
            measures=self.measures[keep],
            table=self.table[keep].reset_index(drop=True),
            dropped=dropped,
        )


def load_cohort(arrays: PackedArrays, measures: str | Path | None = None, query: str = "") -> Cohort:
    """Join packed rows with the measures table.

    Parameters
    ----------
    arrays : PackedArrays
    measures : path of measures.tsv, optional
    query : str
        pandas query on the columns of rows.tsv (``"age > 18 and site == 'A'"``).
    """
    rows = arrays.rows.reset_index(drop=True)
    table = pd.DataFrame(index=rows.index)
    if measures:
        found = read_tsv(measures)
        if found["scan"].duplicated().any():
            raise InputError("a scan has several rows.", file=measures, remedy="Keep one row for each scan.")
        table = rows[["scan"]].merge(found, on="scan", how="left", validate="many_to_one")
    values, regions, kinds = measure_array(table)
    cohort = Cohort(
        index=np.arange(len(rows)),
        rows=rows,
        age=_ages(rows),
        measures=values,
        regions=regions,
        kinds=kinds,
        table=table,
    )
    if query:
        try:
            keep = rows.index.isin(rows.query(query).index)
        except (ValueError, KeyError, SyntaxError, NameError, TypeError) as error:
            raise InputError(f"the query {query!r} fails: {error}.", remedy="Use columns of scans.tsv.") from error
        cohort = cohort.subset(keep, f"query {query!r}")
    return cohort


def _ages(rows: pd.DataFrame) -> np.ndarray:
    """Ages in years, shape (n,), float32; what is no age of a person is missing, and said."""
    if "age" not in rows:
        return np.full(len(rows), np.nan, np.float32)
    age = pd.to_numeric(rows["age"], errors="coerce")
    wrong = rows["age"].notna() & ~age.between(*AGE_RANGE)
    if wrong.any():
        low, high = AGE_RANGE
        told = ", ".join(f"{who} ({what})" for who, what in rows.loc[wrong, ["scan", "age"]].head(3).to_numpy())
        log.warning("no age from %g to %g years, counted as missing: %s (%d in all)", low, high, told, wrong.sum())
    return age.mask(wrong).to_numpy(np.float32)


def measure_array(table: pd.DataFrame) -> tuple[np.ndarray, list[str], list[str]]:
    """Arrange thickness, volume and area of the cortical regions.

    Cortical regions are those with a thickness column. A measure or region that no scan has is left out with a warning.
    Thickness, volume and area are above 0: anything else (0 of a failed region, -999) is missing, with a warning.

    Returns
    -------
    values : ndarray of shape (n, K, M), float32
    regions : list of K str, sorted
    kinds : list of M str
    """
    matches = (re.fullmatch(r"thickness_([lr]h_.+)", str(name)) for name in table.columns)
    regions = sorted(m.group(1) for m in matches if m)
    empty = np.full((len(table), 0, 0), np.nan, dtype=np.float32)
    if not regions:
        return empty, [], []
    names = [[f"{kind}_{region}" for kind in KINDS] for region in regions]
    flat = table.reindex(columns=[n for row in names for n in row]).apply(pd.to_numeric, errors="coerce")
    values = flat.to_numpy(np.float32).reshape(len(table), len(regions), len(KINDS))
    impossible = ~np.isnan(values) & ~((values > 0) & np.isfinite(values))
    if impossible.any():
        what = f"{plural(int(impossible.sum()), 'measure')} of {plural(int(impossible.any((1, 2)).sum()), 'scan')}"
        log.warning("not above 0 or not finite, and counted as missing: %s", what)
    values[impossible] = np.nan
    nobody = np.isnan(values).all(0)
    kinds = [k for k, gone in zip(KINDS, nobody.all(0), strict=True) if not gone]
    if not kinds:
        log.warning("the measures table has no cortical measure of these scans")
        return empty, [], []
    if len(kinds) < len(KINDS):
        log.warning("the measures table has only %s", ", ".join(kinds))
    values = values[:, :, ~nobody.all(0)]
    lacking = np.isnan(values).all(0).any(1)
    if lacking.any():
        log.warning("left out, since no scan has it: %s", plural(int(lacking.sum()), "region"))
    return values[:, ~lacking], [r for r, gone in zip(regions, lacking, strict=True) if not gone], kinds


def covariates(cohort: Cohort) -> np.ndarray:
    """Age (years), sex (M 1, F 0) and intracranial volume (mm3) of each scan; NaN where unknown, or no volume above 0.

    Returns
    -------
    ndarray of shape (n, 3), float32
    """
    rows, table = cohort.rows, cohort.table
    sex = rows["sex"].astype(str).str.upper().str[:1].map({"M": 1.0, "F": 0.0}) if "sex" in rows else None
    tiv = pd.to_numeric(table["tiv_mm3"], errors="coerce") if "tiv_mm3" in table else None
    tiv = None if tiv is None else tiv.where(tiv > 0)
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    columns = [cohort.age, *(unknown if c is None else c.to_numpy(np.float32) for c in (sex, tiv))]
    return np.stack(columns, axis=1)


def training_part(
    cohort: Cohort, folds: pd.DataFrame, fold: int, needs: Sequence[str], complete: bool = False
) -> Cohort:
    """Keep the scans of participants outside `fold` that have what a method needs.

    Where the cohort has measures, a scan without any (or, with `complete`, a scan that lacks one of them) is left out
    for every method, also for one that reads none: methods are compared on the same participants.

    Parameters
    ----------
    cohort : Cohort
    folds : DataFrame
        Columns ``participant_id``, ``fold``.
    fold : int
        Held-out fold; -1 holds out no participant.
    needs : sequence of str
        ``"age"``, ``"features"`` (measures).
    complete : bool
        Leave out scans that lack any measure; else their gaps are for `anatcl.pretrain.labels.imputed`.
    """
    of_person = fold_of(folds)
    if fold != HELD_OUT_OF_NOTHING and fold not in of_person.values():
        there = len(set(of_person.values()))
        reason = f"fold {fold} holds no participant out: the cohort fills {plural(there, 'fold')}."
        raise InputError(
            reason, remedy=f"Lower pretrain: folds to {there}." if there > 1 else "Include more participants."
        )
    member = cohort.rows["participant_id"].astype(str).map(of_person)
    known = member.notna().to_numpy() | (fold == HELD_OUT_OF_NOTHING)
    cohort = cohort.subset(known, "participant not in folds.tsv")
    cohort = cohort.subset((member[known] != fold).to_numpy())
    if "age" in needs:
        cohort = cohort.subset(np.isfinite(cohort.age), "age is missing")
    if "features" in needs and not cohort.regions:
        raise InputError("the method needs cortical measures and there are none.", remedy="Give --measures.")
    there = np.isfinite(cohort.measures)
    keep = there.all((1, 2)) if complete else there.any((1, 2)) | (not cohort.regions)
    return cohort.subset(keep, "measures are missing")


def held_out_part(cohort: Cohort, folds: pd.DataFrame, fold: int) -> Cohort:
    """Keep the scans of participants in `fold`."""
    people = {person for person, number in fold_of(folds).items() if number == fold}
    return cohort.subset(cohort.rows["participant_id"].astype(str).isin(people).to_numpy())
