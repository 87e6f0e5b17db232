"""Packed volumes of some people, changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from anatcl.base.files import read_tsv
from anatcl.evaluate.data.perturb import perturbed
from anatcl.pretrain.arrays import PackedArrays

CHUNK = 64  # volumes that are changed and held at a time


def changed_parts(packed: PackedArrays, kind: str, rows: np.ndarray) -> Iterator[PackedArrays]:
    """Some packed volumes as they are changed, a chunk at a time, each as packed arrays of its own."""
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        names = packed.rows["scan"].astype(str).to_numpy()[part]
        made = np.stack([perturbed(packed.true(int(i)), kind, name) for i, name in zip(part, names, strict=True)])
        meta = {**packed.meta, "scale": 1.0}
        yield dataclasses.replace(packed, volumes=made, rows=packed.rows.iloc[part].reset_index(drop=True), meta=meta)


def rows_of_fold(packed: PackedArrays, folds: str | Path, fold: int) -> np.ndarray:
    """Rows of the packed people who are tested in a fold; who is in no fold was seen by no encoder and counts."""
    table = read_tsv(folds)
    others = set(table[table["fold"].astype(int) != fold]["participant_id"].astype(str))
    return np.flatnonzero(~packed.rows["participant_id"].astype(str).isin(others).to_numpy())
