"""What is measured on a closed triangle mesh: areas, volumes between two of them, curvatures, topology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def euler(faces: NDArray) -> int:
    """Euler characteristic V - E + F of the mesh; 2 for a sphere."""
    return len(np.unique(faces)) - len(edges(faces)) + len(faces)


def edges(faces: NDArray) -> NDArray:
    """Every edge once, shape (E, 2)."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def components(faces: NDArray) -> int:
    """Number of separate parts of the mesh."""
    used, compact = np.unique(faces, return_inverse=True)
    count, _ = sparse.csgraph.connected_components(_neighbours(compact.reshape(faces.shape), len(used)))
    return int(count)


def face_areas(vertices: NDArray, faces: NDArray) -> NDArray:
    """Area of each triangle, shape (F,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area: NDArray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area


def vertex_areas(vertices: NDArray, faces: NDArray) -> NDArray:
    """A third of the area of the triangles around each vertex, shape (V,)."""
    return spread(face_areas(vertices, faces), faces, len(vertices))


def spread(values: NDArray, faces: NDArray, size: int) -> NDArray:
    """A value of each triangle shared among its three corners, shape (size,)."""
    return np.bincount(faces.ravel(), np.repeat(values / 3, 3), minlength=size)


def volume(vertices: NDArray, faces: NDArray) -> float:
    """Volume inside the mesh; positive where its normals point outwards."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def vertex_volumes(white: NDArray, pial: NDArray, faces: NDArray) -> NDArray:
    """Grey matter at each vertex: the prisms between two surfaces, each cut into three tetrahedra, shape (V,).

    That is FreeSurfer's way since version 6 (``mris_anatomical_stats -th3``); area times thickness is too small on
    gyri and too large in sulci.
    """
    a, b, c = (white[faces[:, k]] for k in range(3))
    x, y, z = (pial[faces[:, k]] for k in range(3))
    prisms = _tetrahedron(a, b, c, x) + _tetrahedron(b, c, x, y) + _tetrahedron(c, x, y, z)
    return spread(prisms, faces, len(white))


def _tetrahedron(a: NDArray, b: NDArray, c: NDArray, d: NDArray) -> NDArray:
    return np.abs(np.einsum("ij,ij->i", a - d, np.cross(b - d, c - d))) / 6


def normals(vertices: NDArray, faces: NDArray) -> NDArray:
    """Unit normals of the vertices, weighted by the triangles' areas, shape (V, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    summed = np.stack([spread(across[:, k], faces, len(vertices)) for k in range(3)], axis=1)
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    unit: NDArray = summed / np.maximum(length, 1e-12)
    return unit


def curvatures(vertices: NDArray, faces: NDArray) -> tuple[NDArray, NDArray]:
    """Principal curvatures of each vertex, in 1/mm, each of shape (V,), the one of larger magnitude first.

    A quadratic form is fitted to the heights of the neighbours and of their neighbours over the tangent plane, as
    FreeSurfer does (``MRIScomputeSecondFundamentalForm`` over two rings). Positive in sulci, negative on gyri.
    """
    normal = normals(vertices, faces)
    first, second = _tangents(normal)
    near = _neighbours(faces, len(vertices))
    rings = (near + near @ near).tocoo()
    keep = rings.row != rings.col
    at, other = rings.row[keep], rings.col[keep]
    step = vertices[other] - vertices[at]
    u, v, height = (np.einsum("ij,ij->i", step, axis[at]) for axis in (first, second, normal))
    a, b, c = _quadratic(at, u, v, height, len(vertices))
    mean, spread_ = a + c, np.sqrt((a - c) ** 2 + b**2)
    high, low = mean + spread_, mean - spread_
    swap = np.abs(low) > np.abs(high)
    return np.where(swap, low, high), np.where(swap, high, low)


def _tangents(normal: NDArray) -> tuple[NDArray, NDArray]:
    """Two unit vectors across each normal."""
    least = np.eye(3)[np.abs(normal).argmin(axis=1)]
    first = np.cross(normal, least)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    return first, np.cross(normal, first)


def _quadratic(at: NDArray, u: NDArray, v: NDArray, height: NDArray, size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Least squares of ``height = a u^2 + b u v + c v^2`` over the neighbours of each vertex."""
    terms = (u * u, u * v, v * v)
    left = np.empty((size, 3, 3))
    right = np.empty((size, 3))
    for i, one in enumerate(terms):
        right[:, i] = np.bincount(at, one * height, minlength=size)
        for j, two in enumerate(terms):
            left[:, i, j] = np.bincount(at, one * two, minlength=size)
    scale = np.maximum(np.trace(left, axis1=1, axis2=2), 1e-12)
    left += (1e-9 * scale)[:, None, None] * np.eye(3)
    a, b, c = np.linalg.solve(left, right[..., None])[..., 0].T
    return a, b, c


def _neighbours(faces: NDArray, size: int) -> sparse.csr_array:
    """Which vertices share an edge, symmetric, ones, shape (V, V)."""
    pairs = edges(faces)
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    return sparse.csr_array((np.ones(len(ends), np.float32), (ends[:, 0], ends[:, 1])), shape=(size, size))
