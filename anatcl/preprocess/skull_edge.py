"""Where the skull begins in the very scan: the carried masks' edges moved to what the intensities say.

A template's intracranial mask lands within 2 mm of the inner table of the skull; the scan itself shows where CSF
(brighter) meets bone (dark). Both are weighed: distance to the carried edge against intensity, the edge moving by no
more than `REACH_MM`. The numbers were set on 16 IXI scans beside the DLMUSE segmentation (see docs/results).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.images import Volume
from anatcl.preprocess.geometry import close_mm, dilate_mm, erode_mm, largest_component

# Intensity between CSF and bone, and the half-width of doubt around it, as fractions of white matter.
BONE, DOUBT = 0.15, 0.06
REACH_MM = 2.0
SMOOTH_MM = 1.6
# Half the thickness of a sheet that is no brain; how far a brain mask reaches beyond tissue, so that it never cuts the
# cortex; half the width of a sulcus that it closes.
PEEL_MM, RIM_MM, CLOSE_MM = 2.0, 2.0, 6.0


def to_inner_table(scan: Volume, icv: NDArray, white: float) -> NDArray:
    """Move the edge of a carried intracranial mask to the inner table of the skull.

    Parameters
    ----------
    scan : Volume
        Bias-corrected scan.
    icv : ndarray of bool, shape (X, Y, Z)
        Carried mask.
    white : float
        Intensity of white matter.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        One component without holes.
    """
    outward = ndimage.distance_transform_edt(~icv, sampling=scan.spacing)
    inward = ndimage.distance_transform_edt(icv, sampling=scan.spacing)
    bright = np.clip((scan.data / white - BONE) / DOUBT, -1, 1)
    inside = ndimage.gaussian_filter(bright - (outward - inward) / REACH_MM, SMOOTH_MM / scan.spacing) > 0
    # Opened, so that no marrow or vein hangs on by a thread.
    return ndimage.binary_fill_holes(largest_component(ndimage.binary_opening(inside)))


def brain_within(classes: NDArray, icv: NDArray, scan: Volume) -> NDArray:
    """The brain in the cranium: grey and white matter without dura and veins, and the CSF next to it.

    Parameters
    ----------
    classes : ndarray of shape (X, Y, Z)
        Three classes by intensity, dark to bright (1, 2, 3).
    icv : ndarray of bool, shape (X, Y, Z)
        Intracranial mask.
    """
    return with_rim(peeled((classes >= 2) & icv, scan), icv, scan)


def peeled(tissue: NDArray, scan: Volume) -> NDArray:
    """Tissue without the sheets and strings around it that are thinner than twice `PEEL_MM` (dura, veins, nerves)."""
    core = largest_component(erode_mm(tissue, scan, PEEL_MM))
    return largest_component(tissue & dilate_mm(core, scan, PEEL_MM + float(scan.spacing.max())))


def with_rim(brain: NDArray, icv: NDArray, scan: Volume) -> NDArray:
    """Tissue with a rim of one voxel, `RIM_MM` at least, inside the skull; sulci and fissures are closed.

    Parameters
    ----------
    brain, icv : ndarray of bool, shape (X, Y, Z)
        Grey and white matter; intracranial mask.
    """
    rim = max(RIM_MM, float(scan.spacing.max()))
    return ndimage.binary_fill_holes(close_mm(dilate_mm(brain, scan, rim), scan, CLOSE_MM) & icv)
