"""Small pictures of volumes: axes turned to RAS+, slices spread over a volume, files of few colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anatcl.images import Volume


def save_small(figure: Any, path: Path, colours: int = 64) -> None:
    """Write a figure as a PNG with a palette: a third of the bytes, and no version or date in the file."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)


def canonical(volume: Volume) -> Volume:
    """The volume with its axes flipped and swapped to RAS+; no interpolation."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.data.astype(np.float32), volume.affine))
    return Volume(np.asanyarray(image.dataobj), image.affine)


def spread(volume: Volume, count: int) -> list[int]:
    """Indices of `count` axial slices spread over the non-zero part."""
    filled = np.flatnonzero((volume.data > 0).any(axis=(0, 1)))
    low, high = (filled[0], filled[-1]) if filled.size else (0, volume.data.shape[2] - 1)
    return [int(v) for v in np.linspace(low + 0.12 * (high - low), high - 0.08 * (high - low), count)]
