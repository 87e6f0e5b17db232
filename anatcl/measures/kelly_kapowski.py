"""DiReCT thickness by ANTs' own program, the reference that :mod:`anatcl.measures.direct` is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume
from anatcl.spec.thickness import KellyKapowski


def kelly_kapowski(
    grey: NDArray, white: NDArray, spacing: NDArray, threads: int = 1, seed: int = 0, **options: Any
) -> NDArray:
    """Cortical thickness in mm, shape (X, Y, Z), zero outside grey matter.

    Parameters
    ----------
    grey, white : ndarray of shape (X, Y, Z)
        Probability of cortical grey matter, and of lying inside the white surface.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    threads, seed : int
        Of ITK.
    **options
        Fields of :class:`anatcl.spec.thickness.KellyKapowski`, inputs of nipype's interface.

    Notes
    -----
    Das et al. 2009, NeuroImage 45:867. The program sees the arrays on an axis-aligned grid, so oblique affines do not
    matter.
    """
    from anatcl.preprocess.ants import workspace

    told = KellyKapowski.parse(options, "thickness kelly_kapowski")

    grid = Volume(np.zeros(grey.shape, np.float32), np.diag([*map(float, spacing), 1.0]))
    with workspace(threads, seed) as room:
        room.run(
            "KellyKapowski",
            dimension=3,
            segmentation_image=room.put("dseg.nii", grid.like(segmentation(grey, white))),
            gray_matter_prob_image=room.put("grey.nii", grid.like(grey.astype(np.float32))),
            white_matter_prob_image=room.put("white.nii", grid.like(white.astype(np.float32))),
            cortical_thickness="thickness.nii",
            warped_white_matter="warped.nii",
            **told.model_dump(exclude_none=True),
        )
        return room.get("thickness.nii").data


def segmentation(grey: NDArray, white: NDArray) -> NDArray:
    """Labels 2 (grey) and 3 (white) of the larger probability, 0 where both are below one half in sum."""
    return np.where(grey + white < 0.5, 0, np.where(white >= grey, 3, 2)).astype(np.uint8)
