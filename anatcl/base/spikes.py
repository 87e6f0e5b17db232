"""Numbers that look like codes for missing (-9, 999): one value, far from all others."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

FEWEST = 5  # values beside the code, below which nothing stands out
MOST = 4  # different codes of one column; more are a distribution
HUGE = 100.0  # times the range of the others: no outlier of the same measure lies so far off
USUAL = re.compile(r"-?(7+|8+|9+)")  # 88, 99, -999, 7777


def spikes(values: Iterable[float]) -> dict[float, int]:
    """Values that look like codes for missing, with their counts.

    A code is a negative whole number amid others that are not negative; or 0, a value made of one repeated 7, 8 or 9,
    or a repeated value, each further from all others than they lie from one another; or any whole number that is
    `HUGE` times as far (1e9, 32767).

    Parameters
    ----------
    values : iterable of float
        Those that are known.
    """
    counts = Counter(v for v in values if math.isfinite(v))
    sorts = sorted(counts)
    for low, high in _ends(len(sorts)):
        codes, rest = sorts[:low] + sorts[len(sorts) - high :], sorts[low : len(sorts) - high]
        enough = sum(counts[v] for v in rest) >= FEWEST
        if enough and all(_is_code(v, counts[v], rest[0], rest[-1]) for v in codes):
            return {v: counts[v] for v in codes}
    return {}


def _ends(count: int) -> list[tuple[int, int]]:
    """How many of the lowest and of the highest values may be codes, most first."""
    pairs = [(i, j) for i in range(MOST + 1) for j in range(MOST + 1) if 0 < i + j <= min(MOST, count - 1)]
    return sorted(pairs, key=lambda pair: -sum(pair))


def _is_code(value: float, count: int, low: float, high: float) -> bool:
    """Whether a value is odd enough, and far enough from the range of the others."""
    if value != int(value):
        return False
    if value < 0 <= low:
        return True
    far, range_ = min(abs(value - low), abs(value - high)), max(high - low, 1e-12)
    odd = value <= 0 or count > 1 or bool(USUAL.fullmatch(f"{value:.0f}"))
    return far > range_ if odd else far > HUGE * range_
