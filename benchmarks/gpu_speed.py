"""Parts of ``benchmarks/gpu.py`` on speed: the training step and its variants, and its kernels."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.models import build_model
from anatcl.pretrain.compiling import compiled as compiled_network
from anatcl.pretrain.device import applied, resolve
from benchmarks.gpu_common import Bench, guarded, with_warnings
from benchmarks.gpu_layers import with_forms

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
    stem, pool : str
        Form of the layer, see `benchmarks.gpu_layers`; "" = the product's.
    last : bool
        Channels-last memory.
    precision : {"bf16", "fp16", "fp32"}
    batch : int
        Subjects; 0 = that of the recipe.
    compiled : bool
    careful : bool
        The compiler makes no choice by measured times (what the product asks for where runs must be equal).
    """

    deterministic: bool = True
    search: bool = False
    stem: str = ""
    pool: str = ""
    last: bool = True
    precision: str = "bf16"
    batch: int = 0
    compiled: bool = False
    careful: bool = True


FAST = Variant(deterministic=False, search=True)
# By value: the first ones are those that a decision hangs on.
VARIANTS: dict[str, Variant] = {
    "deterministic": Variant(),
    "fastest": FAST,
    "deterministic, torch's stem and pool": Variant(stem="torch's", pool="torch's"),
    "deterministic, pool placed": Variant(pool="placed"),
    "deterministic, stem space-to-depth": Variant(stem="space-to-depth"),
    "fastest, contiguous": dataclasses.replace(FAST, last=False),
    "deterministic, fp32": Variant(precision="fp32"),
}
COMPILED: dict[str, Variant] = {
    "deterministic": Variant(compiled=True),
    "deterministic, choices by time": Variant(compiled=True, careful=False),
    "fastest": dataclasses.replace(FAST, compiled=True),
    "deterministic, stem unfolded twice": Variant(compiled=True, stem="unfolded twice"),
    "deterministic, pool sliced": Variant(compiled=True, pool="sliced"),
    "fastest, torch's pool": dataclasses.replace(FAST, compiled=True, pool="torch's"),
    "deterministic, batch 64": Variant(compiled=True, batch=64),
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
        torch.manual_seed(0)
        model = with_forms(build_model(bench.encoder), variant.stem, variant.pool)
        self.layout = torch.channels_last_3d if variant.last else torch.contiguous_format
        self.model = model.to(self.place.device, memory_format=self.layout)  # type: ignore[call-overload]
        asked = dataclasses.replace(self.place, deterministic=variant.deterministic and variant.careful)
        network = compiled_network(self.model, variant.compiled, asked, 1, False)
        self.network: nn.Module = self.model if network is None else network
        self.begun = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.restart()
        self.loss, self.x = AnatCLLocal(), x
        random = torch.Generator().manual_seed(1)
        age = torch.rand(len(x), generator=random) * 60 + 20
        raw = {"age": age, "measures": torch.rand(len(x), 68, 3, generator=random) + 1}
        self.targets = {k: v.to(self.place.device) for k, v in self.loss.fit(raw).items()}

    def restart(self) -> None:
        """Go back to the first weights, with a new optimiser."""
        self.model.load_state_dict(self.begun)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4, weight_decay=5e-5, fused=True)

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
    with applied(resolve(bench.device, variant.precision, variant.deterministic)):
        if bench.cuda:
            torch.backends.cudnn.benchmark = variant.search
        torch._dynamo.reset()  # else the ninth network of a process is no longer compiled
        return _measure(bench, variant)


def _measure(bench: Bench, variant: Variant) -> dict[str, Any]:
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
    return found | repeated(bench, stepper)


def repeated(bench: Bench, stepper: Stepper) -> dict[str, Any]:
    """Make a few steps twice from the same weights and compare where they end."""
    ends = []
    for _ in range(2):
        stepper.restart()
        for _ in range(COMPARED if bench.cuda else 2):
            stepper()
        ends.append(stepper.weights())
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
    some = dict(list(VARIANTS.items())[:4]) if bench.tiny else VARIANTS
    return table(bench, some, 12)


def compiled(bench: Bench) -> dict[str, Any]:
    """Training steps through ``torch.compile``, and the kernels of the first."""
    if bench.tiny:
        return {"left out": "takes longer than a trial should"}
    found = table(bench, COMPILED, 45)
    return found | {"kernels": guarded(lambda: kernels(bench, Variant(compiled=True)))}


def profile(bench: Bench) -> dict[str, Any]:
    """Where the time of a deterministic step goes that is not compiled."""
    return kernels(bench, Variant())


def kernels(bench: Bench, variant: Variant) -> dict[str, Any]:
    """The kernels of a step that take longest, in ms."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    torch._dynamo.reset()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
    with applied(resolve(bench.device, variant.precision, variant.deterministic)):
        stepper = Stepper(bench, variant, bench.volumes())
        for _ in range(2):
            stepper()
        bench.sync()
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
