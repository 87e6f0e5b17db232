"""Slices of a map over an average brain, as small PNG pictures."""

from __future__ import annotations

import base64
import io

import numpy as np

# Black over red and orange to pale yellow: the order is seen without colour, on paper too.
HEAT = np.array([(0, 0, 0), (87, 16, 51), (178, 42, 43), (235, 110, 36), (252, 190, 76), (253, 245, 190)], dtype=float)
TALLEST = 150
SLICES = 6
# Percentile of the map inside the brain that takes the brightest colour: a single peak would darken all else.
BRIGHTEST = 99.5
# Where a map is weaker than this share of its maximum, the brain below it is seen alone.
FAINT = 0.15


def heat(values: np.ndarray) -> np.ndarray:
    """Colours, (..., 3) from 0 to 255, of values from 0 to 1."""
    stops = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(values, stops, HEAT[:, channel]) for channel in range(3)], axis=-1)


def mosaic(average: np.ndarray, overlay: np.ndarray) -> tuple[str, int, int]:
    """A row of axial slices as a PNG data URI, right side of the brain on the right; the sides are marked.

    Parameters
    ----------
    average, overlay : ndarray of shape (X, Y, Z)
        RAS axes; the overlay is not negative.

    Returns
    -------
    uri : str
    width, height : int
    """
    from PIL import Image, ImageDraw

    filled = np.flatnonzero((average > 0.1 * average.max()).any(axis=(0, 1)))
    levels = np.linspace(filled[0], filled[-1], SLICES + 2)[1:-1].round().astype(int)
    top = brightest(average, overlay)
    tiles = [_tile(average[:, :, z] / average.max(), overlay[:, :, z] / top) for z in levels]
    picture = Image.fromarray(np.concatenate(tiles, axis=1).round().astype(np.uint8))
    for text, x in (("L", 4), ("R", tiles[0].shape[1] - 12)):
        ImageDraw.Draw(picture).text((x, TALLEST - 14), text, fill="white")
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii"), *picture.size


def brightest(average: np.ndarray, overlay: np.ndarray) -> float:
    """The value that takes the brightest colour, in the unit of the overlay."""
    inside = overlay[average > 0.1 * average.max()]
    return float(np.percentile(inside, BRIGHTEST)) or float(overlay.max()) or 1.0


def _tile(brain: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """One slice, (rows, columns, 3), anterior up, enlarged to `TALLEST` rows."""
    brain, strength = _enlarge(brain), np.clip(_enlarge(strength), 0, 1)
    grey = np.repeat(200 * np.clip(brain, 0, 1)[..., None], 3, axis=-1)
    share = np.clip((strength - FAINT) / (0.5 - FAINT), 0, 1)[..., None]
    return grey * (1 - share) + heat(strength) * share


def _enlarge(plane: np.ndarray) -> np.ndarray:
    from PIL import Image

    upright = Image.fromarray(np.ascontiguousarray(plane.T[::-1], dtype=np.float32))
    size = (round(TALLEST * upright.width / upright.height), TALLEST)
    return np.asarray(upright.resize(size, Image.Resampling.BICUBIC))
