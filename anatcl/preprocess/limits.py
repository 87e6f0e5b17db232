"""Limits on image-quality metrics, as sentences about those that are broken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Limits = Mapping[str, Sequence[float | None]]


def broken_limits(numbers: Mapping[Any, Any], limits: Limits) -> list[str]:
    """Which limits a scan breaks, as sentences (``cjv 2.4 is above 2``).

    Parameters
    ----------
    numbers : mapping
        Of :func:`anatcl.preprocess.qc.qc`.
    limits : mapping
        Name to (lowest, highest); ``None`` is no limit. A number that is missing or NaN breaks its limit.
    """
    broken = []
    for name, (low, high) in limits.items():
        value = numbers.get(name)
        if value is None or math.isnan(value):
            broken.append(f"{name} could not be measured")
        elif low is not None and value < low:
            broken.append(f"{name} {value:g} is below {low:g}")
        elif high is not None and value > high:
            broken.append(f"{name} {value:g} is above {high:g}")
    return broken
