"""Frozen embeddings of packed volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.base.provenance import recorded
from anatcl.evaluate.data.changed import changed_parts, rows_of_fold
from anatcl.evaluate.data.features import write_embeddings
from anatcl.models import ContrastiveModel, build_model
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.device import applied, for_embedding, seed_everything


def embed(
    arrays: str | Path,
    encoder: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    threads: int = 1,
    batch: int = 0,
    precision: str = "auto",
    reinitialise: tuple[int, ...] = (),
    perturb: str = "",
    folds: str | Path | None = None,
    fold: int = -1,
) -> None:
    """Run one encoder over all packed volumes and write ``embeddings.npz`` (and ``run.json`` beside it).

    Precision and batch are those of every command that embeds (`anatcl.pretrain.device.for_embedding`), unless given;
    a `batch` of 0 is what suits the device. `reinitialise` draws new weights from these seeds. With `perturb`, a word
    of `anatcl.spec.names.PERTURBATIONS`, only the participants tested in `fold` of `folds` are embedded, from perturbed
    scans. The file holds
    ``scan`` (N,), ``participant_id`` (N,) and ``embedding`` (N, D) float32, in the order of the volumes: the output of
    the encoder before its head.

    Raises
    ------
    InputError
        The volumes are not of the shape, axes, grid or map that the encoder was trained on, or an embedding is not
        finite.
    """
    packed = open_arrays(arrays)
    model, description = load_encoder(encoder, packed)
    if reinitialise:
        model = _anew(description, reinitialise)
    where = for_embedding(description["architecture"], device, precision, threads)
    parameters = {"arrays": str(arrays), "encoder": str(encoder), "batch": batch, "device": str(where)}
    parameters |= {"perturb": perturb, "fold": fold} if perturb else {}
    with recorded(Path(out).parent, parameters) as record, applied(where):
        rows = rows_of_fold(packed, folds, fold) if folds is not None else np.arange(len(packed.rows))
        if perturb:
            parts = changed_parts(packed, perturb, rows)
            made = [embed_arrays(model, part, device=where, batch_size=batch).numpy() for part in parts]
            found = np.concatenate(made)
        else:
            found = embed_arrays(model, packed, rows, device=where, batch_size=batch).numpy()
        record |= {"volumes": len(found), "features": found.shape[1]}
        bad = ~np.isfinite(found).all(1)
        if bad.any():
            raise InputError(f"the embedding of {packed.rows['scan'][rows[bad.argmax()]]} is not finite.", file=encoder)
        write_embeddings(out, packed.rows["scan"].iloc[rows], packed.rows["participant_id"].iloc[rows], found)


def _anew(description: dict[str, Any], seeds: tuple[int, ...]) -> ContrastiveModel:
    """The network of a description with weights drawn from `seeds`."""
    seed_everything(int(np.random.default_rng(seeds).integers(2**31)))
    head, pooling = description.get("head", "projection"), description.get("pooling", "average")
    model = build_model(description["architecture"], head, pooling)
    model.flip = tuple(description.get("flip_axes", ()))
    return model.eval()
