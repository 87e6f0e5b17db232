"""The figures of the page, each from tables to SVG: forest plots, brain age, learning curves, embedding maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from anatcl.base.words import plural
from anatcl.report.drawing.svg import CATEGORIES, Panel, nice_ticks, padded, ramp_bins, tick_text
from anatcl.report.records.results import Embedding
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.table import Cell, Table

# Beyond this many points a drawing carries no name per dot: the page would grow and the names overlap.
NAMED = 400
# Most dots of an embedding map: more would only cover each other.
DOTS = 3000


@dataclasses.dataclass(frozen=True)
class ForestRow:
    """One method of a forest plot: text beside a strip."""

    method: str
    label: str
    is_baseline: bool
    cell: Cell
    strip: Markup


@dataclasses.dataclass(frozen=True)
class Forest:
    """Estimates and intervals of one task, one metric, one protocol on a common axis."""

    task: str
    metric: words.Metric
    protocol: str
    size: str
    rows: list[ForestRow]
    axis: Markup
    flags: list[str]


def forests(table: Table) -> list[Forest]:
    """One forest plot per task and protocol, on the metric that the task is judged by."""
    found = []
    for task in table.tasks:
        name = words.primary_metric(column.metric for column in table.columns if column.task == task)
        index = [(column.task, column.metric) for column in table.columns].index((task, name))
        values = [row.cells[index] for row in table.rows]
        bounds = _bounds([cell for cell in values if cell is not None], words.metric_of(name))
        for protocol in table.protocols:
            rows = [
                ForestRow(row.method, row.label, row.is_baseline, cell, strip(cell, bounds, words.metric_of(name)))
                for row in table.rows
                if row.protocol == protocol and (cell := row.cells[index]) is not None
            ]
            if rows:
                size = table.sizes.get(task, "")
                shown, flags = words.metric_of(name), table.flags.get(task, [])
                found.append(Forest(task, shown, protocol, size, rows, strip_axis(bounds), flags))
    return found


def _bounds(cells: Sequence[Cell], metric: words.Metric) -> tuple[float, float]:
    """Common axis of a task: all intervals and the chance value stand on it."""
    values = [number for cell in cells for number in (cell.value, cell.low, cell.high)]
    return padded([*values, *([] if metric.chance is None else [metric.chance])], 0.04)


def _percent(value: float, bounds: tuple[float, float]) -> str:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    return f"{100 * min(max(share, 0), 1):.2f}"


def strip(cell: Cell, bounds: tuple[float, float], metric: words.Metric) -> Markup:
    """Interval and estimate on a strip that stretches with its table cell (strokes keep their width)."""
    parts = [f'<path class="grid" d="M{_percent(tick, bounds)} 0V20"/>' for tick in nice_ticks(*bounds, 4)]
    if metric.chance is not None:
        parts.append(f'<path class="chance" d="M{_percent(metric.chance, bounds)} 0V20"/>')
    if np.isfinite([cell.low, cell.high]).all():
        parts.append(f'<path class="interval" d="M{_percent(cell.low, bounds)} 10H{_percent(cell.high, bounds)}"/>')
    if np.isfinite(cell.value):
        parts.append(f'<path class="estimate" d="M{_percent(cell.value, bounds)} 10h0"/>')
    inside = "".join(parts)
    opening = '<svg class="strip" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f"{opening}{inside}</svg>")  # noqa: S704 - made of numbers alone


def strip_axis(bounds: tuple[float, float]) -> Markup:
    """Tick labels under the strips, as text that does not stretch."""
    ticks = nice_ticks(*bounds, 4)
    spans = "".join(f'<span style="left:{_percent(tick, bounds)}%">{tick_text(tick)}</span>' for tick in ticks)
    return Markup(f'<div class="strip-axis" aria-hidden="true">{spans}</div>')  # noqa: S704


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A drawing with its heading and one line below."""

    title: str
    chart: Markup
    note: str = ""


