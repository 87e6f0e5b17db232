"""Labels of fsaverage mapped to a participant's vertices over the registered sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

CANDIDATES = 3  # nearest vertices of the template whose triangles are tried


def unit(points: NDArray) -> NDArray:
    """Points moved to the unit sphere."""
    moved: NDArray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return moved


def carry_labels(labels: NDArray, sphere: NDArray, faces: NDArray, at: NDArray) -> NDArray:
    """The label with the largest share of the triangle that each point lies in.

    Parameters
    ----------
    labels : ndarray of int, shape (T,)
        Of the template's vertices.
    sphere, faces : ndarray of shape (T, 3) and (F, 3)
        The template's sphere, any radius.
    at : ndarray of shape (V, 3)
        The person's vertices on the same sphere.

    Returns
    -------
    ndarray of int, shape (V,)
    """
    corners, weights = barycentric(sphere, faces, at)
    found = labels[corners]
    shares = np.stack([(weights * (found == found[:, [k]])).sum(axis=1) for k in range(3)], axis=1)
    best: NDArray = found[np.arange(len(found)), shares.argmax(axis=1)]
    return best


def carry_values(values: NDArray, sphere: NDArray, faces: NDArray, at: NDArray) -> NDArray:
    """Values of the template's vertices, linear inside each triangle, shape (V,)."""
    corners, weights = barycentric(sphere, faces, at)
    found: NDArray = (values[corners] * weights).sum(axis=1)
    return found


def barycentric(sphere: NDArray, faces: NDArray, at: NDArray) -> tuple[NDArray, NDArray]:
    """The triangle that each point lies in, and its weights.

    Returns
    -------
    corners : ndarray of int, shape (V, 3)
    weights : ndarray of shape (V, 3)
        Not negative; their sum is one.
    """
    sphere, at = unit(sphere), unit(at)
    around = _faces_around(faces, len(sphere))
    _, near = cKDTree(sphere).query(at, k=CANDIDATES)
    tried = around[near].reshape(len(at), -1)
    best = np.full(len(at), -np.inf)
    corners = np.zeros((len(at), 3), int)
    weights = np.zeros((len(at), 3))
    for face in tried.T:
        here = _weights(sphere[faces[face]], at)
        inside = np.where(face >= 0, here.min(axis=1), -np.inf)
        better = inside > best
        best[better] = inside[better]
        corners[better], weights[better] = faces[face[better]], here[better]
    weights = np.clip(weights, 0, None)
    return corners, weights / weights.sum(axis=1, keepdims=True)


def _weights(triangles: NDArray, points: NDArray) -> NDArray:
    """Weights of the corners at which the ray from the centre to a point meets the triangle's plane."""
    a, b, c = (triangles[:, k] for k in range(3))
    volumes = np.stack([np.einsum("ij,ij->i", points, np.cross(p, q)) for p, q in ((b, c), (c, a), (a, b))], axis=1)
    total = volumes.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: NDArray = np.where(np.abs(total) > 1e-15, volumes / total, -np.inf)
    return shares


def _faces_around(faces: NDArray, size: int) -> NDArray:
    """Triangles around each vertex, filled up with -1, shape (size, most)."""
    corner = faces.ravel()
    order = np.argsort(corner, kind="stable")
    count = np.bincount(corner, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    table = np.full((size, count.max()), -1)
    place = np.arange(len(corner)) - np.repeat(start, count)
    table[corner[order], place] = order // 3
    return table
