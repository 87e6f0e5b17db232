"""Scales on which the spread of a score does not depend on its value.

By chance low errors come with small spreads, so that an interval of one length either side misses the truth on the far
side more often than on the near one. On these scales the spread is much the same wherever the value lies: the logarithm
of an error, Fisher's z of a correlation, the arcsine of a rate, the logarithm of the unexplained share of R squared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from anatcl.evaluate.statistics.metrics import RANGES, Array

TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Scale:
    """A growing function and its inverse."""

    to: Callable[[Array], Array]
    back: Callable[[Array], Array]


LOG = Scale(lambda v: np.log(np.maximum(v, TINY)), np.exp)
FISHER = Scale(lambda v: np.arctanh(np.clip(v, -1 + TINY, 1 - TINY)), np.tanh)
UNEXPLAINED = Scale(lambda v: -np.log(np.maximum(1 - v, TINY)), lambda z: 1 - np.exp(-z))
ARCSINE = Scale(lambda v: np.arcsin(np.sqrt(np.clip(v, 0, 1))), lambda z: np.sin(np.clip(z, 0, np.pi / 2)) ** 2)
BY_RANGE = {(0.0, np.inf): LOG, (-1.0, 1.0): FISHER, (-np.inf, 1.0): UNEXPLAINED, (0.0, 1.0): ARCSINE}


def of(metric: str) -> Scale | None:
    """Scale of a metric, by the values that it can take; None for those without bounds."""
    return BY_RANGE.get(RANGES.get(metric, (-np.inf, np.inf)))