def age_bounds(predictions: Iterable[pd.DataFrame]) -> tuple[float, float]:
    """One range for both axes of all brain-age scatters, so that they can be compared by eye."""
    return padded([value for table in predictions for name in ("y_true", "y_pred") for value in table[name]])


def brain_age(predictions: pd.DataFrame, bounds: tuple[float, float], title: str, note: str) -> Drawn:
    """Predicted against chronological age (years) with the identity line."""
    known = predictions.dropna(subset=["y_true", "y_pred"])
    panel = Panel(bounds, bounds, 260, 260, "Age (years)", "Predicted age (years)")
    identity = panel.line(bounds, bounds, "identity")
    true, predicted = known["y_true"].to_numpy(float), known["y_pred"].to_numpy(float)
    if len(known) <= NAMED:
        names = [
            f"{scan}: {t:.1f}, predicted {p:.1f}" for scan, t, p in zip(known["scan"], true, predicted, strict=True)
        ]
        marks = panel.named_dots(true, predicted, names, "c0")
    else:
        marks = panel.dots(true, predicted, "c0 small")
    alt = f"{title}: predicted against actual age of {plural(len(known), 'scan')}. {note}"
    return Drawn(title, panel.draw(alt, identity, marks), note)


def learning_curves(histories: dict[int, pd.DataFrame], title: str) -> Drawn | None:
    """Training loss by epoch, one line per fold; None when no history has both columns."""
    return _by_epoch(histories, title, "loss", "Training loss", "mean loss {:.3g} → {:.3g}")


def probe_curves(histories: dict[int, pd.DataFrame], title: str) -> Drawn | None:
    """Age error of the early probe on each held-out fold by epoch; None when nothing was probed."""
    return _by_epoch(histories, title, "probe_age_mae", "MAE, held out (years)", "mean {:.1f} → {:.1f} years")


def _by_epoch(histories: dict[int, pd.DataFrame], title: str, column: str, label: str, words: str) -> Drawn | None:
    """One column of the histories, a line per fold; `words` takes the means of the folds' first and last values."""
    known = {fold: h.dropna(subset=[column]) for fold, h in histories.items() if {"epoch", column} <= set(h.columns)}
    folds = {fold: h for fold, h in known.items() if len(h)}
    if not folds:
        return None
    joined = pd.concat(folds.values())
    panel = Panel(padded(joined["epoch"], 0.02), padded(joined[column]), 260, 200, "Epoch", label)
    marks = []
    for index, h in enumerate(folds.values()):
        x, y, css = h["epoch"].to_numpy(float), h[column].to_numpy(float), f"c{index % CATEGORIES}"
        marks.append(panel.line(x, y, css) if len(h) > 1 else panel.dots(x, y, css))
    first, last = (np.mean([h[column].iloc[at] for h in folds.values()]) for at in (0, -1))
    note = f"{plural(len(folds), 'fold')}, {words.format(first, last)}"
    return Drawn(title, panel.draw(f"{title}: {note}, to epoch {int(joined['epoch'].max())}.", *marks), note)


