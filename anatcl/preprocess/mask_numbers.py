"""Image-quality metrics that the masks alone give: the skull-strip looks at them before `qc` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anatcl.images import Volume
from anatcl.preprocess.geometry import bounding_box


def second_opinion(facts: Mapping[str, Any]) -> dict[str, float]:
    """The image-quality metric ``mask_dice`` from a mask's sidecar; empty where there was no second mask."""
    return {"mask_dice": facts["SecondOpinion"]["Dice"]} if "SecondOpinion" in facts else {}


def cut_area(scan: Volume, icv: Volume) -> float:
    """Area (cm2) of the largest section of the intracranial mask that a face of the field of view makes.

    The field of view is the box of non-zero voxels: a scan may have been padded with zeros afterwards.
    """
    if not (scan.data > 0).any():
        return float("nan")
    box = bounding_box(scan.data > 0)
    inside, spacing = icv.data[box] > 0.5, scan.spacing
    areas = []
    for axis in range(3):
        face = np.prod(np.delete(spacing, axis)) / 100
        areas += [np.take(inside, end, axis=axis).sum() * face for end in (0, -1)]
    return float(max(areas))
