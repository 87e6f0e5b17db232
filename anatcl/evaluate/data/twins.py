"""The same scan under two names, found by its voxels."""

from __future__ import annotations

import numpy as np

THUMBNAIL = 8
SUSPECT, SAME = 0.999, 0.99995


def duplicates(volumes: np.ndarray, people: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of volumes of different participants that are the same scan.

    Two volumes are the same when their voxels correlate above 0.99995, which survives another storage type and scale.
    Candidates are found by block means first.

    Parameters
    ----------
    volumes : ndarray of shape (N, X, Y, Z)
        Packed volumes, possibly memory-mapped.
    people : ndarray of shape (N,)
        Participant of each volume.

    Returns
    -------
    list of (int, int)
        Row numbers, smaller first.
    """
    thumbnails = np.stack([_standard(_thumbnail(v)) for v in volumes])
    found = []
    for i in range(len(thumbnails) - 1):
        alike = thumbnails[i + 1 :] @ thumbnails[i]
        for j in i + 1 + np.flatnonzero(alike > SUSPECT):
            if people[i] != people[j] and _standard(volumes[i]) @ _standard(volumes[j]) > SAME:
                found.append((i, int(j)))
    return found


def _standard(volume: np.ndarray) -> np.ndarray:
    """Flat, zero mean, unit norm: the product of two is their correlation."""
    flat = np.asarray(volume, np.float32).ravel()
    flat = flat - flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-30)


def _thumbnail(volume: np.ndarray) -> np.ndarray:
    """Means of blocks, at most 8 per axis."""
    out: np.ndarray = np.asarray(volume, np.float32)
    for axis, size in enumerate(out.shape):
        edges = np.unique(np.linspace(0, size, THUMBNAIL + 1).astype(int))[:-1]
        counts = np.diff(np.r_[edges, size])
        shape = [-1 if a == axis else 1 for a in range(3)]
        out = np.add.reduceat(out, edges, axis=axis) / counts.reshape(shape)
    return out
