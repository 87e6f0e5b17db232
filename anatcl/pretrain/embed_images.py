"""Embeddings of single images with a bundle."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.pretrain.bundle import embed_batches, embedding_batch, load_encoder
from anatcl.pretrain.conform import to_input
from anatcl.pretrain.device import Device, for_embedding
from anatcl.spec.layout import EXCLUDED

log = logging.getLogger(__name__)
# A BIDS name: the entities of a raw scan, whatever follows.
NAME = re.compile(
    r"(?P<stem>(?P<sub>sub-[A-Za-z0-9+]+)(?:_(?P<ses>ses-[A-Za-z0-9+]+))?(?:_(?:acq|ce|rec|run|echo|part|chunk)-[A-Za-z0-9+]+)*)"
)
Prepare = Callable[[Path], Path]


def named(image: str | Path) -> dict[str, str]:
    """Scan, participant and session of an image, from its BIDS name; else the name of the file stands for both.

    >>> named("x/sub-01_ses-2_run-1_T1w.nii.gz")["scan"]
    'sub-01/ses-2/anat/sub-01_ses-2_run-1'
    >>> named("head.nii.gz")["participant_id"]
    'head'
    """
    name = re.sub(r"\.(nii(\.gz)?|mgz)$", "", Path(image).name)
    found = NAME.match(re.sub(r"^mwp1", "", name))
    if found is None:
        return {"scan": name, "participant_id": name}
    person, session = found["sub"], found["ses"]
    place = f"{person}/{session}/anat" if session else f"{person}/anat"
    who = {"scan": f"{place}/{found['stem']}", "participant_id": person}
    return who | ({"session_id": session} if session else {})


def embed_images(
    bundle: str | Path,
    images: Sequence[str | Path],
    out: str | Path | None = None,
    device: Device | None = None,
    prepare: Prepare | None = None,
    out_excluded: str | Path | None = None,
) -> pd.DataFrame:
    """Embed images and return (and write) a table that ``evaluate: features`` takes as it is.

    Batches and precision are those of every command that embeds.

    Parameters
    ----------
    bundle : path
        Folder with ``encoder.safetensors`` and ``model.json``.
    images : sequence of path
        Preprocessed maps, or whatever `prepare` turns into them.
    out : path, optional
        Table to write: ``scan``, ``participant_id``, ``image``, ``e000`` ...
    device : Device, optional
    prepare : callable, optional
        Makes the map of one image and returns its path: where the preprocess stage takes part for raw T1w images.
    out_excluded : path, optional
        List of the images that cannot be used, with reasons and remedies.

    Returns
    -------
    DataFrame
        One row per usable image. An unusable one is logged, listed and left out.

    Raises
    ------
    InputError
        When no image can be used.
    """
    model, description = load_encoder(bundle)
    table, _ = embed_with(model, description, images, prepare, device, out_excluded)
    if out is not None:
        write_tsv(out, table)
    return table


def embed_with(
    model: nn.Module,
    description: Mapping[str, Any],
    images: Sequence[str | Path],
    prepare: Prepare | None = None,
    device: Device | None = None,
    out_excluded: str | Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `embed_images`, with an encoder that is loaded: its table, and the list of what was left out."""
    device = device or for_embedding(str(description["architecture"]))
    model.to(device.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    contract, size = description["input"], embedding_batch(device.device.type, tuple(description["input"]["shape"]))
    kept: list[str] = []
    excluded: list[dict[str, str]] = []
    error: list[InputError] = []

    def batches() -> Iterator[torch.Tensor]:
        part: list[np.ndarray] = []
        for image in images:
            try:
                part.append(to_input(prepare(Path(image)) if prepare else image, contract))
                kept.append(str(image))
            except InputError as failure:
                log.error("left out: %s", failure)
                excluded.append(_exclusion(image, failure))
                error.append(failure)
            if len(part) == size:
                yield torch.from_numpy(np.stack(part))[:, None]
                part = []
        if part:
            yield torch.from_numpy(np.stack(part))[:, None]

    found = _embedded(model, batches(), device)
    left_out = pd.DataFrame(excluded, columns=list(EXCLUDED))
    if out_excluded is not None:
        write_tsv(out_excluded, left_out)
    if found is None:
        raise error[0] if error else InputError("no image was given.", remedy="Name at least one.")
    names = [f"e{i:03d}" for i in range(found.shape[1])]
    who = pd.DataFrame([named(image) | {"image": image} for image in kept])
    return pd.concat([who, pd.DataFrame(found, columns=names)], axis=1), left_out


def _embedded(model: nn.Module, batches: Any, device: Device) -> np.ndarray | None:
    """Embeddings (N, D), or None without any batch."""
    first = next(iterator := iter(batches), None)
    if first is None:
        return None

    def all_of() -> Iterator[torch.Tensor]:
        yield first
        yield from iterator

    return np.asarray(embed_batches(model, all_of(), device).numpy())


def _exclusion(image: str | Path, error: InputError) -> dict[str, str]:
    who = {name: named(image)[name] for name in ("scan", "participant_id")}
    where = error.file or str(image)
    return who | {"stage": "embed", "reason": error.reason, "file": where, "remedy": error.remedy}
