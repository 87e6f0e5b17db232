"""What a pretraining run can be told; the defaults are the published recipe."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from anatcl.base.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    """Hyperparameters of one run.

    Attributes
    ----------
    encoder : str
        See `anatcl.models.ENCODERS`.
    epochs, batch_size : int
        `batch_size` counts subjects, over all processes.
    learning_rate, weight_decay : float
        Adam's.
    lr_decay, lr_decay_epochs : float, int
        The learning rate is multiplied by `lr_decay` every `lr_decay_epochs` epochs.
    temperature : float
        Divides cosines.
    rank_temperature : float
        Rank-N-Contrast's, which divides distances.
    age_sigma : float
        Years, width of the age kernel.
    age_bin : float
        Years, width of SupCon's bins.
    lambda_, alpha_age : float
        Factors of the anatomical and of the age term.
    augment : str or dict
        ``"auto"``: what the method asks for (none, but for SimCLR); ``"none"``; or transforms by name, see
        `anatcl.pretrain.augment`. With augmentation each of the two views is embedded.
    accumulate : int
        Batches whose gradients are summed before a step; each keeps its own negatives.
    max_steps : int
        Stop after so many optimiser steps; 0 = no limit.
    probe_every : int
        Epochs between two early probes; 0 = none.
    compile : {"auto", True, False}
        Use ``torch.compile``: with `auto` on one GPU where it works.
    tensorboard : bool
        Write the history for TensorBoard too (its package must be installed).
    seed : int
    """

    encoder: str = "resnet18"
    epochs: int = 300
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 5e-5
    lr_decay: float = 0.9
    lr_decay_epochs: int = 10
    temperature: float = 0.1
    rank_temperature: float = 2.0
    age_sigma: float = 2.0
    age_bin: float = 2.0
    lambda_: float = 1.0
    alpha_age: float = 1.0
    augment: str | dict[str, Any] = "auto"
    accumulate: int = 1
    max_steps: int = 0
    probe_every: int = 0
    compile: bool | str = "auto"
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "lr_decay_epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}.", remedy="It must be at least 1.")
        for name in ("learning_rate", "temperature", "rank_temperature", "age_sigma", "age_bin"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}.", remedy="It must be above 0.")
        if isinstance(self.augment, str) and self.augment not in ("auto", "none"):
            raise InputError(f"augment is {self.augment!r}.", remedy="Choose auto, none, or transforms by name.")

    @classmethod
    def names(cls) -> list[str]:
        """Names of all options."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Options:
        """Make options from a mapping; ``lambda`` stands for `lambda_`; an unknown name is an error."""
        values = {"lambda_" if k == "lambda" else k: v for k, v in values.items()}
        for name in values:
            if name not in cls.names():
                near = difflib.get_close_matches(name, cls.names(), 1)
                hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(cls.names())}."
                raise InputError(f"pretrain option {name!r} is unknown.", remedy=hint)
        for field in dataclasses.fields(cls):
            _check_type(field.name, values.get(field.name, field.default), field.default)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as a dictionary, ``lambda`` under its own name."""
        return {k.rstrip("_"): v for k, v in dataclasses.asdict(self).items()}


def _check_type(name: str, value: Any, default: Any) -> None:
    """Refuse a value of another kind than the default's; a whole number will do for a real one."""
    if name == "compile":
        good = isinstance(value, bool) or value == "auto"
    elif name == "augment":
        good = isinstance(value, str | dict)
    elif isinstance(default, float):
        good = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        good = type(value) is type(default)
    if not good:
        kind = "auto, true or false" if name == "compile" else type(default).__name__
        raise InputError(f"pretrain option {name} is {value!r}.", remedy=f"Give it as {kind}.")
