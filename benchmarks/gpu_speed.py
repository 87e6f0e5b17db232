"""Parts of ``benchmarks/gpu.py`` on speed: the training step and its variants, its first layers, its kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.models import build_model
from anatcl.models.pool import sliced_max_pool
from anatcl.models.stem import SpaceToDepthConv3d
from anatcl.pretrain.device import resolve
from benchmarks.gpu_common import Bench, guarded, with_plain_layers, with_warnings

WARM_UP, TIMED, COMPARED = 4, 15, 4  # steps
SLOW = 0.2  # seconds a step, above which fewer are timed


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to make a training step.

    Attributes
    ----------
    deterministic : bool
    search : bool
        cuDNN tries its kernels and keeps the fastest.
    stem, pool : bool
        This project's form of the layer; else torch's own.
    last : bool
        Channels-last memory.
    precision : {"bf16", "fp16", "fp32"}
    batch : int
        Subjects; 0 = that of the recipe.
    compiled : bool
    """

    deterministic: bool = True
    search: bool = False
    stem: bool = True
    pool: bool = True
    last: bool = True
    precision: str = "bf16"
    batch: int = 0
    compiled: bool = False


FAST = Variant(deterministic=False, search=True)
# By value: the first ones are those that a decision hangs on.
VARIANTS: dict[str, Variant] = {
    "deterministic": Variant(),
    "fastest": FAST,
    "deterministic, torch's stem and pool": Variant(stem=False, pool=False),
    "fastest, torch's stem and pool": dataclasses.replace(FAST, stem=False, pool=False),
    "fastest, torch's pool": dataclasses.replace(FAST, pool=False),
    "deterministic, cuDNN searches": Variant(search=True),
    "fastest, batch 64": dataclasses.replace(FAST, batch=64),
    "deterministic, batch 64": Variant(batch=64),
    "fastest, contiguous": dataclasses.replace(FAST, last=False),
    "deterministic, fp32": Variant(precision="fp32"),
}
COMPILED: dict[str, Variant] = {
    "fastest, compiled": dataclasses.replace(FAST, compiled=True),
    "deterministic, compiled": Variant(compiled=True),
}


