"""Two linear voxel baselines, fitted on the encoders' training participants: a network should beat them.

``voxel-pca``: principal components of the voxels. ``voxel-ridge``: regional measures predicted from the voxels by ridge
regression. Both see block means of the packed volumes (at most `MOST` per volume) and the pretraining participants of
one fold; both give features of everybody, in the form of an encoder's embeddings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import linalg

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json
from anatcl.base.words import plural
from anatcl.evaluate.data.changed import changed_parts
from anatcl.evaluate.data.features import select_columns, write_embeddings
from anatcl.evaluate.probes.linear import Standardise
from anatcl.pretrain.arrays import PackedArrays, open_arrays
from anatcl.spec.names import REGIONAL, VOXEL_PCA

MOST = 2**17  # block means of a volume
COMPONENTS = 100
# Ridge penalties as shares of the mean eigenvalue of the voxels' Gram matrix.
PENALTIES = tuple(10.0 ** (k / 2) for k in range(-6, 7))
FEWEST = 2


def run_rival(
    arrays: str | Path,
    folds: str | Path,
    fold: int,
    kind: str,
    out: str | Path,
    out_model: str | Path,
    measures: str | Path | None = None,
    perturb: str = "",
) -> None:
    """Fit one voxel baseline without the participants of one fold; write its embeddings and training participants.

    With `perturb` the baseline is fitted on clean scans, and the fold's participants are embedded from perturbed ones.

    Parameters
    ----------
    arrays : path
        Folder of packed volumes.
    folds : path
        Folds table.
    fold : int
        The fold whose people it must not see.
    kind : {"voxel-pca", "voxel-ridge"}
        Which baseline.
    out, out_model : path
        ``embeddings.npz`` and ``model.json``.
    measures : path, optional
        ``measures.tsv``, for ``voxel-ridge``.
    perturb : str
        A word of `anatcl.spec.names.PERTURBATIONS`, or none.

    Raises
    ------
    InputError
        Too few participants, or no measures to learn from.
    """
    packed = open_arrays(arrays)
    table = read_tsv(folds)
    known = table[table["fold"].astype(int) != fold]["participant_id"].astype(str)
    people = packed.rows["participant_id"].astype(str)
    train = people.isin(set(known)).to_numpy()
    if people[train].nunique() < FEWEST:
        count = plural(people[train].nunique(), "participant")
        reason = f"{count} to fit on without fold {fold}, {FEWEST} needed."
        raise InputError(reason, folds, "Use fewer folds, or remove the baseline from evaluate: rivals.")
    rows = np.arange(len(train))
    changed = np.flatnonzero(~train) if perturb else rows[:0]
    x, known = voxels(packed, train, perturb, changed), np.r_[train, np.zeros(len(changed), bool)]
    if kind == VOXEL_PCA:
        found = components(x, known)
    else:
        y = targets(measures, packed.rows)
        found = measures_of_voxels(x, known, np.vstack([y, y[changed]]))
    if perturb:
        rows, found = changed, found[len(train) :]
    write_embeddings(out, packed.rows["scan"].iloc[rows], people.iloc[rows], found.astype(np.float32))
    write_json(out_model, {"method": kind, "fold": fold, "train_participants": sorted(set(people[train]))})


def voxels(packed: PackedArrays, train: np.ndarray, perturb: str = "", changed: np.ndarray | None = None) -> np.ndarray:
    """Block means of all volumes, standardised by the training ones, shape (N, m), without those that do not vary.

    Below them stand those of the rows `changed`, as `perturb` changes them.
    """
    step = 1
    while np.prod([-(-s // step) for s in packed.shape]) > MOST:
        step += 1
    x = np.stack([block_means(packed.true(i), step).ravel() for i in range(len(packed.rows))])
    fitted = x[train]
    if perturb and changed is not None:
        parts = changed_parts(packed, perturb, changed)
        more = [block_means(part.true(i), step).ravel() for part in parts for i in range(len(part.rows))]
        x = np.vstack([x, *more]) if more else x
    spread = fitted.std(0)
    alive = spread > 1e-6 * max(float(spread.max()), 1e-30)
    return (x[:, alive] - fitted[:, alive].mean(0)) / spread[alive]


def block_means(volume: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of `step` voxels a side, the last of an axis perhaps smaller."""
    out: np.ndarray = np.asarray(volume, np.float32)
    for axis, size in enumerate(volume.shape):
        edges = np.arange(0, size, step)
        counts = np.diff(np.r_[edges, size]).astype(np.float32)
        out = np.add.reduceat(out, edges, axis=axis) / counts.reshape([-1 if a == axis else 1 for a in range(3)])
    return out


def components(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Scores on the training volumes' principal components, shape (N, k); the sign makes the largest score positive."""
    gram = x[train] @ x[train].T
    values, vectors = linalg.eigh(gram.astype(float))
    order = np.argsort(values)[::-1][: min(COMPONENTS, int(train.sum()) - 1)]
    order = order[values[order] > 1e-9 * values[-1]]
    scores = (x @ x[train].T).astype(float) @ vectors[:, order] / np.sqrt(values[order])
    top = np.abs(scores[train]).argmax(0)
    return scores * np.sign(scores[train][top, np.arange(len(order))])


def targets(measures: str | Path | None, rows: pd.DataFrame) -> np.ndarray:
    """Regional measures of each packed volume, shape (N, t); NaN where a scan has none."""
    if measures is None:
        raise InputError("voxel-ridge needs regional measures, and none were given.", remedy="Give --measures.")
    table = read_tsv(measures)
    columns = select_columns(table, REGIONAL, measures)
    return table.set_index("scan")[columns].reindex(rows["scan"]).to_numpy(float)


def measures_of_voxels(x: np.ndarray, train: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Regional measures predicted from voxels by ridge regression, shape (N, t).

    Training participants get the prediction of the model without them (in closed form), so that a probe sees the same
    kind of features in training and test. One penalty, chosen by these errors, serves all measures.
    """
    rows = np.flatnonzero(train & np.isfinite(y).any(1))
    if len(rows) < FEWEST:
        raise InputError(f"{len(rows)} training scans have measures, {FEWEST} needed.", remedy="Measure more scans.")
    scaler = Standardise().fit(y[rows])
    target = scaler.transform(y[rows])
    centre = x[rows].mean(0)
    a = x[rows] - centre
    values, vectors = linalg.eigh((a @ a.T).astype(float))
    values = np.maximum(values, 0.0)
    scale = max(float(values.mean()), 1e-12)  # volumes that are all alike say nothing
    turned = vectors.T @ target
    left = {p: _without(values, vectors, turned, target, p * scale) for p in PENALTIES}
    best = min(PENALTIES, key=lambda p: float(((left[p] - target) ** 2).sum()))
    dual = vectors @ (turned / (values + best * scale)[:, None])
    found = ((x - centre) @ a.T).astype(float) @ dual
    found[rows] = left[best]
    return found


def _without(values: np.ndarray, vectors: np.ndarray, turned: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Leave-one-out predictions of kernel ridge regression with an intercept, shape (n, t)."""
    shrink = values / (values + penalty)
    fitted = vectors @ (shrink[:, None] * turned)
    leverage = (vectors**2 * shrink).sum(1) + 1 / len(values)
    return y - (y - fitted) / np.maximum(1 - leverage, 1e-6)[:, None]
