"""Parts of ``benchmarks/gpu.py`` on right numbers: losses, network and DiReCT against a CPU."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anatcl.losses.base import Loss
from anatcl.models import build_model
from anatcl.pretrain.device import applied, resolve
from anatcl.pretrain.methods import METHODS
from anatcl.spec.training import Options
from benchmarks.gpu_common import Bench, guarded, relative

PRECISIONS = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def tensor_float_32(on: bool) -> Iterator[None]:
    """Allow TensorFloat-32 in matrix products and convolutions, and put back what was before."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = on
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@contextlib.contextmanager
def no_waiting(cuda: bool) -> Iterator[None]:
    """Make whatever waits for the device an error."""
    if cuda:
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if cuda:
            torch.cuda.set_sync_debug_mode("default")


def value_and_gradient(loss: Loss, z: Tensor, targets: dict[str, Tensor], copies: int) -> tuple[Tensor, Tensor]:
    """A loss and its gradient by the embeddings."""
    z = z.clone().requires_grad_()
    value = loss(z, targets, copies)["loss"]
    value.backward()
    assert z.grad is not None
    return value.detach(), z.grad


def one_loss(bench: Bench, name: str) -> dict[str, Any]:
    """Relative errors of a method's loss on the device against float64 on the CPU, the second call without a sync."""
    random = torch.Generator().manual_seed(0)
    rows = bench.batch
    # Pairs of nearly equal ages: in a small batch SupCon would else find no partners, and its loss be of rounding size.
    first = torch.rand((rows + 1) // 2, generator=random, dtype=torch.float64) * 60 + 20
    raw = {"age": torch.stack([first, first + 0.1], 1).flatten()[:rows]}
    raw["measures"] = torch.rand(rows, 68, 3, generator=random, dtype=torch.float64) + 1
    raw["covariates"] = torch.rand(rows, 3, generator=random, dtype=torch.float64)
    loss = METHODS[name].loss(Options())  # type: ignore[misc]
    targets = {k: v.double() for k, v in loss.fit(raw).items()}
    width = int(loss.head.removeprefix("linear-")) if loss.head.startswith("linear") else 128
    z = torch.randn((2 if METHODS[name].augment else 1) * rows, width, generator=random, dtype=torch.float64)
    # Equal views would leave SimCLR a loss of rounding size.
    copies = 1 if METHODS[name].augment or METHODS[name].views == 1 else 2
    if METHODS[name].views > 1:
        z = F.normalize(z, dim=1)
    elif loss.head == "regression":
        z = z[:, 0]
    exact = value_and_gradient(loss, z, targets, copies)
    on_device = {k: v.float().to(bench.device) for k, v in targets.items()}
    z_there, found = z.float().to(bench.device), {}
    for kind in ("fp32", "tf32"):
        with tensor_float_32(kind == "tf32"):
            value_and_gradient(loss, z_there, on_device, copies)
            with no_waiting(bench.cuda):
                got = value_and_gradient(loss, z_there, on_device, copies)
        found[kind] = [relative(g, e) for g, e in zip(got, exact, strict=True)]
    return found


def losses(bench: Bench) -> dict[str, Any]:
    """Errors (value, gradient) of every loss in true float32, and in TensorFloat-32 for comparison."""
    with applied(resolve(bench.device)):
        return {name: guarded(lambda name=name: one_loss(bench, name)) for name, m in METHODS.items() if m.loss}


def subjects(shape: tuple[int, ...]) -> Tensor:
    """Four volumes (4, 1, X, Y, Z) that differ in the large, as people do, with noise."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 1, 4, 4, 4, generator=random)
    smooth = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
    return smooth + 0.1 * torch.rand(4, 1, *shape, generator=random)


def one_network(bench: Bench, device: str, precision: str, last: bool, training: bool) -> tuple[Tensor, Tensor]:
    """Embeddings of four half-sized volumes and the gradient of all weights, from seeded weights."""
    torch.manual_seed(0)
    model = build_model(bench.encoder)
    x = subjects(tuple(n // 2 for n in bench.shape))
    layout = torch.channels_last_3d if last else torch.contiguous_format
    model.to(device, memory_format=layout).train(training)  # type: ignore[call-overload]
    kind = PRECISIONS[precision]
    with tensor_float_32(precision == "tf32"):
        with torch.autocast(device, kind, enabled=kind is not None):
            z = model.embed(x.to(device))
        z.float().square().mean().backward()
    return z.detach(), torch.cat([p.grad.flatten() for p in model.encoder.parameters() if p.grad is not None])


def network(bench: Bench) -> dict[str, Any]:
    """Relative errors (embedding, gradient) of the network in each precision and layout against float32 on the CPU.

    With running statistics, where rounding stays as small as it is, and with those of the batch, which magnify it.
    """
    with applied(resolve(bench.device)):
        return _network(bench)


def _network(bench: Bench) -> dict[str, Any]:
    found = {}
    for training in (False, True):
        exact = one_network(bench, "cpu", "fp32", False, training)

        def errors(precision: str, last: bool, training: bool = training, exact: Any = exact) -> list[float]:
            got = one_network(bench, bench.device, precision, last, training)
            return [relative(g, e) for g, e in zip(got, exact, strict=True)]

        for p, last in ((p, last) for p in PRECISIONS for last in (False, True) if bench.cuda or p != "fp16"):
            name = f"{p}{', channels-last' if last else ''}, {'batch' if training else 'running'} statistics"
            found[name] = guarded(lambda p=p, last=last: errors(p, last))
    return found


def folded_sheet(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey and white matter of a wavy ball, n voxels a side, grey 3 voxels thick."""
    axes = np.meshgrid(*[np.arange(n) - n / 2 + 0.3] * 3, indexing="ij")
    radius = np.linalg.norm(np.stack(axes), axis=0) + 2 * np.sin(np.arange(n) / 4)[:, None, None]
    white = np.clip(n * 0.3 - radius + 0.5, 0, 1)
    grey = np.clip(n * 0.3 + 3 - radius + 0.5, 0, 1) - white
    return grey.astype(np.float32), white.astype(np.float32)


def thickness(bench: Bench) -> dict[str, Any]:
    """DiReCT on the device against the CPU."""
    from anatcl.measures.direct import direct

    n = 40 if bench.tiny else 112
    grey, white = folded_sheet(n)
    # The default reads depths off a mesh, on the CPU, and needs scikit-image; the flow on the device is the same.
    readout = "depth" if importlib.util.find_spec("skimage") else "displacement"
    found: dict[str, Any] = {"voxels_a_side": n, "readout": readout}
    maps, threads = {}, os.cpu_count() or 1
    for device in dict.fromkeys((bench.device, "cpu")):
        for turn in ("first_s", "s") if device == "cuda" else ("s",):
            start = time.perf_counter()
            maps[device] = direct(grey, white, np.ones(3), device=device, threads=threads, readout=readout)
            found[f"{device}_{turn}"] = round(time.perf_counter() - start, 2)
    cortex = maps["cpu"] > 0
    away = np.abs(maps[bench.device] - maps["cpu"])[cortex]
    found["mean_mm"] = {device: float(m[cortex].mean()) for device, m in maps.items()}
    return found | {"largest_difference_mm": float(away.max()), "mean_difference_mm": float(away.mean())}
