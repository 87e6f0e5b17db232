"""Small inline SVG charts, written by hand: no fonts, no dates, no ids that change, colours by style sheet.

Colours are class names (``c0`` ... ``c7`` for categories, ``s0`` ... ``s6`` for a ramp) that the page's style sheet
gives a light, a dark and a printed value, so that one drawing serves all three.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

Numbers = Sequence[float] | np.ndarray
CATEGORIES = 8
RAMP = 7


def coordinate(value: float) -> str:
    """Pixel coordinate with one decimal, the same text on every machine."""
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between `low` and `high`, about `count` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Short text of a tick."""
    return f"{value:.6g}".replace("-", "−")


@dataclasses.dataclass(frozen=True)
class Panel:
    """A plotting area with linear axes.

    Parameters
    ----------
    x_range, y_range : (float, float)
        Limits in data units.
    width, height : int
        Size of the drawing in pixels at 100 %.
    x_label, y_label : str
        Axis names with units.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int = 260
    height: int = 240
    x_label: str = ""
    y_label: str = ""
    axes: bool = True

    LEFT, RIGHT, TOP, BOTTOM = 42, 8, 8, 36

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plotting area in pixels."""
        if not self.axes:
            return 6, 6, self.width - 6, self.height - 6
        widest = max((len(tick_text(tick)) for tick in nice_ticks(*self.y_range)), default=0)
        left = max(self.LEFT, 22 + 7 * widest)
        return left, self.TOP, self.width - self.RIGHT, self.height - self.BOTTOM

    def x(self, value: float) -> float:
        """Pixel of a horizontal data value."""
        left, _, right, _ = self.box
        return left + (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0]) * (right - left)

    def y(self, value: float) -> float:
        """Pixel of a vertical data value (upwards)."""
        _, top, _, bottom = self.box
        return bottom - (value - self.y_range[0]) / (self.y_range[1] - self.y_range[0]) * (bottom - top)

    def frame(self) -> str:
        """Grid lines, ticks and axis names."""
        left, top, right, bottom = self.box
        if not self.axes:
            return f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>'
        parts = []
        for tick in nice_ticks(*self.y_range):
            y = coordinate(self.y(tick))
            parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
            parts.append(
                f'<text class="tick" x="{left - 5}" y="{y}" dy=".32em" text-anchor="end">{tick_text(tick)}</text>'
            )
        for tick in nice_ticks(*self.x_range):
            x = coordinate(self.x(tick))
            parts.append(f'<path class="grid" d="M{x} {top}V{bottom}"/>')
            parts.append(f'<text class="tick" x="{x}" y="{bottom + 14}" text-anchor="middle">{tick_text(tick)}</text>')
        middle_x, middle_y = coordinate((left + right) / 2), coordinate((top + bottom) / 2)
        parts.append(_label(self.x_label, f'x="{middle_x}" y="{self.height - 5}"'))
        parts.append(_label(self.y_label, f'transform="translate(10 {middle_y}) rotate(-90)"'))
        return "".join(parts)

    def draw(self, alt: str, *marks: str) -> Markup:
        """The whole drawing; `alt` is read out instead of it."""
        return drawing(self.width, self.height, alt, self.frame(), *marks)

    def path(self, x: Numbers, y: Numbers) -> str:
        """Path data of a line through points; a gap where a value is missing."""
        parts, pen_down = [], False
        for horizontal, vertical in zip(x, y, strict=True):
            if not (math.isfinite(horizontal) and math.isfinite(vertical)):
                pen_down = False
                continue
            place = f"{coordinate(self.x(horizontal))} {coordinate(self.y(vertical))}"
            parts.append(f"{'L' if pen_down else 'M'}{place}")
            pen_down = True
        return "".join(parts)

    def line(self, x: Numbers, y: Numbers, css: str) -> str:
        """A line through points."""
        return f'<path class="line {css}" d="{self.path(x, y)}"/>'

    def dots(self, x: Numbers, y: Numbers, css: str) -> str:
        """Round dots, all in one path: ten bytes a dot."""
        places = "".join(f"M{coordinate(self.x(a))} {coordinate(self.y(b))}h0" for a, b in zip(x, y, strict=True))
        return f'<path class="dots {css}" d="{places}"/>' if places else ""

    def named_dots(self, x: Numbers, y: Numbers, names: Iterable[str], css: str) -> str:
        """Dots that say their name when pointed at."""
        return "".join(
            f'<path class="dots {css}" d="M{coordinate(self.x(a))} {coordinate(self.y(b))}h0">'
            f"<title>{html.escape(name)}</title></path>"
            for a, b, name in zip(x, y, names, strict=True)
        )


def _label(text: str, place: str) -> str:
    return f'<text class="label" {place} text-anchor="middle">{html.escape(text)}</text>' if text else ""


def drawing(width: int, height: int, alt: str, *parts: str, css: str = "chart") -> Markup:
    """An SVG element that a screen reader announces as one picture with text `alt`."""
    inside = "".join(parts)
    return Markup(  # noqa: S704 - every text in `parts` was escaped where it was put in
        f'<svg class="{html.escape(css)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(alt)}">{inside}</svg>'
    )


def short(value: float) -> str:
    """Three significant digits without an exponent, thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def brief(value: float) -> str:
    """`short`, with thousands as ``4.02k``: for the narrow steps of a colour bar."""
    return f"{value / 1000:.3g}k" if abs(value) >= 1000 else short(value)


def padded(values: Iterable[float], share: float = 0.05) -> tuple[float, float]:
    """Range of the finite values with a margin; (0, 1) when there are none."""
    array = np.asarray(list(values), dtype=float)
    array = array[np.isfinite(array)]
    if len(array) == 0:
        return 0.0, 1.0
    low, high = float(array.min()), float(array.max())
    margin = (high - low) * share or max(abs(high) * share, 0.5)
    return low - margin, high + margin


def ramp_bins(values: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Sort values into the `RAMP` steps of the ramp, equal in width.

    Returns
    -------
    bins : ndarray of int
        Step of each value, -1 where missing.
    edges : list of (float, float)
        Range of each step.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.full(len(values), -1), []
    low, high = float(values[finite].min()), float(values[finite].max())
    width = (high - low) / RAMP or 1.0
    bins = np.full(len(values), -1)
    bins[finite] = np.clip(((values[finite] - low) / width).astype(int), 0, RAMP - 1)
    return bins, [(low + step * width, low + (step + 1) * width) for step in range(RAMP)]
