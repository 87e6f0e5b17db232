"""Part of ``benchmarks/gpu.py`` on the first layers: forms of the first convolution and of the max-pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anatcl.models.pool import placed_max_pool, sliced_max_pool
from anatcl.models.stem import (
    SpaceToDepthConv3d,
    space_to_depth,
    space_to_depth_convolution,
    space_to_depth_weight,
    unfolded_convolution,
)
from anatcl.pretrain.device import applied, resolve
from benchmarks.gpu_common import Bench, guarded

Form = Callable[[Tensor, Tensor], Tensor]


def plain(x: Tensor, weight: Tensor) -> Tensor:
    """Torch's own."""
    return F.conv3d(x, weight, stride=2, padding=3)


def padded(x: Tensor) -> Tensor:
    """Zeros as the forms of the first convolution need them."""
    behind = [2 + n % 2 for n in reversed(x.shape[2:])]
    return F.pad(x, [n for back in behind for n in (4, back)])


def sixteen_channels(x: Tensor, weight: Tensor) -> Tensor:
    """The 4x4x4 form with as many channels of zeros again."""
    x, weight = space_to_depth(padded(x)), space_to_depth_weight(weight)
    x = F.pad(x.movedim(1, -1), [0, x.shape[1]]).movedim(-1, 1)
    return F.conv3d(x, F.pad(weight, [0] * 6 + [0, weight.shape[1]]))


def unfolded_in_3d(x: Tensor, weight: Tensor) -> Tensor:
    """The last axis unfolded: 32 channels of a 4x4x1 kernel."""
    x = padded(x).unfold(4, 8, 2)  # N, C, X, Y, Z', 8
    n, c, a, b, z, _ = x.shape
    x = x.reshape(n, c, a // 2, 2, b // 2, 2, z, 8).permute(0, 2, 4, 6, 1, 3, 5, 7)
    x = x.reshape(n, a // 2, b // 2, z, 32 * c).movedim(-1, 1)
    w = F.pad(weight, [1, 0] * 3).reshape(len(weight), c, 4, 2, 4, 2, 8).permute(0, 1, 3, 5, 6, 2, 4)
    return F.conv3d(x, w.reshape(len(weight), 32 * c, 4, 4, 1))


def unfolded_twice(x: Tensor, weight: Tensor) -> Tensor:
    """Two axes unfolded: 128 channels of a kernel of 4 along the third."""
    x = padded(x).unfold(2, 8, 2).unfold(3, 8, 2)  # N, C, X', Y', Z, 8, 8
    n, c, a, b, z, _, _ = x.shape
    x = x.reshape(n, c, a, b, z // 2, 2, 8, 8).permute(0, 2, 3, 4, 1, 5, 6, 7)
    x = x.reshape(n * a, b, z // 2, 128 * c).movedim(-1, 1)
    w = F.pad(weight, [1, 0] * 3).reshape(len(weight), c, 8, 8, 4, 2).permute(0, 1, 5, 2, 3, 4)
    out = F.conv2d(x, w.reshape(len(weight), 128 * c, 1, 4)).movedim(1, -1)
    return out.reshape(n, a, *out.shape[1:]).movedim(-1, 1)


def matrix_product(x: Tensor, weight: Tensor) -> Tensor:
    """All axes unfolded: one matrix product, which writes every voxel 64 times."""
    x = padded(x).unfold(2, 8, 2).unfold(3, 8, 2).unfold(4, 8, 2)
    n, c, a, b, z = x.shape[:5]
    x = x.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(n * a * b * z, 512 * c)
    w = F.pad(weight, [1, 0] * 3).reshape(len(weight), 512 * c)
    return (x @ w.T).reshape(n, a, b, z, len(weight)).movedim(-1, 1)


STEMS: dict[str, Form] = {
    "unfolded": unfolded_convolution,
    "space-to-depth": space_to_depth_convolution,
    "space-to-depth, 16 channels": sixteen_channels,
    "unfolded in 3-D": unfolded_in_3d,
    "unfolded twice": unfolded_twice,
    "matrix product": matrix_product,
    "torch's": plain,
}
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "sliced": sliced_max_pool,
    "placed": placed_max_pool,
    "torch's": nn.MaxPool3d(3, stride=2, padding=1),
}


class Stem(SpaceToDepthConv3d):
    """The first convolution in a form by name."""

    form = "unfolded"

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, in this form."""
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        return STEMS[self.form](x, self.weight)


class Pool(nn.MaxPool3d):
    """The max-pool in a form by name."""

    form = "placed"

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, in this form."""
        return POOLS[self.form](x)


def with_forms(model: Any, stem: str, pool: str) -> Any:
    """Give a network's first layers other forms; "" leaves the product's. The weights stay."""
    for name, kind, form in (("conv1", Stem, stem), ("maxpool", Pool, pool)):
        if form:
            layer = getattr(model.encoder, name)
            layer.__class__, layer.form = kind, form
    return model


def forward_backward(bench: Bench, function: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, float]:
    """Milliseconds of a layer forward, and of its forward and backward pass."""
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


def in_bfloat16(bench: Bench, form: Form, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """A form of the convolution under autocast."""

    def call(x: Tensor) -> Tensor:
        with torch.autocast(bench.device, torch.bfloat16):
            return form(x, weight)

    return call


def stems(bench: Bench, x: Tensor, deterministic: bool) -> dict[str, Any]:
    """All forms of the first convolution, and how far each is from torch's."""
    torch.manual_seed(0)
    weight = SpaceToDepthConv3d(1, 8 if bench.tiny else 64).to(bench.device).weight
    found: dict[str, Any] = {}
    with applied(resolve(bench.device, deterministic=deterministic)):
        for name, form in STEMS.items():
            call = in_bfloat16(bench, form, weight)
            found[name] = guarded(lambda call=call: forward_backward(bench, call, x))
    return found


def pools(bench: Bench, x: Tensor) -> dict[str, Any]:
    """All forms of the pool, alone and compiled, and whether each gives torch's values and its own twice."""
    found: dict[str, Any] = {}
    with applied(resolve(bench.device)):
        exact = POOLS["torch's"](x)
        for name, form in POOLS.items():
            found[name] = guarded(lambda form=form: one_pool(bench, form, x, exact))
            if name != "torch's" and not bench.tiny:
                fast = torch.compile(form, dynamic=False)
                found[f"{name}, compiled"] = guarded(lambda fast=fast: one_pool(bench, fast, x, exact))
    return found


def one_pool(bench: Bench, form: Callable[[Tensor], Tensor], x: Tensor, exact: Tensor) -> dict[str, Any]:
    """Times of a pool, and checks of its values and gradient."""
    times: dict[str, Any] = forward_backward(bench, form, x)
    gradients = []
    for _ in range(2):
        inner = x.detach().clone().requires_grad_()
        out = form(inner)
        gradients += torch.autograd.grad(out, inner, exact.detach())
    return times | {"values_equal": torch.equal(out, exact), "gradients_equal": torch.equal(*gradients)}


def layers(bench: Bench) -> dict[str, Any]:
    """The first convolution and the pool alone, in bfloat16, channels-last."""
    x = bench.volumes().bfloat16().unsqueeze(1)
    stem = SpaceToDepthConv3d(1, 8 if bench.tiny else 64).to(bench.device)
    with torch.no_grad(), torch.autocast(bench.device, torch.bfloat16):
        inner = stem(x).relu()
    return {
        "stem, deterministic": stems(bench, x, True),
        "stem, cuDNN searches": stems(bench, x, False),
        "pool": pools(bench, inner),
    }
