"""What a network returns: one tensor, or one for each of its heads."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Outputs = Tensor | dict[str, Tensor]


def mapped(function: Callable[..., Tensor], *outputs: Outputs) -> Outputs:
    """Apply a function to one tensor of each of `outputs`, head by head."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return function(*outputs)
    return {head: function(*(one[head] for one in outputs)) for head in first}  # type: ignore[index]
