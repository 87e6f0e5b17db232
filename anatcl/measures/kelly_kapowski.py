"""DiReCT thickness by ANTs' own program, the reference that :mod:`anatcl.measures.direct` is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume

# Converged on a shell of known thickness (3.03 mm of 3 mm at 1 mm); nipype's defaults (gradient_step .025, 50
# iterations, smoothing 1.5) stop at 2.2-2.6 mm.
CONVERGED = {"convergence": "[90,0.0,10]", "gradient_step": 0.05, "smoothing_velocity_field": 1.0}


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
        Inputs of nipype's ``KellyKapowski``; `CONVERGED` where not given.

    Notes
    -----
    Das et al. 2009, NeuroImage 45:867. The program sees the arrays on an axis-aligned grid, so oblique affines do not
    matter.
    """
    from anatcl.preprocess.ants import workspace

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
            **(CONVERGED | options),
        )
        return room.get("thickness.nii").data


def segmentation(grey: NDArray, white: NDArray) -> NDArray:
    """Labels 2 (grey) and 3 (white) of the larger probability, 0 where both are below one half in sum."""
    return np.where(grey + white < 0.5, 0, np.where(white >= grey, 3, 2)).astype(np.uint8)
