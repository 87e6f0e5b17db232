"""Results of the tests in words, for the first screen of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from anatcl.base.words import does, plural
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.headline import Headline
from anatcl.report.tables.marks import LEVEL

# Rivals that a trained encoder is asked to beat, the strongest first.
RIVALS = {"regional-measures": "regional measures", "untrained": "the untrained encoder"}


def verdict(best: Sequence[Headline], comparisons: pd.DataFrame) -> list[str]:
    """Sentences on what trained methods are better and worse than, by the paired tests of the evaluation.

    Parameters
    ----------
    best : sequence of Headline
        One per task; its metric and protocol are those that are judged.
    comparisons : DataFrame
        ``task, protocol, metric, method_a, method_b, difference, low, high, p_holm, note``; empty where nothing was
        compared.

    Returns
    -------
    list of str
        Empty where no trained method was compared with a baseline.
    """
    sentences = []
    for rival in RIVALS:
        pairs = [(headline, _against(rival, headline, comparisons)) for headline in best]
        pairs = [(headline, table) for headline, table in pairs if len(table)]
        if pairs:
            sentences += _sentences(rival, pairs)
    return sentences


def _against(rival: str, headline: Headline, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Trained methods beside a rival: columns method, gain (positive is better), difference, low, high, p, note."""
    needed = {"task", "protocol", "metric", "method_a", "method_b", "difference", "low", "high", "p_holm", "note"}
    if not needed <= set(comparisons):
        return pd.DataFrame()
    here = comparisons[
        (comparisons["task"] == headline.task)
        & (comparisons["protocol"] == headline.protocol)
        & (comparisons["metric"] == headline.metric_name)
        & ((comparisons["method_a"] == rival) | (comparisons["method_b"] == rival))
    ]
    rows = [_turned(row, rival, headline.metric) for row in here.to_dict("records")]
    return pd.DataFrame([row for row in rows if row["method"] not in words.BASELINES])


def _turned(row: Mapping[Any, Any], rival: str, metric: words.Metric) -> dict[str, Any]:
    """One comparison as method minus rival."""
    first = row["method_a"] != rival
    low, high = float(row["low"]), float(row["high"])
    difference = float(row["difference"]) * (1 if first else -1)
    ends = (low, high) if first else (-high, -low)
    return {
        "method": row["method_a"] if first else row["method_b"],
        "difference": difference,
        "low": ends[0],
        "high": ends[1],
        "gain": -metric.loss(difference),
        "p": float(row["p_holm"]),
        "note": "" if pd.isna(row["note"]) else str(row["note"]),
    }


def _sentences(rival: str, pairs: list[tuple[Headline, pd.DataFrame]]) -> list[str]:
    name = RIVALS[rival]
    tested = [(headline, table[table["note"] == ""]) for headline, table in pairs]
    tested = [(headline, table) for headline, table in tested if table["p"].notna().any()]
    if not tested:
        notes = [str(text) for _, table in pairs for text in table["note"] if text]
        note = notes[0] if notes else "too few participants"
        return [f"Trained methods were not tested against {name} ({note.removeprefix('not tested: ')})."]
    better = [_differ("better", name, headline, table) for headline, table in tested]
    worse = [text for headline, table in tested if (text := _differ("worse", name, headline, table))]
    rest = [headline.task for (headline, _), text in zip(tested, better, strict=True) if not text]
    if len(rest) == len(tested):
        return [f"No trained method is better than {name} on any of {plural(len(tested), 'tested task')}.", *worse]
    none = [f"None is better than {name} in {', '.join(rest)}."] if rest else []
    return [*filter(None, better), *none, *worse]


def _differ(word: str, rival: str, headline: Headline, table: pd.DataFrame) -> str:
    """Which methods are clearly `word` (better, worse) than a rival, with the figure of the best one; "" if none is."""
    gain = table["gain"] if word == "better" else -table["gain"]
    rows = table[(gain > 0) & (table["p"] < LEVEL)].sort_values("gain", ascending=False)
    if rows.empty:
        return ""
    verb = does(len(rows), "is", "are")
    return f"{_names(rows)} {verb} {word} than {rival} in {headline.task}: {_best(headline, rows)}."


def _names(rows: pd.DataFrame) -> str:
    names = [words.method_label(str(name)) for name in rows["method"]]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _best(headline: Headline, rows: pd.DataFrame) -> str:
    """``ROC AUC +0.064 [+0.003, +0.125], p = 0.041``, of the best one."""
    row, digits = rows.iloc[0], headline.metric.decimals
    figures = f"{row['difference']:+.{digits}f} [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    p = f"p = {row['p']:.3f}" if row["p"] >= 0.001 else "p < 0.001"
    who = f" ({words.method_label(str(row['method']))})" if len(rows) > 1 else ""
    return f"{headline.metric.label} {figures.replace('-', '−')}, {p}{who}"
