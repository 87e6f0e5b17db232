"""Encoder and head as one module, with the names of the published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROJECTION = 128
JOINED = "+"


class ContrastiveModel(nn.Module):
    """An encoder followed by a head.

    Parameters
    ----------
    encoder : nn.Module
        Maps (N, 1, X, Y, Z) to (N, ``encoder.out_features``).
    head : str
        ``projection``: two-layer perceptron d-d-128 whose output is L2-normalised (keys ``head.0.*``, ``head.2.*``, as
        published); ``regression``: one linear unit; ``linear-n``: n of them; ``none``: embeddings only. Several, joined
        by ``+``, stand side by side on one embedding (keys ``head.projection.0.*`` ...).

    Attributes
    ----------
    flip : tuple of int
        Spatial axes (0, 1, 2) to mirror before the encoder, for networks that were trained on another axis direction.
    architecture : str
        Word of the encoder, where it has one (`anatcl.models.build_model`).
    """

    def __init__(self, encoder: nn.Module, head: str = "projection") -> None:
        super().__init__()
        self.flip: tuple[int, ...] = ()
        self.architecture = ""
        self.encoder = encoder
        self.kind = head
        features = int(encoder.out_features)  # type: ignore[arg-type]
        kinds = head.split(JOINED)
        made = {kind: _head(kind, features) for kind in kinds}
        self.head = made[head] if len(kinds) == 1 else nn.ModuleDict(made)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Return L2-normalised projections (N, 128) float32, or predictions (N,) or (N, n) of other heads.

        With several heads: the output of each, by its word. The normalisation runs in float32 whatever the autocast
        type: half precision would move the cosines.
        """
        embedding = self.embed(x)
        if isinstance(self.head, nn.ModuleDict):
            return {kind: _output(kind, head, embedding) for kind, head in self.head.items()}
        return _output(self.kind, self.head, embedding)

    def embed(self, x: Tensor) -> Tensor:
        """Return the encoder's embeddings (N, out_features), before the head."""
        return self.encoder(x.flip([2 + axis for axis in self.flip]) if self.flip else x)


def _head(kind: str, features: int) -> nn.Module:
    """The layers of one head.

    Raises
    ------
    ValueError
        There is no such head.
    """
    if kind == "projection":
        return nn.Sequential(nn.Linear(features, features), nn.ReLU(inplace=True), nn.Linear(features, PROJECTION))
    if kind == "none":
        return nn.Identity()
    word, _, outputs = kind.partition("-")
    if kind != "regression" and not (word == "linear" and outputs.isdecimal()):
        raise ValueError(f"unknown head {kind!r}; choose projection, regression, linear-N or none")
    return nn.Linear(features, int(outputs or 1))


def _output(kind: str, head: nn.Module, embedding: Tensor) -> Tensor:
    """What one head says of embeddings (N, d)."""
    out: Tensor = head(embedding)
    if kind == "none":
        return out
    with torch.autocast(embedding.device.type, enabled=False):
        out = out if out.dtype == torch.float64 else out.float()
        if kind == "projection":
            return F.normalize(out, dim=1)
        return out.squeeze(1) if kind == "regression" else out
