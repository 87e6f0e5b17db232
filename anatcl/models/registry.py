"""Encoders by the word that stands in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from anatcl.models.contrastive import ContrastiveModel
from anatcl.models.conv import guard_convolutions
from anatcl.models.densenet import densenet121
from anatcl.models.resnet import BasicBlock, Bottleneck, ResNet3d

ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: ResNet3d(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet3d(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet3d(Bottleneck, (3, 4, 6, 3)),
    "densenet121": densenet121,
    # For tests and the demo: the same layout at an eighth of the width, one block a stage.
    "resnet-tiny": lambda: ResNet3d(BasicBlock, (1, 1, 1, 1), width=8),
}


def build_encoder(name: str) -> nn.Module:
    """Return a randomly initialised encoder; it has an attribute ``out_features``.

    Raises
    ------
    ValueError
        When `name` is not in `ENCODERS`.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    return guard_convolutions(ENCODERS[name]())


def build_model(name: str, head: str = "projection") -> ContrastiveModel:
    """Return encoder `name` with a head (see `ContrastiveModel`)."""
    return ContrastiveModel(build_encoder(name), head)
