"""Whether a mask can be trusted: its own numbers against the limits of the cohort, and deepbet's mask beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume
from anatcl.preprocess.limits import Limits, broken_limits
from anatcl.preprocess.mask_numbers import cut_area, second_opinion


@dataclasses.dataclass(frozen=True)
class Ask:
    """What deepbet is asked for beside the method of the masks.

    Attributes
    ----------
    compare : str
        ``deepbet``: the overlap of both intracranial masks becomes an image-quality metric; ``none``.
    retry : str
        ``deepbet``: it makes the masks where no plausible brain was found, or `limits` are broken; ``none``.
    limits : mapping
        Of the configuration's ``preprocess: qc``; those that a mask alone can break are looked at.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """

    compare: str = "none"
    retry: str = "none"
    limits: Limits = dataclasses.field(default_factory=dict)
    device: str = "auto"


NOBODY = Ask()


def overlap(one: NDArray, other: NDArray) -> float:
    """Dice of two boolean masks of one shape; 0 where both are empty."""
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def broken(brain: NDArray, icv: NDArray, scan: Volume, facts: Mapping[str, Any], limits: Limits) -> str:
    """Which limits the masks of a scan break, as one text; empty where none.

    Parameters
    ----------
    brain, icv : ndarray of bool, shape (X, Y, Z)
    scan : Volume
    facts : mapping
        With ``SecondOpinion`` where there was one.
    limits : mapping
        Name of an image-quality metric to (lowest, highest).
    """
    millilitres = scan.voxel_volume / 1000
    numbers = {
        "brain_ml": float(brain.sum() * millilitres),
        "icv_ml": float(icv.sum() * millilitres),
        "cut_cm2": cut_area(scan, scan.like(icv.astype(np.uint8))),
        **second_opinion(facts),
    }
    return "; ".join(broken_limits(numbers, {name: limits[name] for name in numbers if name in limits}))
