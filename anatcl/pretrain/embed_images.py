"""Embeddings of single images with a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.conform import to_input
from anatcl.pretrain.device import Device, for_embedding

log = logging.getLogger(__name__)


def embed_images(
    bundle: str | Path,
    images: Sequence[str | Path],
    out: str | Path | None = None,
    device: Device | None = None,
    prepare: Callable[[Path], Path] | None = None,
) -> pd.DataFrame:
    """Embed images one by one and return (and write) a table.

    Parameters
    ----------
    bundle : path
        Folder with ``encoder.safetensors`` and ``model.json``.
    images : sequence of path
        Preprocessed maps, or whatever `prepare` turns into them.
    out : path, optional
        Table to write: ``image``, ``e000`` ...
    device : Device, optional
    prepare : callable, optional
        Makes the map of one image and returns its path: where the preprocess stage takes part for raw T1w images.

    Returns
    -------
    DataFrame
        One row per usable image. An unusable one is logged and left out.

    Raises
    ------
    InputError
        When no image can be used.
    """
    model, description = load_encoder(bundle)
    device = device or for_embedding(description["architecture"])
    model.to(device.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    rows: list[dict[str, Any]] = []
    error: InputError | None = None
    for image in images:
        try:
            path = prepare(Path(image)) if prepare else Path(image)
            volume = torch.from_numpy(np.ascontiguousarray(to_input(path, description["input"])))
        except InputError as failure:
            log.error("left out: %s", failure)
            error = failure
            continue
        with torch.inference_mode(), device.autocast():
            vector = model.embed(volume[None, None].to(device.device)).float().cpu()[0]
        rows.append({"image": str(image), **{f"e{i:03d}": float(v) for i, v in enumerate(vector)}})
    if not rows:
        raise error or InputError("no image was given.", remedy="Name at least one.")
    table = pd.DataFrame(rows)
    if out is not None:
        write_tsv(out, table)
    return table
