"""Small pictures of volumes: axes turned to RAS+, slices spread over a volume, files of few colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume

BRIGHTEST = 1.5  # of the brain's own brightness is drawn white
COLOURS = 128  # of the palette


def save_small(figure: Any, path: Path) -> None:
    """Write a figure as a PNG with a palette: a third of the bytes, and no version or date in the file."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    # By coverage, so that thin outlines keep their colours among many greys.
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def brightest(brain: NDArray) -> float:
    """What is drawn white, by brightnesses of the brain: the fat of a head may be several times as bright."""
    level = float(np.percentile(brain, 95)) if brain.size else 0.0
    return BRIGHTEST * level if level > 0 else 1.0


def canonical(volume: Volume) -> Volume:
    """The volume with its axes flipped and swapped to RAS+; no interpolation."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.data.astype(np.float32), volume.affine))
    return Volume(np.asanyarray(image.dataobj), image.affine)


def spread(volume: Volume, count: int) -> list[int]:
    """Indices of `count` axial slices spread over the non-zero part."""
    low, high = _extent(volume, 2)
    return [int(v) for v in np.linspace(low + 0.12 * (high - low), high - 0.08 * (high - low), count)]


def cuts(volume: Volume, axial: int) -> list[tuple[int, int]]:
    """Slices of a picture, as (axis, index): `axial` ones, a coronal and a sagittal one beside the midline."""
    found = [(2, index) for index in spread(volume, axial)]
    for axis, share in ((1, 0.5), (0, 0.38)):
        low, high = _extent(volume, axis)
        found.append((axis, round(low + share * (high - low))))
    return found


def _extent(volume: Volume, axis: int) -> tuple[int, int]:
    """First and last index of the non-zero part along an axis; the whole axis where all is zero."""
    others = tuple(other for other in range(3) if other != axis)
    filled = np.flatnonzero((volume.data > 0).any(axis=others))
    return (int(filled[0]), int(filled[-1])) if filled.size else (0, volume.data.shape[axis] - 1)
