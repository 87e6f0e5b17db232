"""Changes of the training measures before a loss uses them: missing ones are filled, or they are permuted."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import plural
from anatcl.pretrain.cohort import Cohort, covariates

log = logging.getLogger(__name__)
DECADE = 10.0  # years
MANY_ALONE = 0.2  # share of people who keep their own measures above which the control is weak
STREAM = 0x9E37  # keeps the exchange apart from other draws of the same seed


def imputed(cohort: Cohort) -> Cohort:
    """Fill missing measures by their mean given age and sex, learned from the scans of `cohort` alone.

    Each measure with gaps is regressed (least squares) on age and sex of the scans that have it; an unknown age or sex
    counts as the mean. A region with a measure that no scan of the cohort has is left out.

    Parameters
    ----------
    cohort : Cohort
        The training part.

    Returns
    -------
    Cohort
        Without NaN in ``measures``; ``imputed`` says how many values of how many scans were filled.
    """
    cohort = _without_unknown_regions(cohort)
    gaps = ~np.isfinite(cohort.measures)
    if not gaps.any():
        return cohort
    flat, lacking = cohort.measures.astype(float).reshape(len(cohort), -1), gaps.reshape(len(cohort), -1)
    design = _age_and_sex(cohort)
    for column in np.flatnonzero(lacking.any(0)):
        unknown = lacking[:, column]
        coefficients = np.linalg.lstsq(design[~unknown], flat[~unknown, column], rcond=None)[0]
        flat[unknown, column] = design[unknown] @ coefficients
    found = {"scans": int(lacking.any(1).sum()), "values": int(lacking.sum())}
    what = f"{plural(found['values'], 'measure')} of {plural(found['scans'], 'scan')}"
    log.info("missing, and filled with the mean given age and sex: %s", what)
    measures = flat.reshape(cohort.measures.shape).astype(np.float32)
    return dataclasses.replace(cohort, measures=measures, imputed=found)


def _without_unknown_regions(cohort: Cohort) -> Cohort:
    nobody = (~np.isfinite(cohort.measures)).all(0).any(1)
    if not nobody.any():
        return cohort
    gone = [region for region, no in zip(cohort.regions, nobody, strict=True) if no]
    log.warning("no training scan has the measures of %s: left out", ", ".join(gone))
    kept = [region for region in cohort.regions if region not in gone]
    return dataclasses.replace(cohort, measures=cohort.measures[:, ~nobody], regions=kept)


def _age_and_sex(cohort: Cohort) -> np.ndarray:
    """Intercept, age and sex (n, 3); an unknown one is the mean of the known ones, 0 where nobody's is known."""
    x = covariates(cohort)[:, :2].astype(float)
    known = np.isfinite(x)
    mean = np.where(known, x, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.column_stack([np.ones(len(x)), np.where(known, x, mean)])


def permuted(cohort: Cohort, seed: int) -> Cohort:
    """Exchange the measures among participants of equal sex and age decade.

    A control: it shows what a kernel gains from each participant's own anatomy.

    Within each cell the people stand in a random circle and each takes the measures, and the intracranial volume that
    belongs to them, of the next; so no participant keeps their own unless alone in their cell. A person's k-th scan
    takes the giver's k-th (from the first again when the giver has fewer). Age and sex stay with the person.

    Parameters
    ----------
    cohort : Cohort
        The training part.
    seed : int
        Seed of the run.

    Returns
    -------
    Cohort
        ``permuted`` counts people, cells and people who kept theirs.

    Raises
    ------
    InputError
        Everybody would keep their own.
    """
    giver = np.arange(len(cohort))
    cells = list(_cells(cohort))
    random = np.random.default_rng([seed, STREAM])
    for people in cells:
        circle = [people[i] for i in random.permutation(len(people))]
        for taker, source in zip(circle, [*circle[1:], circle[0]], strict=True):
            giver[taker] = np.resize(source, len(taker))
    alone = sum(len(people) == 1 for people in cells)
    found = {"people": len(cohort.participants), "cells": len(cells), "kept_their_own": alone}
    if alone == len(cohort.participants):
        raise InputError(
            "permuted: no measures can be exchanged: each participant is alone with their sex and age decade.",
            remedy="Include more participants, or leave permuted off: this control would equal the method itself.",
        )
    log.log(
        logging.WARNING if alone > MANY_ALONE * len(cohort.participants) else logging.INFO,
        "permuted: the measures of %s are exchanged within %s of sex and age decade; alone in their cell, with "
        "their own measures: %s",
        plural(found["people"], "participant"),
        plural(found["cells"], "cell"),
        plural(found["kept_their_own"], "participant"),
    )
    table = cohort.table.copy()
    if "tiv_mm3" in table:
        table["tiv_mm3"] = table["tiv_mm3"].to_numpy()[giver]
    return dataclasses.replace(cohort, measures=cohort.measures[giver], table=table, permuted=found)


def _cells(cohort: Cohort) -> Iterator[list[np.ndarray]]:
    """Participants of one sex and age decade (at the first scan; unknown is a value, too), each as rows of scans."""
    age, sex, _ = covariates(cohort).T
    rows = pd.DataFrame({"person": cohort.rows["participant_id"].astype(str), "sex": sex, "decade": age // DECADE})
    first = rows.groupby("person", sort=True)[["sex", "decade"]].transform("first")
    keys = pd.MultiIndex.from_frame(first.fillna(-1))
    for _, cell in rows.groupby(keys, sort=True):
        yield [np.asarray(scans) for _, scans in sorted(cell.groupby("person").groups.items())]
