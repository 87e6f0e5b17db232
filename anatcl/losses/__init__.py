"""Pretraining losses, one per file; only torch is imported.

Shapes and words used in every file:

- ``B`` subjects in the batch (of all ranks), ``V`` views of each, ``N = V * B`` rows, ``D`` dimensions.
- ``z`` : Tensor of shape (N, D), L2-normalised rows, view by view: row ``v * B + i`` is view ``v`` of subject ``i``.
- ``s_ij = z_i . z_j / temperature``, always in float32 (or float64), whatever the autocast type.
- Labels are given per subject: ``age`` (B,) in years, ``features`` (B, F) descriptors made once by ``prepare``.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """The class of a method by its name, imported when it is first used: ``losses.AnatCLLocal``."""
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module

    declared = import_module("anatcl.spec.methods").declared_methods().values()
    for one in declared:
        if one.loss == name:
            return getattr(import_module(f"{__name__}.{one.module}"), name)
    known = sorted(one.loss for one in declared if one.loss)
    raise AttributeError(f"there is no loss {name!r}; there are {', '.join(known)}")
