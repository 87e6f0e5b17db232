"""What a scanner does to a grey-matter map and to the measures of the same scan: contrast and errors of segmentation.

Gain and blur act on all voxels alike, and a network need only ignore a scale. Scanners differ otherwise, too: their
contrast decides which mixed voxels count as grey, deep grey matter is partly taken for white, and a segmentation errs
in the same places in all scans of a scanner, and elsewhere in each scan. Map and measures come from one segmentation,
so both hold the same errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]

CONTRAST_SD = 0.08  # of the logarithm of the exponent that a voxel's share of grey matter is raised to
DEEP_LOSS = (0.0, 0.25)  # share of deep grey matter that is taken for white, least and most
PLACE_SD = 0.06  # of the logarithm of the error that all scans of a scanner share
PLACE_MM = 12.0  # its smoothness, SD of a Gaussian
SCAN_SD = (0.02, 0.06)  # of the error of one scan, best and worst scanner
SCAN_MM = 8.0
THICKNESS_SHARE = 0.5  # power of the error in volume with which thickness errs


@dataclass(frozen=True)
class Scanner:
    """The effects of one scanner.

    Attributes
    ----------
    contrast : float
        Exponent of a voxel's share of grey matter; below 1 more of the mixed voxels is called grey.
    deep : float
        Factor of subcortical grey matter.
    place : ndarray of shape (X, Y, Z)
        Factor of grey matter that all scans share.
    scan_sd : float
        SD of the logarithm of the factor of one scan.
    voxel_mm : float
        Voxel size of the maps.
    """

    contrast: float
    deep: float
    place: Array
    scan_sd: float
    voxel_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int, int], voxel_mm: float) -> Scanner:
        """Draw a scanner for maps of a shape."""
        return cls(
            contrast=float(np.exp(rng.normal(0, CONTRAST_SD))),
            deep=1 - float(rng.uniform(*DEEP_LOSS)),
            place=np.exp(PLACE_SD * smooth(rng, shape, PLACE_MM / voxel_mm)),
            scan_sd=float(rng.uniform(*SCAN_SD)),
            voxel_mm=voxel_mm,
        )

    def factor(self, rng: np.random.Generator, share: Array) -> Array:
        """Factor of the grey matter of each voxel in one scan.

        Parameters
        ----------
        rng : Generator
            Of the scan.
        share : ndarray of shape (X, Y, Z)
            True share of grey matter of each voxel, 0 to 1.

        Returns
        -------
        ndarray of shape (X, Y, Z)
        """
        seen = np.clip(share, 1e-3, 1.0) ** (self.contrast - 1)
        error = np.exp(self.scan_sd * smooth(rng, share.shape, SCAN_MM / self.voxel_mm))
        return np.asarray(seen * self.place * error)


def smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Smooth noise of unit variance, `sigma` in voxels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return np.asarray(field / field.std())
