"""Changes of a map that leave the anatomy as it is: what a scanner or another resampling could have done to it.

Strengths are fixed, so that tables of different runs can be compared. Sizes count in voxels, and intensities are
relative to the volume's own, so that they mean the same whatever the map.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from anatcl.spec.names import PERTURBATIONS

GAIN = 1.15  # factor of all voxels
BLUR = 1.0  # SD of the Gaussian, voxels
NOISE = 0.1  # SD of white noise as a share of the mean of the positive voxels
COARSER = 4 / 3  # voxel size of the grid between: 2 mm for the maps of 1.5 mm
CONTRAST = 1.25  # power of the intensities
BRIGHT = 99.0  # percentile of the positive voxels that a power leaves as it is


def gain(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All voxels times `GAIN`."""
    return volume * GAIN


def blur(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian of `BLUR` voxels."""
    return np.asarray(ndimage.gaussian_filter(volume, BLUR))


def noise(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise in all voxels; what falls below zero becomes zero, as in a map."""
    scale = NOISE * _positive(volume).mean()
    return np.clip(volume + scale * rng.standard_normal(volume.shape), 0, None)


def resample(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear interpolation to voxels a third larger, and back."""
    small = [max(round(n / COARSER), 2) for n in volume.shape]
    return _onto(_onto(volume, small), volume.shape)


def contrast(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A power of the intensities, by which bright voxels stay and dim ones fall."""
    bright = np.percentile(_positive(volume), BRIGHT)
    return np.asarray(bright * (np.clip(volume, 0, None) / bright) ** CONTRAST)


KINDS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "gain": gain,
    "blur": blur,
    "noise": noise,
    "resample": resample,
    "contrast": contrast,
}
assert tuple(KINDS) == PERTURBATIONS


def perturbed(volume: np.ndarray, kind: str, scan: str) -> np.ndarray:
    """A volume as it is changed.

    Parameters
    ----------
    volume : ndarray of shape (X, Y, Z)
        True values.
    kind : str
        One of `anatcl.spec.names.PERTURBATIONS`.
    scan : str
        Name of the scan: the same noise for the same scan, whatever method looks at it.

    Returns
    -------
    ndarray of shape (X, Y, Z), float32
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), zlib.crc32(scan.encode())])
    return KINDS[kind](np.asarray(volume, np.float32), rng).astype(np.float32)


def _positive(volume: np.ndarray) -> np.ndarray:
    """Voxels above zero; one of value 1 where there is none."""
    found = volume[volume > 0]
    return found if len(found) else np.ones(1, volume.dtype)


def _onto(volume: np.ndarray, shape: tuple[int, ...] | list[int]) -> np.ndarray:
    """The volume on another number of voxels over the same field of view, linear."""
    at = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, volume.shape, strict=True)]
    grid = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(volume, grid, order=1, mode="nearest"))
