"""From predictions to rows of the long table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.words import plural
from anatcl.evaluate.data import units
from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.statistics import bootstrap, boundary, detail, gap, metrics, scales
from anatcl.evaluate.statistics.multiple import holm

FLOATS = "%.8g"
COLUMNS = [
    "method", "task", "kind", "group", "protocol", "metric", "value", "low", "high", "n", "n_participants", "n_sites",
    "n_dropped", "n_units", "n_effective", "folds", "seed", "seed_sd", "flags",
]  # fmt: skip
# What the bootstrap lacks: stands in the table of a single task for the paired tests, not in the joint one.
PAIRS = "missing_variance"
SKIPPED = "skipped"
SMALL = 50
# Effective units below which a bounded score has an interval of its own kind, see `boundary`.
FEW = 20
SMALLEST_SUBGROUP = 10
AGE_BAND = 20


def describe(problem: Problem, predictions: pd.DataFrame | None = None) -> dict[str, Any]:
    """Counts of every row of the table: of the tested rows, or of a refused problem's rows."""
    rows, site = problem.rows, problem.task.site
    if predictions is not None:
        rows = rows[rows["scan"].isin(predictions["scan"])]
    found = {
        "n": len(rows),
        "n_participants": rows["participant_id"].nunique() if len(rows) else 0,
        "n_sites": rows[site].nunique() if site in rows else np.nan,
        "n_dropped": problem.n_dropped,
    }
    if predictions is None:
        return found
    first = _first_run(predictions)
    return found | {"n_units": units.count(first), "n_effective": units.effective_n(first, problem.task.kind)}


def flags(problem: Problem, predictions: pd.DataFrame) -> list[str]:
    """Warnings for every score of a protocol."""
    first, found = _first_run(predictions), []
    kind, what = problem.task.kind, units.describe(problem.task, predictions)
    number = units.count(first)
    if number < (units.TESTABLE if what == "site" else SMALL):
        found.append(f"small: {plural(number, what)}")
    refusal = units.untestable(first, kind)
    if refusal:
        found.append(f"few: {refusal}, so intervals are rough and methods are not tested")
    if any(predictions[level].nunique() < 2 for level in units.drawn(predictions)):
        found.append("one draw: the interval does not cover what another draw would change")
    return found


