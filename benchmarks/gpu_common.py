"""What the parts of ``benchmarks/gpu.py`` share: the place and size of a run, timing, the plain first layers."""

from __future__ import annotations

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anatcl.models import ContrastiveModel, build_model

# Dense bfloat16 products of the SXM cards, FLOP/s, from the makers' data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
RECIPE_SCANS, RECIPE_EPOCHS, RECIPE_BATCH = 3984, 300, 32


@dataclasses.dataclass
class Bench:
    """Where a run computes, how large its problems are and how long it may take.

    Attributes
    ----------
    device : {"cuda", "cpu"}
    tiny : bool
        Small volumes and network: a trial of the script itself.
    seconds : float
        Of wall time for all parts together.
    room : Path
        Temporary folder.
    """

    device: str
    tiny: bool
    seconds: float
    room: Path
    start: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.device == "cuda"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Volume."""
        return (25, 28, 25) if self.tiny else (121, 128, 121)

    @property
    def batch(self) -> int:
        """Subjects in a batch."""
        return 4 if self.tiny else RECIPE_BATCH

    @property
    def encoder(self) -> str:
        """Word of the encoder."""
        return "resnet-tiny" if self.tiny else "resnet18"

    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.perf_counter() - self.start)

    def sync(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize()

    def timed(self, function: Callable[[], Any], times: int) -> float:
        """Mean seconds of a call, over so many calls."""
        self.sync()
        start = time.perf_counter()
        for _ in range(times):
            function()
        self.sync()
        return (time.perf_counter() - start) / times

    def volumes(self, batch: int = 0) -> Tensor:
        """Random volumes (B, X, Y, Z), float16, on the device."""
        random = torch.Generator().manual_seed(0)
        some = torch.rand(8, *self.shape, generator=random).half()
        return some.repeat(-(-(batch or self.batch) // 8), 1, 1, 1)[: batch or self.batch].to(self.device)

    def rates(self, seconds: float, batch: int = 0) -> dict[str, Any]:
        """What the time of a training step means."""
        batch = batch or self.batch
        flops = batch * flops_per_subject(self.encoder, self.shape) / seconds
        peak = next((v for k, v in PEAK.items() if self.cuda and k in torch.cuda.get_device_name()), None)
        steps = RECIPE_SCANS // batch * RECIPE_EPOCHS
        return {
            "ms": round(seconds * 1e3, 2),
            "volumes_per_s": round(batch / seconds, 1),
            "tflops": round(flops / 1e12, 2),
            "mfu": round(flops / peak, 4) if peak else None,
            "recipe_minutes": round(steps * seconds / 60, 1),
        }


@functools.cache
def flops_per_subject(encoder: str, shape: tuple[int, ...]) -> float:
    """Operations of one subject's forward and backward pass, counted by torch's FlopCounterMode without data.

    They are those of the plain network, in convolutions and matrix products: what the other form of the first
    convolution multiplies by zeros is no useful work.
    """
    model, x = with_plain_layers(build_model(encoder)).to("meta"), torch.empty(2, 1, *shape, device="meta")
    with FlopCounterMode(display=False) as counter:
        model.encoder(x).sum().backward()
    return counter.get_total_flops() / 2


def with_plain_layers(model: ContrastiveModel, stem: bool = True, pool: bool = True) -> ContrastiveModel:
    """Put torch's own first convolution and max-pool into a network, with the same weights."""
    encoder: Any = model.encoder
    if stem:
        plain = nn.Conv3d(*encoder.conv1.weight.shape[1::-1], 7, stride=2, padding=3, bias=False)
        plain.weight = encoder.conv1.weight
        encoder.conv1 = plain
    if pool:
        encoder.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
    return model


def relative(found: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm of the exact value."""
    found, exact = found.detach().double().cpu(), exact.detach().double().cpu()
    return float((found - exact).norm() / exact.norm().clamp_min(1e-12))


def guarded(function: Callable[[], Any]) -> Any:
    """Result of a call, or what went wrong in a sentence: one bad case must not hide the others."""
    try:
        return function()
    except Exception as error:  # compilers and drivers raise anything
        return f"failed: {type(error).__name__}: {error}"[:600]


def with_warnings(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Result of a call with the different warnings that it raised."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = function()
    return {**found, "warnings": sorted({str(w.message)[:160] for w in seen})[:6]}
