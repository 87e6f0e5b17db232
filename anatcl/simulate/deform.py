"""Where each voxel of a scan comes from in the template: size, shape and pose of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.simulate.anatomy import HeadFields

Array = NDArray[Any]

NODE_MM = 8.0  # spacing of the random field and of the splines that carry it to the voxels
CENTRE = np.array([0.0, -17.0, 5.0])  # middle of the ICBM brain, mm
REACH = np.array([120.0, 150.0, 130.0])  # half size of the random field, mm
SCALES = ((30.0, 2.6), (15.0, 0.9))  # (smoothness, standard deviation), mm


@dataclass(frozen=True)
class Shape:
    """A participant's shape: from head coordinates (mm, origin in the middle of the brain) to the template.

    Attributes
    ----------
    size : ndarray of shape (3,)
        Linear size relative to the template.
    field : ndarray of shape (3, X, Y, Z)
        Random displacement in template mm on nodes `NODE_MM` apart.
    skull, scalp : float
        Thickness relative to the template's.
    """

    size: NDArray[np.float64]
    field: Array
    skull: float
    scalp: float

    def to_template(self, points: NDArray[np.floating], head: HeadFields) -> NDArray[np.float64]:
        """Map points of shape (3, ...) from head coordinates to template mm."""
        flat = points.reshape(3, -1)
        nodes = (flat + REACH[:, None]) / NODE_MM
        moved = np.stack([ndimage.map_coordinates(f, nodes, order=1, mode="nearest") for f in self.field])
        out = flat / self.size[:, None] + CENTRE[:, None] + moved
        return (out - self._shell(out, head)).reshape(points.shape)

    def _shell(self, points: NDArray[np.floating], head: HeadFields) -> NDArray[np.float64]:
        """How far to step towards the brain so that skull and scalp get their own thickness."""
        index = _index(head.affine, points)
        away = ndimage.map_coordinates(head.away, index, order=1, mode="nearest")
        normal = np.stack([ndimage.map_coordinates(n, index, order=1, mode="nearest") for n in head.normal])
        skull, scalp = 6.5 * self.skull, 7.0 * self.scalp
        template = np.interp(away, [0, skull, skull + scalp], [0, 6.5, 13.5])
        beyond = np.maximum(away - skull - scalp, 0)
        return normal * (away - template - beyond)


@dataclass(frozen=True)
class Pose:
    """How a head lies in the scanner: ``world = rotation @ head + shift`` (mm)."""

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def to_head(self, world: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points of shape (3, ...) from scanner to head coordinates."""
        return np.einsum("ij,i...->j...", self.rotation, world - self.shift.reshape(3, *[1] * (world.ndim - 1)))


def random_shape(rng: np.random.Generator, size: NDArray[np.floating]) -> Shape:
    """Draw a participant's shape: smooth displacements at two scales, skull and scalp."""
    shape = tuple(np.ceil(2 * REACH / NODE_MM).astype(int) + 1)
    field = np.zeros((3, *shape), dtype=np.float32)
    for smoothness, amplitude in SCALES:
        for axis in range(3):
            noise = ndimage.gaussian_filter(rng.standard_normal(shape), smoothness / NODE_MM, mode="wrap")
            field[axis] += (amplitude / noise.std() * noise).astype(np.float32)
    skull, scalp = np.clip(rng.normal(1, [0.12, 0.2]), 0.65, 1.5)
    return Shape(np.asarray(size, dtype=float), field, float(skull), float(scalp))


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: nodding most, turned a little, off the centre by some millimetres."""
    angles = np.deg2rad(np.clip(rng.normal(0, [4.0, 2.0, 2.5]), -9, 9))
    return Pose(rotation(angles), rng.normal(0, [3.0, 8.0, 10.0]))


def rotation(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation matrix of three angles (radians) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def template_points(
    shape: tuple[int, int, int], affine: NDArray[np.floating], pose: Pose, person: Shape, head: HeadFields
) -> Array:
    """Template coordinates (mm), shape (3, X, Y, Z), of every voxel of a scan.

    They are found on nodes `NODE_MM` apart and interpolated to the voxels by cubic B-splines, which keep straight lines
    straight and the map smooth.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    stride = NODE_MM / spacing
    # One node before and two behind each voxel, as the splines need.
    counts = [int(np.ceil((n - 1) / s)) + 3 for n, s in zip(shape, stride, strict=True)]
    axes = [(np.arange(c) - 1) * s for c, s in zip(counts, stride, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"))
    world = np.einsum("ij,j...->i...", affine[:3, :3], nodes) + affine[:3, 3].reshape(3, 1, 1, 1)
    values = person.to_template(pose.to_head(world), head).astype(np.float32)
    for axis in range(3):
        values = spline(values, axis + 1, shape[axis], stride[axis])
    return values


def spline(values: Array, axis: int, count: int, stride: float) -> Array:
    """Evaluate a cubic B-spline along one axis at `count` voxels; nodes are `stride` voxels apart, one outside."""
    position = np.arange(count) / stride
    first = np.minimum(np.floor(position).astype(int), values.shape[axis] - 4)
    t = (position - first).astype(np.float32)
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    shape = [1] * values.ndim
    shape[axis] = count
    out = 0
    for k, weight in enumerate(weights):
        out = out + np.take(values, first + k, axis=axis) * weight.reshape(shape)
    return np.asarray(out, dtype=np.float32)


def _index(affine: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Voxel indices of points of shape (3, ...); the affine has no rotation."""
    shape = (3, *[1] * (points.ndim - 1))
    return (points - affine[:3, 3].reshape(shape)) / np.diag(affine)[:3].reshape(shape)


def sample(
    volume: NDArray, affine: NDArray[np.floating], points: NDArray[np.floating], order: int = 1
) -> NDArray[np.float32]:
    """Read a template volume at template points of shape (3, ...); zero outside."""
    return ndimage.map_coordinates(volume, _index(affine, points), order=order, output=np.float32, mode="constant")


def jacobian(points: Array, affine: NDArray[np.floating]) -> Array:
    """Volume of each voxel in the template, relative to its volume in the scan; shape (X, Y, Z)."""
    rows = [np.stack(np.gradient(p)) for p in points]
    a, b, c = rows
    determinant = (
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    return np.abs(determinant) / abs(np.linalg.det(affine[:3, :3]))
