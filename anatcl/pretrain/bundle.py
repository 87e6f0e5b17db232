"""Trained encoders on disk: ``encoder.safetensors`` and ``model.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_json, write_json
from anatcl.base.words import plural
from anatcl.models import ContrastiveModel
from anatcl.pretrain.arrays import CONTRACT, PackedArrays, check_contract
from anatcl.pretrain.wrapped import described, save_script

FORMAT = 1
EMBEDDED = {"cuda": 32, "cpu": 8}  # volumes at a time
MOST_ELEMENTS = 2**31 - 1  # of a tensor: kernels of 3-D layers count in 32 bits


def save_encoder(folder: str | Path, model: ContrastiveModel, description: Mapping[str, Any]) -> None:
    """Write weights (keys ``encoder.*``, ``head.*``) and description, each atomically, the description last."""
    from safetensors.torch import save

    folder = Path(folder)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with atomic_path(folder / "encoder.safetensors") as temporary:
        temporary.write_bytes(save(state))  # save_file would leave mode 0600, whatever the umask
    save_script(folder, model)
    write_json(folder / "model.json", {"format": FORMAT, **description})


def load_encoder(folder: str | Path, arrays: PackedArrays | None = None) -> tuple[ContrastiveModel, dict[str, Any]]:
    """Read an encoder; no code of the files is executed.

    Parameters
    ----------
    folder : path
        Holds ``encoder.safetensors`` and ``model.json``.
    arrays : PackedArrays, optional
        Volumes that it is to embed; their shape, axes, affine, map and intensity are checked.

    Returns
    -------
    module : ContrastiveModel
        On the CPU, in evaluation mode; ``module.embed(x)`` maps (N, 1, X, Y, Z) true values to (N, D).
    model_json : dict

    Raises
    ------
    InputError
        When a file is missing or does not fit, or the arrays break the contract.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("model.json", "encoder.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{name} of the encoder is missing.", file=folder, remedy="Pretrain first.")
    description = read_json(folder / "model.json")
    model = described(description, folder)
    try:
        model.load_state_dict(load_file(folder / "encoder.safetensors"))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"the weights do not fit {description['architecture']}: {error}",
            file=folder / "encoder.safetensors",
            remedy="Pretrain again; the file is damaged or of another network.",
        ) from error
    model.flip = tuple(description.get("flip_axes", ()))
    if arrays is not None:
        check_contract(description["input"], arrays.meta, arrays.folder)
    return model.eval(), description


def input_contract(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what model.json says about the input, from the content of arrays.json."""
    keys = (*CONTRACT, "voxel_mm", "crop", "source_shape", "template", "scale")
    return {key: meta[key] for key in keys if key in meta}


@torch.inference_mode()
def embed_arrays(
    model: ContrastiveModel, arrays: PackedArrays, rows: Any = None, device: Any = None, batch_size: int = 0
) -> torch.Tensor:
    """Embed packed volumes with a frozen encoder.

    Parameters
    ----------
    model : ContrastiveModel
    arrays : PackedArrays
    rows : sequence of int, optional
        Which volumes; all by default.
    device : anatcl.pretrain.device.Device, optional
        Default: `anatcl.pretrain.device.for_embedding` of the model's architecture.
    batch_size : int
        0: what suits the device. Never more than kernels can count.

    Returns
    -------
    Tensor of shape (len(rows), D), float32, on the CPU
    """
    import numpy as np

    from anatcl.pretrain.batches import Reader
    from anatcl.pretrain.device import for_embedding

    device = device or for_embedding(getattr(model, "architecture", ""))
    model = model.to(device.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    rows = np.arange(len(arrays.rows)) if rows is None else np.asarray(rows)
    reader = Reader(arrays, device.device, workers=4)
    batch_size = embedding_batch(device.device.type, arrays.shape, batch_size)
    parts = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    found = embed_batches(model, reader.batches(parts), device)
    reader.close()
    return found


@torch.inference_mode()
def embed_batches(model: torch.nn.Module, batches: Iterable[torch.Tensor], device: Any) -> torch.Tensor:
    """Embed batches (B, 1, X, Y, Z) with a network that is on the device; float32 (N, D) on the CPU.

    Every command that embeds ends here, with the autocast type of `device`.
    """
    found = []
    for x in batches:
        with device.autocast():
            found.append(model.embed(x.to(device.device)).float())  # type: ignore[operator]  # no batch waits for another
    return torch.cat(found).cpu()


def embedding_batch(kind: str, shape: tuple[int, int, int], wanted: int = 0) -> int:
    """Volumes embedded at a time on a kind of device ("cuda", "cpu"): as many as keep it busy and indices in 32 bits.

    `wanted` stands for what keeps it busy unless it is 0. The largest tensor of every encoder here is the output of its
    first convolution: 64 channels at half the resolution.
    """
    return max(1, min(wanted or EMBEDDED[kind], most_volumes(shape)))


def check_countable(at_once: int, most: int, shape: tuple[int, int, int], remedy: str) -> None:
    """Refuse so many volumes at once in a network on a GPU.

    Raises
    ------
    InputError
        There are more than `most`: a tensor would have more elements than kernels count.
    """
    if at_once > most:
        raise InputError(
            f"{plural(at_once, 'volume')} at once in the network: with volumes of {shape} "
            f"a tensor would have more than 2^31 elements, more than GPU kernels can index.",
            remedy=remedy,
        )


def most_volumes(shape: tuple[int, int, int]) -> int:
    """Volumes that can go through an encoder at once with all tensors below 2^31 elements."""
    return MOST_ELEMENTS // (64 * math.prod((n + 1) // 2 for n in shape))
