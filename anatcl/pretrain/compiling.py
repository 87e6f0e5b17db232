"""When a network goes through ``torch.compile``, and what happens where that does not work."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from anatcl.base.errors import InputError
from anatcl.pretrain.device import Device

log = logging.getLogger(__name__)


def compiled(network: nn.Module, wanted: bool | str, place: Device, processes: int, small: bool) -> nn.Module | None:
    """Compile a network if that is wanted and works.

    Parameters
    ----------
    network : nn.Module
    wanted : {True, False, "auto"}
        ``"auto"``: on CUDA, in a run of one process, unless the network is small. On a CPU compiling takes minutes and
        its convolutions are those of oneDNN either way.
    place : Device
    processes : int
    small : bool

    Returns
    -------
    nn.Module or None
        None when the network stays as it is.

    Raises
    ------
    InputError
        ``True`` was asked for and this machine cannot compile.
    """
    auto = wanted == "auto"
    if not wanted or (auto and (place.device.type != "cuda" or processes > 1 or small)):
        return None
    trouble = why_not(place.device)
    if trouble is None:
        return torch.compile(network, dynamic=False, options=_settings(place))  # type: ignore[return-value]
    if not auto:
        raise InputError(
            f"compile is true, but torch.compile fails here: {trouble}.",
            remedy="Install a C compiler (and triton on a GPU), or set compile: auto.",
        )
    log.warning("the network is not compiled, which makes it slower: %s", trouble)
    return None


def why_not(device: torch.device) -> str | None:
    """Say in a line what goes wrong when something small is compiled and run; None when nothing does."""
    try:
        torch.compile(_doubled, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # compilers raise anything
        return (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
        )
    return None


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


def _settings(place: Device) -> dict[str, Any]:
    """Options of the compiler: with `deterministic` no choice that changes sums hangs on a measured time."""
    import torch._inductor.config as inductor

    known = place.deterministic and hasattr(inductor, "deterministic")
    return {"deterministic": True} if known else {}
