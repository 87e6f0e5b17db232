"""Encoder and head as one module, with the names of the published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROJECTION = 128


class ContrastiveModel(nn.Module):
    """An encoder followed by a head.

    Parameters
    ----------
    encoder : nn.Module
        Maps (N, 1, X, Y, Z) to (N, ``encoder.out_features``).
    head : {"projection", "regression", "none"}
        ``projection``: two-layer perceptron d-d-128 whose output is L2-normalised (keys ``head.0.*``, ``head.2.*``, as
        published); ``regression``: one linear unit; ``none``: embeddings only.

    Attributes
    ----------
    flip : tuple of int
        Spatial axes (0, 1, 2) to mirror before the encoder, for networks that were trained on another axis direction.
    """

    def __init__(self, encoder: nn.Module, head: str = "projection") -> None:
        super().__init__()
        self.flip: tuple[int, ...] = ()
        self.encoder = encoder
        self.kind = head
        features = int(encoder.out_features)  # type: ignore[arg-type]
        if head == "projection":
            self.head: nn.Module = nn.Sequential(
                nn.Linear(features, features), nn.ReLU(inplace=True), nn.Linear(features, PROJECTION)
            )
        elif head == "regression":
            self.head = nn.Linear(features, 1)
        elif head == "none":
            self.head = nn.Identity()
        else:
            raise ValueError(f"unknown head {head!r}; choose projection, regression or none")

    def forward(self, x: Tensor) -> Tensor:
        """Return L2-normalised projections (N, 128) float32, or predictions (N,) for the regression head.

        The normalisation runs in float32 whatever the autocast type: half precision would move the cosines.
        """
        out = self.head(self.embed(x))
        if self.kind == "none":
            return out
        with torch.autocast(x.device.type, enabled=False):
            out = out if out.dtype == torch.float64 else out.float()
            return F.normalize(out, dim=1) if self.kind == "projection" else out.squeeze(1)

    def embed(self, x: Tensor) -> Tensor:
        """Return the encoder's embeddings (N, out_features), before the head."""
        return self.encoder(x.flip([2 + axis for axis in self.flip]) if self.flip else x)
