"""Outside networks, with the interface of this package's encoders: ``embed`` maps (N, 1, X, Y, Z) to (N, D)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anatcl.base.errors import InputError
from anatcl.base.named import call_named
from anatcl.models import ENCODERS, ContrastiveModel, build_encoder, build_model
from anatcl.models.registry import POOLINGS

SCRIPT = "network.pt"  # TorchScript of a tuned network, beside its weights
# Operators of TorchScript that touch files; a model that only computes has none.
TOUCHING = (b"torch.save", b"torch.load", b"from_file", b"aten.save")


class Outside(nn.Module):
    """An outside network.

    Parameters
    ----------
    encoder : nn.Module
        Maps (N, C, X, Y, Z) to a vector, a map, tokens, or a tuple that begins with one of them.
    channels : int
        C; the one volume is repeated.
    pooling : str
        ``mean``, ``tokens``, ``first``, or empty for a network that returns (N, D).
    """

    def __init__(self, encoder: nn.Module, channels: int = 1, pooling: str = "") -> None:
        super().__init__()
        self.encoder, self.channels, self.pooling = encoder, channels, pooling

    def embed(self, x: Tensor) -> Tensor:
        """Return embeddings (N, D)."""
        if self.channels > 1:
            x = x.expand(-1, self.channels, -1, -1, -1)
        out = self.encoder(x)
        while isinstance(out, tuple | list):
            out = out[0]
        return self._pooled(out)

    forward = embed

    def _pooled(self, out: Tensor) -> Tensor:
        if self.pooling == "mean":
            return out.flatten(2).mean(2)
        if self.pooling in ("tokens", "first") and out.dim() == 3:
            return out.mean(1) if self.pooling == "tokens" else out[:, 0]
        out = out.flatten(2).squeeze(2) if out.dim() > 2 and out.flatten(2).shape[2] == 1 else out
        if out.dim() != 2:
            raise InputError(
                f"the network returns {tuple(out.shape)} and not one vector per volume.",
                remedy="Set pooling: mean (over voxels), tokens (mean over tokens) or first (the first token).",
            )
        return out


def load_script(path: Path) -> nn.Module:
    """Load TorchScript: a program of tensors that torch interprets; one that touches files is refused."""
    try:
        with zipfile.ZipFile(path) as file:
            code = b"".join(file.read(name) for name in file.namelist() if "/code/" in name and name.endswith(".py"))
        if any(word in code for word in TOUCHING):
            raise InputError("the TorchScript reads or writes files.", path, "Do not use such a file.")
        script: nn.Module = torch.jit.load(str(path), map_location="cpu")
        return script
    except (RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"is not a TorchScript that torch reads ({first_line(error)}).", path, "Export it again."
        ) from error


def built(architecture: str, arguments: Mapping[str, Any], pooling: str) -> nn.Module:
    """A network by our word or as ``module:Class`` with arguments, randomly initialised."""
    if architecture in ENCODERS:
        return build_encoder(architecture, pooling if pooling in POOLINGS else "average")
    made: nn.Module = call_named(architecture, arguments)
    return made


def described(about: Mapping[str, Any], folder: Path) -> ContrastiveModel:
    """The network that a ``model.json`` describes, to be filled with its weights."""
    head, network = about.get("head", "projection"), about.get("network")
    if network is None:
        return build_model(about["architecture"], head, about.get("pooling", "average"))
    script = folder / SCRIPT
    body = (
        load_script(script)
        if script.is_file()
        else built(about["architecture"], network["arguments"], network["pooling"])
    )
    outer = Outside(body, network["channels"], "" if network["pooling"] in POOLINGS else network["pooling"])
    outer.out_features = about["embedding_dim"]
    return ContrastiveModel(outer, head)


def save_script(folder: Path, model: ContrastiveModel) -> None:
    """Write the program of a network that is TorchScript; nothing for others, which are made again by their name."""
    inner = getattr(model.encoder, "encoder", None)
    if isinstance(inner, torch.jit.ScriptModule):
        folder.mkdir(parents=True, exist_ok=True)
        torch.jit.save(inner.cpu(), str(folder / SCRIPT))


def first_line(error: Exception) -> str:
    """The first line of a library's message, without its full stop."""
    text = str(error).strip().splitlines()
    return text[0][:200].rstrip(".") if text else type(error).__name__
