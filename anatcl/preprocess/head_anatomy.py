"""Where the parts of a head lie around a brain: intracranial space, skull, scalp, face, neck.

Landmarks are written in ICBM152 millimetres and mapped to any brain by the two bounding boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# Bounding box (mm, RAS) of the ICBM152 2009a symmetric brain, in which the landmarks below are written.
ICBM_BOX = np.array([[-71.0, 71.0], [-106.0, 73.0], [-72.0, 81.0]])

LABELS = {
    "air": 0, "csf": 1, "brain": 2, "bone": 3, "marrow": 4, "muscle": 5, "fat": 6, "skin": 7, "eye": 8, "cavity": 9,
    "cord": 10,
}  # fmt: skip

# Solid parts of the outer surface: centre and radii in ICBM mm; mirrored to the left when x is not 0.
FACE_SOLIDS = (
    ((0, 29, -72), (64, 56, 86)),  # face and jaw
    ((0, 86, -56), (14, 24, 22)),  # nose
    ((0, 64, -124), (28, 20, 18)),  # chin
    ((80, -24, -38), (8, 17, 30)),  # ears
)
# Parts inside the head, outside the skull cavity, painted in this order.
INNER_PARTS = (
    ("fat", (33, 54, -37), (19, 20, 18)),  # orbits
    ("fat", (52, 40, -72), (12, 22, 26)),  # cheeks
    ("eye", (33, 59, -37), (12, 12, 12)),
    ("bone", (47, -22, -45), (24, 15, 13)),  # petrous bone and mastoid
    ("marrow", (0, 2, -52), (10, 8, 15)),  # clivus
    ("cavity", (0, 24, -40), (12, 12, 9)),  # sphenoid sinus
    ("cavity", (0, 50, -42), (11, 24, 15)),  # ethmoid cells
    ("cavity", (0, 58, -58), (12, 26, 17)),  # nasal cavity
    ("cavity", (29, 47, -64), (13, 16, 17)),  # maxillary sinuses
    ("bone", (0, 44, -86), (30, 32, 5)),  # palate and teeth
    ("cavity", (0, 14, -92), (9, 8, 34)),  # pharynx
    ("cavity", (0, 16, -150), (9, 9, 40)),  # trachea
    ("bone", (44, 16, -96), (6, 14, 30)),  # jaw
    ("marrow", (44, 16, -96), (3, 10, 25)),
)


@dataclass(frozen=True)
class HeadParameters:
    """Sizes (mm) and intensities (fractions of white matter) of the head around a brain.

    The defaults give an intracranial volume of 1.10 times the brain mask, as in 64 adults of IXI segmented by DLMUSE.
    """

    csf_rim_mm: float = 1.4
    vertex_rim_mm: float = 1.4  # added to the rim towards the vertex, where adults have most cortical CSF
    closing_mm: float = 7.0
    skull_mm: float = 6.5
    scalp_mm: float = 7.0
    neck_mm: float = 70.0  # below the lowest point of the brain
    margin_mm: float = 8.0  # air around the head
    face: bool = True
    neck: bool = True
    blur_mm: float = 1.2  # standard deviation of the smoothing of everything outside the brain
    intensity: dict[str, float] = field(
        default_factory=lambda: {
            "air": 0.01,
            "csf": 0.25,
            "bone": 0.12,
            "marrow": 0.45,
            "muscle": 0.52,
            "fat": 0.95,
            "skin": 0.55,
            "eye": 0.22,
            "cavity": 0.04,
            "cord": 0.80,
        }
    )


@dataclass(frozen=True)
class Frame:
    """Coordinates of a grid's axes in ICBM millimetres: `x`, `y`, `z` broadcast to the grid."""

    x: Array
    y: Array
    z: Array

    @classmethod
    def around(cls, brain_mask: Mask) -> Frame:
        """Map the bounding box of `brain_mask` (RAS axes) on the box of the ICBM brain."""
        axes = []
        for axis, (low, high) in enumerate(ICBM_BOX):
            others = tuple(k for k in range(3) if k != axis)
            inside = np.flatnonzero(brain_mask.any(axis=others))
            scale = (high - low) / (inside[-1] - inside[0] + 1)
            shape = [1, 1, 1]
            shape[axis] = brain_mask.shape[axis]
            index = np.arange(brain_mask.shape[axis], dtype=np.float32).reshape(shape)
            axes.append((low + scale * (index - inside[0] + 0.5)).astype(np.float32))
        return cls(*axes)

    def ellipsoid(self, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
        """Signed distance (mm, roughly; negative inside) to an ellipsoid and, if off the middle, its mirror image."""
        x = abs(self.x) if centre[0] else self.x
        square = sum(((a - c) / r) ** 2 for a, c, r in zip((x, self.y, self.z), centre, radii, strict=True))
        return (np.sqrt(square) - 1) * min(radii)


def intracranial_mask(brain_mask: Mask, spacing: NDArray[np.floating], parameters: HeadParameters) -> Mask:
    """Close the brain's folds and add the CSF under the skull (thicker towards the vertex).

    Parameters
    ----------
    brain_mask : ndarray of shape (X, Y, Z), bool
        On a RAS grid, with room around the brain.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    parameters : HeadParameters
        Its `closing_mm`, `csf_rim_mm` and `vertex_rim_mm` are used.
    """
    frame = Frame.around(brain_mask)
    away = ndimage.distance_transform_edt(~brain_mask, sampling=spacing)
    depth = ndimage.distance_transform_edt(away <= parameters.closing_mm, sampling=spacing)
    # Half a voxel lies between the centre of a border voxel and the border.
    closed = (depth > parameters.closing_mm + 0.5 * spacing.min()) | brain_mask
    away = ndimage.distance_transform_edt(~closed, sampling=spacing) - 0.5 * spacing.min()
    low, high = ICBM_BOX[2]
    rim = parameters.csf_rim_mm + parameters.vertex_rim_mm * np.clip((frame.z - low - 40) / (high - low - 40), 0, 1)
    return ((away < rim) & (frame.z > low)) | brain_mask


def _outer_distance(away: Array, frame: Frame, parameters: HeadParameters) -> Array:
    """Signed distance (mm, roughly) to the head's outer surface: cranium, face and neck smoothly joined."""
    softness = 5.0
    surfaces = [away - (parameters.skull_mm + parameters.scalp_mm)]
    if parameters.face:
        surfaces += [frame.ellipsoid(*solid) for solid in FACE_SOLIDS]
    if parameters.neck:
        # The neck leans backwards as it goes up, and widens into the shoulders.
        y = frame.y + 32 + 0.15 * (frame.z + 100)
        wide = 1 + 0.004 * np.clip(-105 - frame.z, 0, None)
        tube = (np.sqrt((frame.x / (57 * wide)) ** 2 + (y / (58 * wide)) ** 2) - 1) * 57
        surfaces.append(np.maximum(tube, frame.z + 35))
    total = sum(np.exp(-np.clip(s, -60, 60) / softness) for s in surfaces)
    return (-softness * np.log(total)).astype(np.float32)


def paint(
    icv: Mask, brain_mask: Mask, spacing: NDArray[np.floating], frame: Frame, parameters: HeadParameters
) -> NDArray[np.uint8]:
    """Label every voxel; later parts lie over earlier ones, the content of the skull over all."""
    away = ndimage.distance_transform_edt(~icv, sampling=spacing).astype(np.float32) - 0.5 * spacing.min()
    outer = _outer_distance(away, frame, parameters)
    labels = np.zeros(icv.shape, dtype=np.uint8)
    labels[outer < 0] = LABELS["skin"]
    labels[outer < -1.5] = LABELS["fat"]
    labels[outer < -max(parameters.scalp_mm, 3)] = LABELS["muscle"]
    if parameters.face:
        head = outer < -2
        for name, centre, radii in INNER_PARTS:
            labels[head & (frame.ellipsoid(centre, radii) < 0)] = LABELS[name]
    if parameters.neck:
        _paint_spine(labels, outer < -4, frame)
    _paint_skull(labels, away, frame, parameters)
    labels[icv] = LABELS["csf"]
    labels[brain_mask] = LABELS["brain"]
    return labels


def _paint_skull(labels: NDArray[np.uint8], away: Array, frame: Frame, parameters: HeadParameters) -> None:
    """Two dark tables with marrow between them over the vault; thin bone at the base."""
    vault = frame.z > -25
    labels[(away < parameters.skull_mm) & vault] = LABELS["bone"]
    labels[(away < 0.6 * parameters.skull_mm) & ~vault] = LABELS["bone"]
    middle = (away > 0.4 * parameters.skull_mm) & (away < 0.65 * parameters.skull_mm)
    labels[middle & (frame.z > 0)] = LABELS["marrow"]


def _paint_spine(labels: NDArray[np.uint8], inside: Mask, frame: Frame) -> None:
    """Vertebrae with discs, and the cord in its canal, below the foramen magnum."""
    below = inside & (frame.z < ICBM_BOX[2, 0] + 4)
    y = frame.y + 44
    body = np.hypot(frame.x / 14, (y - 21) / 11)
    disc = np.abs((frame.z + 80) % 18 - 9) < 2.5
    labels[below & (body < 1.15)] = LABELS["bone"]
    labels[below & (body < 0.95) & ~disc] = LABELS["marrow"]
    labels[below & (np.hypot(frame.x / 20, (y + 4) / 14) < 1)] = LABELS["bone"]
    labels[below & (np.hypot(frame.x / 10, y / 9) < 1)] = LABELS["csf"]
    labels[below & (np.hypot(frame.x / 6.5, y / 5.5) < 1)] = LABELS["cord"]
