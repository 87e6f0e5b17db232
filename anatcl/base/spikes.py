"""Numbers that look like codes for missing (-9, 999): one value, far from all others."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

FEWEST = 5  # values beside the code, below which nothing stands out
MOST = 4  # different codes of one column; more are a distribution
USUAL = re.compile(r"-?(7+|8+|9+)")  # 88, 99, -999, 7777


def spikes(values: Iterable[float]) -> dict[float, int]:
    """Values that look like codes for missing, with how often they stand there.

    A code is a negative whole number amid others that are not negative, or a value made of one repeated 7, 8 or 9, or
    a repeated value; in each case it lies further from all others than they lie from one another.

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
        if enough and all(_suspect(v, counts[v]) and _apart(v, rest[0], rest[-1]) for v in codes):
            return {v: counts[v] for v in codes}
    return {}


def _ends(count: int) -> list[tuple[int, int]]:
    """How many of the lowest and of the highest values may be codes, most first."""
    pairs = [(i, j) for i in range(MOST + 1) for j in range(MOST + 1) if 0 < i + j <= min(MOST, count - 1)]
    return sorted(pairs, key=lambda pair: -sum(pair))


def _suspect(value: float, count: int) -> bool:
    whole = value == int(value)
    return whole and (value < 0 or count > 2 or bool(USUAL.fullmatch(f"{value:.0f}")))


def _apart(value: float, low: float, high: float) -> bool:
    """Whether a value lies further from a range than the range is long, or is negative below one that is not."""
    if value < 0 <= low:
        return True
    return min(abs(value - low), abs(value - high)) > max(high - low, 1e-12)