def _first_run(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions of one fit; every fit tests the same participants."""
    levels = units.runs(predictions)
    if not levels or not len(predictions):
        return predictions
    return next(iter(predictions.groupby(levels, sort=True)))[1]


def estimate(
    metric: str, found: bootstrap.Replicates, table: pd.DataFrame, kind: str, missing: float = 0.0
) -> tuple[float, float]:
    """95 % interval of one score: the bootstrap's, or where that cannot hold, one that is valid at the boundary.

    Parameters
    ----------
    metric : str
        Its name.
    found : Replicates
        Of the score.
    table : DataFrame
        One run's predictions.
    kind : str
        Kind of the task.
    missing : float
        Variance that the bootstrap lacks.
    """
    values, n = found.values, units.effective_n(table, kind, metric)
    extra, freedom = found.draw_variance
    base = metric.removesuffix(metrics.SITE_MEAN)
    low, high = bootstrap.interval(values, missing, n=n, extra=extra, extra_freedom=freedom, scale=scales.of(base))
    rule = boundary.variance_of(base, table) if kind == "binary" else None
    if rule is None and kind == "multiclass" and base == "balanced_accuracy":
        rule = boundary.accuracy_variance(units.per_class(table).astype(float))
    flat = not (low < values[0] < high)
    if rule is None or not np.isfinite(values[0]):
        return (np.nan, np.nan) if flat else _clipped(base, low, high)
    if not flat and (n >= FEW or base not in boundary.EXACT):
        return _clipped(base, low, high)
    spread = np.nanvar(values[1:], ddof=1) if len(values) > 2 else 0.0
    inflation = 1 + float(np.clip(missing / spread, 0.0, 1.0)) if spread > 0 and np.isfinite(missing) else 1.0
    if n < FEW:  # leverages of a handful of people say little: the folds' correlation of Nadeau and Bengio
        inflation = max(inflation, 2 - 1 / table["fold"].nunique())
    return boundary.score_interval(float(values[0]), rule, inflation, extra)


def _clipped(metric: str, low: float, high: float) -> tuple[float, float]:
    ends = metrics.RANGES.get(metric, (-np.inf, np.inf))
    return float(np.clip(low, *ends)), float(np.clip(high, *ends))


def score_rows(
    problem: Problem,
    predictions: pd.DataFrame,
    missing_variance: dict[str, float],
    n_bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Metric, value and interval of one method's predictions for one task."""
    kind, wanted = problem.task.kind, problem.task.metrics
    names, counts = bootstrap.draw(units.of(predictions), n_bootstrap, seed)

    def evaluate(run: pd.DataFrame, w: np.ndarray) -> dict[str, np.ndarray]:
        main, beside = metrics.evaluate(run, kind, w, wanted or None), detail.evaluate(run, kind, w, wanted)
        return main | beside | gap.evaluate(run, problem, w)

    found = bootstrap.replicate_draws(predictions, evaluate, names, counts)
    unknown = set(wanted) - set(found)
    if unknown:
        raise InputError(f"unknown metrics {sorted(unknown)} of a {kind} task.", remedy=f"Known: {sorted(found)}.")
    rows, table = [], _first_run(predictions)
    for metric in wanted or found:
        base = metric.removesuffix(metrics.SITE_MEAN)
        lacking = missing_variance.get(metric, missing_variance.get(base, np.nan))
        if metric == "gap_site_share":
            low, high = gap.site_interval(predictions, problem)
        else:
            low, high = estimate(metric, found[metric], table, kind, np.nan_to_num(lacking))
        rows.append({"metric": metric, "value": found[metric].values[0], "low": low, "high": high, PAIRS: lacking,
                     "seed_sd": found[metric].spread_of(units.SEED)})  # fmt: skip
    return rows


def concatenate(files: list[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join score tables into one, sorted by task and then in the order given, and the tasks that were refused apart."""
    tables = [read_tsv(f).assign(_order=i) for i, f in enumerate(files)]
    tables = [t for t in tables if len(t)]
    if not tables:
        return pd.DataFrame(columns=COLUMNS), pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables).sort_values(["task", "protocol", "_order"], kind="stable")
    table = table.drop(columns="_order").reset_index(drop=True)
    refused = table["metric"] == SKIPPED
    return table[~refused], table[refused]


def missing_variances(table: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """What the bootstrap lacks by task, protocol, method and metric, of a table from `concatenate`."""
    if PAIRS not in table:
        return {}
    keys = table[["task", "protocol", "method", "metric"]].astype(str).itertuples(index=False, name=None)
    return dict(zip(keys, table[PAIRS].astype(float), strict=True))


CHALLENGE_POWER = 0.3
# The release's official split, as protocols name it: sites that were trained on, and others.
KNOWN_SITES, NEW_SITES = "train-to-internal_test", "train-to-external_test"
WITHIN = re.compile(r"(\d+x)?\d+-fold")


def challenge_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Score of the OpenBHB challenge, ``MAE of age * balanced accuracy of site ** 0.3`` (lower is better).

    The challenge takes the MAE on sites that were not trained on and the accuracy within known ones, so that the score
    has two protocols; its own names both. Those of the official split come first. Where no site was left out, both are
    of the same folds and the row says so.
    The interval is that of the logarithm, from the intervals of both factors, taken as independent.
    """
    rows = []
    for prefix in ("", "openbhb-"):
        age = table[(table["task"] == f"{prefix}age") & (table["metric"] == "mae")]
        site = table[(table["task"] == f"{prefix}site") & (table["metric"] == "balanced_accuracy")]
        known = site["protocol"].astype(str)
        site = site[known.str.fullmatch(WITHIN) | (known == KNOWN_SITES)]
        for _, ages in age.groupby("method", sort=False):
            sites = site[site["method"] == ages["method"].iloc[0]].to_dict("records")
            rows += [_challenge(a, s) for a, s in _factors(ages.to_dict("records"), sites)]
    return rows


def _factors(ages: Sequence[Any], sites: Sequence[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of one method's errors and accuracies that belong together."""
    official = [(a, s) for a in ages for s in sites if (a["protocol"], s["protocol"]) == (NEW_SITES, KNOWN_SITES)]
    if official:
        yield from official
        return
    ages, sites = ([row for row in rows if row["protocol"] != KNOWN_SITES] for rows in (ages, sites))
    outside = [a for a in ages if not re.fullmatch(WITHIN, str(a["protocol"])) and _unseen_sites(str(a["protocol"]))]
    for a in outside:
        yield from ((a, s) for s in sites[:1])
    for a in [] if outside else ages:
        yield from ((a, s) for s in sites if s["protocol"] == a["protocol"])


def _unseen_sites(protocol: str) -> bool:
    return units.by_site(protocol) or "-to-" in protocol


def _challenge(age: dict[str, Any], site: dict[str, Any]) -> dict[str, Any]:
    value = age["value"] * site["value"] ** CHALLENGE_POWER
    half = float(np.exp(np.hypot(_log_spread(age), CHALLENGE_POWER * _log_spread(site))))
    mark = "" if _unseen_sites(str(age["protocol"])) else "MAE within sites; the challenge's MAE is on unseen sites"
    name = f"challenge (age: {age['protocol']}, site: {site['protocol']})"
    change = {"metric": "openbhb_score", "protocol": name, "value": value, "flags": mark}
    return {str(key): item for key, item in age.items()} | change | {"low": value / half, "high": value * half}


def _log_spread(row: dict[str, Any]) -> float:
    """Half the length of an interval on the logarithm's scale; NaN where there is none."""
    low, high = float(row.get("low") or np.nan), float(row.get("high") or np.nan)
    return float(np.log(high / low) / 2) if 0 < low <= high else np.nan


def subgroup_rows(
    predictions: pd.DataFrame, kind: str, scans: pd.DataFrame, columns: list[str], n_bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Scores of one method and task within subgroups of the tested participants.

    Parameters
    ----------
    predictions : DataFrame
        Predictions of one method, task and protocol.
    kind : str
        Kind of the task.
    scans : DataFrame
        Scans table with `columns`.
    columns : list of str
        ``age`` is cut into bands of 20 years, other columns are taken by value.
    n_bootstrap, seed : int
        Resamples of participants.
    """
    rows = []
    for label, scans_of in _subgroups(scans, columns):
        part = predictions[predictions["scan"].isin(scans_of)]
        people = part["participant_id"].nunique()
        if people < SMALLEST_SUBGROUP:
            continue  # often nobody: the task tests other participants
        names, counts = bootstrap.draw(units.of(part), n_bootstrap, seed)
        found = bootstrap.replicate_draws(part, lambda run, w: metrics.evaluate(run, kind, w), names, counts)
        for metric, replicates in found.items():
            low, high = estimate(metric, replicates, _first_run(part), kind)
            known = replicates.values[1:][np.isfinite(replicates.values[1:])]
            rows.append(
                {"subgroup": label, "metric": metric, "value": replicates.values[0], "low": low, "high": high,
                 "n": part["scan"].nunique(), "n_participants": people,
                 "_variance": known.var(ddof=1) if len(known) > 1 else np.nan}
            )  # fmt: skip
    return _with_tests(rows)


def _with_tests(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``p_differ``: whether the subgroups of a column differ, by Cochran's Q, Holm over the columns."""
    table = pd.DataFrame(rows)
    if table.empty:
        return rows
    table["_column"] = table["subgroup"].str.split("=").str[0]
    table["p_differ"] = np.nan
    for _, of_metric in table.groupby("metric", sort=False):
        p = {str(column): _heterogeneity(part) for column, part in of_metric.groupby("_column", sort=True)}
        corrected = dict(zip(p, holm(np.array(list(p.values()))), strict=True))
        table.loc[of_metric.index, "p_differ"] = of_metric["_column"].map(corrected)
    made = table.drop(columns=["_variance", "_column"]).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in made]


def _heterogeneity(part: pd.DataFrame) -> float:
    """P value of equal scores in all subgroups, weighted by their precision; NaN with fewer than two."""
    part = part[(part["_variance"] > 0) & np.isfinite(part["value"])]
    if len(part) < 2:
        return float("nan")
    weight = 1 / part["_variance"]
    mean = (weight * part["value"]).sum() / weight.sum()
    return float(special.chdtrc(len(part) - 1, (weight * (part["value"] - mean) ** 2).sum()))


def _subgroups(scans: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, set[str]]]:
    for column in [c for c in columns if c in scans]:
        values = scans[column]
        if column == "age":
            start = (pd.to_numeric(values, errors="coerce") // AGE_BAND * AGE_BAND).astype("Int64")
            values = start.map(lambda a: f"{a}-{a + AGE_BAND}", na_action="ignore")
        for value, part in scans.groupby(values, sort=True):
            yield f"{column}={value}", set(part["scan"])
