"""Pools whose backward pass gives the same result on every run: the max-pool of a ResNet, and the last one."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SIDES = (2, 3, 4)
WINDOW = list(itertools.product(range(3), repeat=3))  # in memory order


class MeanPool3d(nn.Module):
    """The last pool of an encoder: means over a fixed grid of cells, those of ``nn.AdaptiveAvgPool3d``.

    torch's own has no deterministic backward pass on CUDA; sums over slices have. A side shorter than the grid lends
    its voxels to several cells.

    Parameters
    ----------
    cells : int
        Cells along each axis; 1 is the global average.
    """

    def __init__(self, cells: int = 1) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, X, Y, Z) to (N, C * cells^3): channel by channel, the last axis fastest."""
        if self.cells == 1:
            return x.mean(dim=SIDES)
        for axis in SIDES:
            side = int(x.shape[axis])  # a traced size would be divided as ONNX does it, towards zero
            x = torch.stack([x.narrow(axis, *span).mean(axis) for span in _spans(side, self.cells)], axis)
        return x.flatten(1)


def _spans(side: int, cells: int) -> list[tuple[int, int]]:
    """First voxel and length of each cell along an axis of `side` voxels."""
    ends = [(k * side // cells, -(-(k + 1) * side // cells)) for k in range(cells)]
    return [(start, stop - start) for start, stop in ends]


class DeterministicMaxPool3d(nn.MaxPool3d):
    """Max-pool of size 3, stride 2, padding 1 whose backward pass is deterministic on CUDA too.

    torch's CUDA kernel adds gradients in whatever order its threads arrive. Values are those of ``nn.MaxPool3d``, and
    so is the voxel that receives the gradient: among equal maxima the first in memory order. Inside a compiled network
    it is `placed_max_pool`, which becomes one kernel each way; outside it is `sliced_max_pool`, of few passes over
    memory. A CPU uses torch's own kernel, deterministic there.
    """

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, X, Y, Z) to (N, C, ceil(X/2), ceil(Y/2), ceil(Z/2))."""
        if torch.jit.is_tracing() or (x.device.type == "cpu" and x.requires_grad):
            return super().forward(x)
        if x.device.type == "cpu":  # autocast would widen bfloat16 first: the same maxima of twice the memory
            with torch.autocast("cpu", enabled=False):
                return super().forward(x)
        return placed_max_pool(x) if torch.compiler.is_compiling() else sliced_max_pool(x)


def placed_max_pool(x: Tensor) -> Tensor:
    """Max-pool (N, C, X, Y, Z) over 3x3x3 voxels with stride 2 and padding 1; meant for a compiler."""
    return _PlacedMax.apply(x)


class _PlacedMax(torch.autograd.Function):
    """Maximum of each window and its place there; each voxel then collects from the windows that it is in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, place = _maximum_and_place(x)
        ctx.save_for_backward(place)
        ctx.sides = [x.shape[axis] for axis in SIDES]
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        return _collected(grad, place, ctx.sides)


def _maximum_and_place(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima (N, C, X', Y', Z') and which of the window's 27 voxels holds each, uint8."""
    n = [(x.shape[axis] + 1) // 2 for axis in SIDES]
    padded = F.pad(x, [1] * 6, value=float("-inf"))
    value = padded[..., 0 : 2 * n[0] : 2, 0 : 2 * n[1] : 2, 0 : 2 * n[2] : 2]
    place = torch.zeros_like(value, dtype=torch.uint8)
    for number, (i, j, k) in enumerate(WINDOW[1:], 1):
        other = padded[..., i : i + 2 * n[0] - 1 : 2, j : j + 2 * n[1] - 1 : 2, k : k + 2 * n[2] - 1 : 2]
        found = (other > value) | other.isnan()
        value, place = torch.where(found, other, value), torch.where(found, number, place).to(torch.uint8)
    return value, place


def _collected(grad: Tensor, place: Tensor, sides: list[int]) -> Tensor:
    """Gradient of the input: an even voxel is in one window along an axis, an odd one in two."""
    total: Tensor | None = None
    axes = [_windows(side, n, grad.device) for side, n in zip(sides, grad.shape[2:], strict=True)]
    for x, y, z in itertools.product(*axes):
        (i, offset_i, some_i), (j, offset_j, some_j), (k, offset_k, some_k) = x, y, z
        where = (slice(None), slice(None), i[:, None, None], j[:, None], k)
        number = offset_i[:, None, None] * 9 + offset_j[:, None] * 3 + offset_k
        mine = (place[where] == number) & (some_i[:, None, None] & some_j[:, None] & some_k)
        part = torch.where(mine, grad[where].float() if grad.dtype.itemsize < 4 else grad[where], 0)
        total = part if total is None else total + part
    assert total is not None
    return total.to(grad.dtype)


def _windows(side: int, n: int, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each of `side` voxels along an axis: the first and the second of its windows, its offset there, if any."""
    at = torch.arange(side, device=device)
    first, odd = at // 2, at % 2 == 1
    second = (first + 1).clamp_max(n - 1)
    return [
        (first, 1 + at % 2, torch.ones_like(odd)),
        (second, torch.zeros_like(at), odd & (first + 1 < n)),
    ]


def sliced_max_pool(x: Tensor) -> Tensor:
    """Max-pool (N, C, X, Y, Z) over 3x3x3 voxels with stride 2 and padding 1."""
    for axis in reversed(SIDES):
        x = _MaxOfThree.apply(x, axis)
    return x


class _MaxOfThree(torch.autograd.Function):
    """Maximum of voxels 2k-1, 2k and 2k+1 along one axis; the first of equal ones receives the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int) -> Tensor:
        even, before, after = _taps(x, axis)
        out = even.clone()
        _tail(out, axis).clamp_(min=before)
        out.narrow(axis, 0, after.shape[axis]).clamp_(min=after)
        ctx.save_for_backward(x, out)
        ctx.axis = axis
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, out = ctx.saved_tensors
        axis = ctx.axis
        even, before, after = _taps(x, axis)
        found = torch.empty_like(x)
        to_even, to_before, to_after = _taps(found, axis)
        zero, n_after = grad.new_zeros(()), after.shape[axis]
        is_before = _tail(out, axis) == before
        rest = grad.clone()
        _tail(rest, axis).masked_fill_(is_before, 0)
        is_even = out == even
        _put(to_even, is_even, rest, zero)
        _put(to_after, is_even.narrow(axis, 0, n_after), zero, rest.narrow(axis, 0, n_after))
        to_before.add_(torch.where(is_before, _tail(grad, axis), zero))
        return found, None


def _taps(x: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views of the voxels 2k (all k), 2k-1 (k from 1) and 2k+1 (k as long as there are voxels) along one axis."""
    pick = [slice(None)] * x.ndim
    pick[axis] = slice(0, None, 2)
    even = x[tuple(pick)]
    pick[axis] = slice(1, None, 2)
    odd = x[tuple(pick)]
    return even, odd.narrow(axis, 0, even.shape[axis] - 1), odd


def _tail(x: Tensor, axis: int) -> Tensor:
    """Everything but the first slice along one axis."""
    return x.narrow(axis, 1, x.shape[axis] - 1)


def _put(target: Tensor, where: Tensor, one: Tensor, other: Tensor) -> None:
    """Write `one` where the condition holds and `other` elsewhere into a view, in one pass outside of compilers."""
    if torch.compiler.is_compiling():
        target.copy_(torch.where(where, one, other))
    else:
        torch.where(where, one, other, out=target)
