"""Encoders by their names in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.named import NAMED, call_named, plugins
from anatcl.models.contrastive import ContrastiveModel
from anatcl.models.conv import guard_convolutions
from anatcl.models.densenet import densenet121
from anatcl.models.resnet import BasicBlock, Bottleneck, ResNet3d

ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda cells: ResNet3d(BasicBlock, (2, 2, 2, 2), cells=cells),
    "resnet34": lambda cells: ResNet3d(BasicBlock, (3, 4, 6, 3), cells=cells),
    "resnet50": lambda cells: ResNet3d(Bottleneck, (3, 4, 6, 3), cells=cells),
    "densenet121": densenet121,
    # For tests and the demo: the same layout at an eighth of the width, one block a stage.
    "resnet-tiny": lambda cells: ResNet3d(BasicBlock, (1, 1, 1, 1), width=8, cells=cells),
}


SMALLEST = {"densenet121": 29}  # voxels along an axis, so that something is left after five halvings

# Cells along each axis of the last pool, by the word in the configuration.
POOLINGS = {"average": 1, "grid": 2}


def build_encoder(name: str, pooling: str = "average") -> nn.Module:
    """Return a randomly initialised encoder; it has an attribute ``out_features``.

    Parameters
    ----------
    name : str
        A key of `ENCODERS`, or ``module:Class`` of a network that takes no arguments.
    pooling : {"average", "grid"}
        Average over the whole volume, or over each of 2 x 2 x 2 cells, which keeps where something was.

    Raises
    ------
    ValueError
        A word is unknown.
    """
    name = plugins("anatcl.encoders").get(name, name)
    for word, known in ((name, ENCODERS), (pooling, POOLINGS)):
        if word not in known and not (word == name and NAMED.fullmatch(word)):
            raise ValueError(f"unknown encoder or pooling {word!r}; choose one of {', '.join(known)}")
    if name not in ENCODERS:
        return _foreign(name)
    return guard_convolutions(ENCODERS[name](POOLINGS[pooling]))


def check_fit(name: str, shape: tuple[int, int, int]) -> None:
    """Refuse volumes (X, Y, Z) that are too small for one of our networks, before anything is computed.

    Raises
    ------
    InputError
        A layer would have nothing left to work on.
    """
    least = SMALLEST.get(name, 1)
    if min(shape) < least:
        reason = (
            f"volumes of {' x '.join(map(str, shape))} voxels are too small for {name}, which needs {least} an axis."
        )
        raise InputError(reason, remedy="Take smaller voxels, or another encoder such as resnet18.")


def _foreign(name: str) -> nn.Module:
    """A network of the user's own: a class that takes no arguments and has ``out_features``."""
    made = call_named(name, {})
    if not isinstance(made, nn.Module) or not isinstance(getattr(made, "out_features", None), int):
        reason = f"{name} is not a torch module with an attribute out_features."
        raise InputError(reason, None, "It must map (N, 1, X, Y, Z) to (N, out_features).")
    return guard_convolutions(made)


def build_model(name: str, head: str = "projection", pooling: str = "average") -> ContrastiveModel:
    """Return encoder `name` with a head (see `ContrastiveModel`)."""
    model = ContrastiveModel(build_encoder(name, pooling), head)
    model.architecture = name
    return model
