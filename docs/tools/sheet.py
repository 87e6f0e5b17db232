"""Drawings of the report's page on sheets of their own: its shapes and its style sheet, without the page."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from anatcl.base.files import write_text
from anatcl.report.drawing.figures import Drawn, Forest
from anatcl.report.drawing.svg import drawing

# Pixels: names beside the strips of a forest, a strip, a line of either, space between panels.
NAMES, STRIP, LINE, GAP = 150, 190, 20, 14
# Rules for shapes; `.chart {` and `.strip {` say how a drawing fits into the page.
KEPT = re.compile(r"\.(?!(chart|strip) \{)(chart|dots|strip|baseline|c\d)\b.*", re.ASCII)
SIZE = re.compile(r'<svg [^>]*width="(\d+)" height="(\d+)"')


def style() -> str:
    """The light colours and the rules for drawings of the page's style sheet, and a white ground."""
    css = resources.files("anatcl.report.page").joinpath("templates/style.css").read_text(encoding="utf-8")
    colours = re.search(r":root \{.*?\n\}", css, re.DOTALL)
    assert colours
    kept = [line for line in css.splitlines() if KEPT.match(line)]
    title = "svg { background: #fff; } .title { font: 600 12px var(--sans); fill: var(--ink); }"
    names = ".name { font: 11px var(--sans); fill: var(--ink); }"
    return "\n".join(["<style>", colours[0].replace("light dark", "light"), *kept, title, names, "</style>"])


def _text(x: float, y: float, css: str, words: str, anchor: str = "start") -> str:
    return f'<text class="{css}" x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _placed(svg: str, x: float, y: float, size: str = "") -> str:
    """An SVG element inside another, at a place."""
    return svg.replace("<svg ", f'<svg x="{x}" y="{y}" {size}overflow="visible" ', 1)


def forest(plot: Forest, x: float) -> tuple[str, int]:
    """A forest plot as one drawing at `x`, and its height: names, strips, and the lowest and highest tick."""
    parts = [_text(x, 14, "title", f"{plot.task}: {plot.metric.label} {plot.metric.arrow}")]
    for at, row in enumerate(plot.rows):
        top = LINE * (at + 1)
        parts.append(_text(x + NAMES - 8, top + 14, "name", row.label, "end"))
        place = _placed(str(row.strip), x + NAMES, top, f'width="{STRIP}" height="{LINE}" ')
        parts.append(f'<g class="{"baseline" if row.is_baseline else "trained"}">{place}</g>')
    foot = LINE * (len(plot.rows) + 1)
    for left, tick in re.findall(r'left:([\d.]+)%">([^<]+)<', str(plot.axis)):
        parts.append(_text(round(x + NAMES + float(left) * STRIP / 100, 1), foot + 14, "name", tick, "middle"))
    return "".join(parts), foot + LINE


def write_forests(plots: Sequence[Forest], out: Path, alt: str, columns: int = 3) -> None:
    """Forest plots in rows."""
    wide = NAMES + STRIP + 2 * GAP
    parts, top = [], 0
    for start in range(0, len(plots), columns):
        drawn = [forest(plot, GAP + at * wide) for at, plot in enumerate(plots[start : start + columns])]
        parts.append(f'<g transform="translate(0 {top})">{"".join(part for part, _ in drawn)}</g>')
        top += max(tall for _, tall in drawn) + GAP
    _write(out, alt, wide * min(columns, len(plots)), top, parts)


def write_panels(panels: Sequence[Drawn], out: Path, alt: str, columns: int = 4) -> None:
    """Drawings in rows, each under its title."""
    parts = []
    sizes = [tuple(map(int, found)) for panel in panels for found in SIZE.findall(str(panel.chart))[:1]]
    wide, tall = max(w for w, _ in sizes) + GAP, max(h for _, h in sizes) + LINE + GAP
    for at, panel in enumerate(panels):
        x, y = at % columns * wide, at // columns * tall
        parts += [_text(x + GAP, y + 14, "title", panel.title), _placed(str(panel.chart), x + GAP // 2, y + LINE)]
    lines = -(-len(panels) // columns)
    _write(out, alt, wide * min(columns, len(panels)), tall * lines, parts)


def _write(out: Path, alt: str, width: int, height: int, parts: Sequence[str]) -> None:
    text = str(drawing(width, height, alt, style(), *parts, css="sheet"))
    write_text(out, text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