def principal_plane(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First two principal components.

    Parameters
    ----------
    values : ndarray of shape (N, D)
        Embeddings.

    Returns
    -------
    plane : ndarray of shape (N, 2)
        Scores; the sign of a component is such that its largest loading is positive.
    share : ndarray of shape (2,)
        Share of the variance.
    """
    centred = values.astype(float) - values.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])
    plane = np.zeros((len(values), 2))
    kept = min(2, len(s))
    plane[:, :kept] = (u * s * signs)[:, :kept]
    share = np.zeros(2)
    if s.any():
        share[:kept] = (s**2 / (s**2).sum())[:kept]
    return plane, share


@dataclasses.dataclass(frozen=True)
class Colouring:
    """How dots are coloured by one column.

    Parameters
    ----------
    column : str
        Column of the scans table.
    css : Series of str
        Class of each row, with the index of the coloured values.
    legend : list of (css, text)
        What each class means.
    """

    column: str
    css: pd.Series
    legend: list[tuple[str, str]]


def colouring(values: pd.Series) -> Colouring:
    """Ramp for numbers, categories for text; the rarest categories share one grey."""
    numeric = pd.to_numeric(values, errors="coerce")
    if numeric.notna().any() and numeric.notna().sum() == values.notna().sum() and numeric.nunique() > CATEGORIES:
        bins, edges = ramp_bins(numeric.to_numpy(float))
        legend = [(f"s{step}", f"{low:.3g}–{high:.3g}") for step, (low, high) in enumerate(edges)]
        css = [f"s{step}" if step >= 0 else "none" for step in bins]
    else:
        kept = sorted(values.dropna().astype(str).value_counts().index[: CATEGORIES - 1])
        css = [f"c{kept.index(str(v))}" if pd.notna(v) and str(v) in kept else "none" for v in values]
        legend = [(f"c{index}", name) for index, name in enumerate(kept)]
    if "none" in css:
        legend.append(("none", "other or missing"))
    return Colouring(str(values.name), pd.Series(css, index=values.index, dtype=object), legend)


@dataclasses.dataclass(frozen=True)
class Plane:
    """First two principal components of some embeddings: ``scan`` (M,), ``places`` (M, 2) and one line about them."""

    scan: np.ndarray
    places: np.ndarray
    note: str


def embedding_plane(embedding: Embedding) -> Plane:
    """Principal components of all embeddings; at most `DOTS` scans, evenly spaced in the table, are drawn."""
    places, share = principal_plane(embedding.values)
    note = f"PC1 {share[0]:.0%}, PC2 {share[1]:.0%} of variance · encoder of fold {embedding.fold}"
    if len(places) > DOTS:
        kept = np.linspace(0, len(places) - 1, DOTS).round().astype(int)
        return Plane(embedding.scan[kept], places[kept], f"{note} · {DOTS:,} of {len(places):,} scans")
    return Plane(embedding.scan, places, note)


def embedding_map(plane: Plane, colours: Colouring, title: str) -> Drawn:
    """One dot per scan, coloured by a column of the scans table."""
    panel = Panel(padded(plane.places[:, 0]), padded(plane.places[:, 1]), 240, 220, axes=False)
    css = colours.css.reindex(plane.scan, fill_value="none").to_numpy()
    small = " small" if len(css) > NAMED else ""
    groups = ["none", *(name for name, _ in colours.legend if name != "none")]
    marks = [panel.dots(plane.places[css == name, 0], plane.places[css == name, 1], name + small) for name in groups]
    alt = f"{title}: map of {plural(len(css), 'embedding')} coloured by {colours.column}. {plane.note}"
    return Drawn(title, panel.draw(alt, *marks), plane.note)


def histogram(values: Iterable[float], label: str, bins: int = 12) -> Markup:
    """Counts of a number in the cohort, in about `bins` bins whose edges are round numbers."""
    array = np.asarray([value for value in values if np.isfinite(value)])
    ticks = nice_ticks(*padded(array, 0.0), bins)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    first, last = np.floor(array.min() / step), np.floor(array.max() / step) + 1
    counts, edges = np.histogram(array, bins=np.arange(first, last + 1) * step)
    panel = Panel((float(edges[0]), float(edges[-1])), (0, max(5.0, counts.max() * 1.08)), 300, 150, label, "Scans")
    bars = "".join(_bar(panel, *bar) for bar in zip(counts, edges[:-1], edges[1:], strict=True))
    spread = f"{array.min():.3g} to {array.max():.3g}, median {np.median(array):.3g}"
    return panel.draw(f"Histogram of {label}: {plural(len(array), 'scan')}, {spread}.", bars)


def _bar(panel: Panel, count: float, left: float, right: float) -> str:
    x, y, width = panel.x(left) + 0.5, panel.y(count), max(panel.x(right) - panel.x(left) - 1, 1)
    return f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{panel.y(0) - y:.1f}"/>'