class Stepper:
    """A network, its optimiser and one batch, as the training loop has them.

    Parameters
    ----------
    bench : Bench
    variant : Variant
    x : Tensor of shape (B, X, Y, Z), float16
    """

    def __init__(self, bench: Bench, variant: Variant, x: Tensor) -> None:
        self.place = resolve(bench.device, variant.precision, variant.deterministic)
        if bench.cuda:
            torch.backends.cudnn.benchmark = variant.search
        torch.manual_seed(0)
        model = with_plain_layers(build_model(bench.encoder), not variant.stem, not variant.pool)
        self.layout = torch.channels_last_3d if variant.last else torch.contiguous_format
        self.model = model.to(self.place.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.network: nn.Module = torch.compile(self.model) if variant.compiled else self.model  # type: ignore[assignment]
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4, weight_decay=5e-5, fused=True)
        self.loss, self.x = AnatCLLocal(), x
        random = torch.Generator().manual_seed(1)
        age = torch.rand(len(x), generator=random) * 60 + 20
        raw = {"age": age, "measures": torch.rand(len(x), 68, 3, generator=random) + 1}
        self.targets = {k: v.to(self.place.device) for k, v in self.loss.fit(raw).items()}

    def __call__(self) -> None:
        """Make one step."""
        x = self.x.float().unsqueeze(1).contiguous(memory_format=self.layout)
        with self.place.autocast():
            z = self.network(x)
        self.loss(z, self.targets, copies=2)["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def weights(self) -> Tensor:
        """All weights, one after the other."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def measure(bench: Bench, variant: Variant) -> dict[str, Any]:
    """Time, memory and warnings of a variant, and whether two runs of it are equal."""
    x = bench.volumes(variant.batch if bench.cuda else 0)
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    stepper = Stepper(bench, variant, x)
    first = bench.timed(stepper, 1)
    about = bench.timed(stepper, WARM_UP if bench.cuda else 1)
    seconds = bench.timed(stepper, (TIMED if about < SLOW else 3) if bench.cuda else 1)
    found = bench.rates(seconds, len(x)) | {"batch": len(x), "first_step_s": round(first, 2)}
    if bench.cuda:
        found["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    del stepper
    return found if variant.compiled else found | repeated(bench, variant, x)


def repeated(bench: Bench, variant: Variant, x: Tensor) -> dict[str, Any]:
    """Make a few steps twice from the same seed and compare the weights."""
    ends = []
    for _ in range(2):
        stepper = Stepper(bench, variant, x)
        for _ in range(COMPARED if bench.cuda else 2):
            stepper()
        ends.append(stepper.weights())
        del stepper
    return {"two_runs_equal": bool(torch.equal(*ends)), "largest_difference": float((ends[0] - ends[1]).abs().max())}


def table(bench: Bench, variants: dict[str, Variant], need: float) -> dict[str, Any]:
    """Measure variants one by one while there is time."""
    found: dict[str, Any] = {}
    for name, variant in variants.items():
        if bench.left() < need:
            found[name] = f"skipped: needs about {need:.0f} s, {max(bench.left(), 0):.0f} s are left"
            continue
        found[name] = guarded(lambda variant=variant: with_warnings(lambda: measure(bench, variant)))
        print("  ", name, found[name], flush=True)
        if bench.cuda:
            torch.cuda.empty_cache()
    return found


def steps(bench: Bench) -> dict[str, Any]:
    """Training steps in all ways but compiled."""
    some = dict(list(VARIANTS.items())[:3]) if bench.tiny else VARIANTS
    return table(bench, some, 12)


def compiled(bench: Bench) -> dict[str, Any]:
    """Training steps through ``torch.compile``."""
    return {"left out": "takes longer than a trial should"} if bench.tiny else table(bench, COMPILED, 50)


def forward_backward(bench: Bench, function: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, float]:
    """Milliseconds of a layer forward, and of its backward pass."""
    x = x.detach().requires_grad_(x.shape[1] > 1)  # the volume itself needs no gradient
    out = function(x)
    above = torch.ones_like(out)
    ways = {
        "forward_ms": lambda: function(x),
        "both_ms": lambda: function(x).backward(above),
    }
    for way in ways.values():
        way()
    return {name: round(bench.timed(way, 5 if bench.cuda else 1) * 1e3, 3) for name, way in ways.items()}


def layers(bench: Bench) -> dict[str, Any]:
    """The first convolution and the pool alone, torch's form beside this project's, in bfloat16."""
    resolve(bench.device, deterministic=False)
    width = 8 if bench.tiny else 64
    stem = SpaceToDepthConv3d(1, width).to(bench.device)
    plain = nn.Conv3d(1, width, 7, stride=2, padding=3, bias=False, device=bench.device)
    torch_pool = nn.MaxPool3d(3, stride=2, padding=1)
    x = bench.volumes().bfloat16().unsqueeze(1)
    with torch.no_grad(), torch.autocast(bench.device, torch.bfloat16):
        inner = stem(x)

    def in_bfloat16(layer: nn.Module) -> Callable[[Tensor], Tensor]:
        def call(x: Tensor) -> Tensor:
            with torch.autocast(bench.device, torch.bfloat16):
                return layer(x)

        return call

    cases = {
        "stem, torch's": (in_bfloat16(plain), x),
        "stem, space-to-depth": (in_bfloat16(stem), x),
        "pool, torch's": (torch_pool, inner),
        "pool, torch's, contiguous": (torch_pool, inner.contiguous()),
        "pool, sliced": (sliced_max_pool, inner),
    }
    if not bench.tiny:
        cases["pool, sliced and compiled"] = (torch.compile(sliced_max_pool), inner)
    return {name: guarded(lambda case=case: forward_backward(bench, *case)) for name, case in cases.items()}


def profile(bench: Bench) -> dict[str, Any]:
    """Where the time of a deterministic step goes: the kernels that take longest, in ms."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    stepper = Stepper(bench, Variant(), bench.volumes())
    for _ in range(2):
        stepper()
    bench.sync()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
    with record(activities=kinds) as seen:
        stepper()
        bench.sync()
    key = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    events = [e for e in seen.key_averages() if not bench.cuda or _is_kernel(e)]
    events.sort(key=lambda e: -getattr(e, key))
    top = [[e.key[:100], e.count, round(getattr(e, key) / 1e3, 3)] for e in events[:25]]
    return {"all_ms": round(sum(getattr(e, key) for e in events) / 1e3, 2), "name_calls_ms": top}


def _is_kernel(event: Any) -> bool:
    """Whether a profiler's event ran on the GPU; operators of the host carry the time of their kernels too."""
    return str(event.device_type).endswith("CUDA") and not getattr(event, "is_user_annotation", False)
