"""The first layers of a 3-D ResNet in forms that suit matrix units and give the same result on every run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

BLOCK = 2  # voxels a side that become channels; the stride of the convolution
SIDES = (2, 3, 4)


class SpaceToDepthConv3d(nn.Conv3d):
    """The 7x7x7 convolution of stride 2 and padding 3, computed as a 4x4x4 one of stride 1 on 8 times the channels.

    Matrix units multiply many channels at a time, and a volume has one. So each block of 2x2x2 voxels becomes 8
    channels, and the kernel, with a slice of zeros before its first on each axis, is cut in the same way. The sums are
    the same ones in another order. Parameter, state dict and gradients are those of ``nn.Conv3d``. No padding is left
    to the convolution, so its input is never less deep than its kernel: the case that `GuardedConv3d` is there for.

    Source: the "space-to-depth" stem of MLPerf's ResNet-50 (Ying et al. 2018, arXiv 1811.06992).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=7, stride=2, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, X, Y, Z) to (N, C, ceil(X/2), ceil(Y/2), ceil(Z/2))."""
        if torch.jit.is_tracing():  # other programs get the network as published
            return super().forward(x)
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
            x = x.to(torch.get_autocast_dtype(kind))  # before the copies below, which are then half as large
        return F.conv3d(space_to_depth(_padded(x)), space_to_depth_weight(self.weight))


def _padded(x: Tensor) -> Tensor:
    """Zeros around (N, C, X, Y, Z): 4 before each axis, and as many behind as make its length even and suffice."""
    behind = [2 + x.shape[axis] % 2 for axis in reversed(SIDES)]
    return F.pad(x, [n for back in behind for n in (4, back)])


def space_to_depth(x: Tensor) -> Tensor:
    """Turn the 2x2x2 blocks of (N, C, X, Y, Z), even sides, into channels: (N, 8 C, X/2, Y/2, Z/2), channels-last."""
    n, channels = x.shape[:2]
    half = [x.shape[axis] // BLOCK for axis in SIDES]
    blocks = x.reshape(n, channels, half[0], BLOCK, half[1], BLOCK, half[2], BLOCK)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(n, *half, channels * BLOCK**3).movedim(-1, 1)


def space_to_depth_weight(weight: Tensor) -> Tensor:
    """Bring a kernel (C, C_in, 7, 7, 7) into the form (C, 8 C_in, 4, 4, 4) that belongs to `space_to_depth`."""
    return space_to_depth(F.pad(weight, [1, 0] * 3))


class SlicedMaxPool3d(nn.MaxPool3d):
    """Max-pool of size 3, stride 2, padding 1 whose backward pass is deterministic on CUDA too.

    torch's CUDA kernel adds gradients in whatever order its threads arrive. Here the maximum of three slices is taken
    along each axis in turn, last axis first. Values are those of ``nn.MaxPool3d``, and so is the voxel that receives
    the gradient: among equal maxima the first in memory order. A CPU uses torch's own kernel, deterministic there.
    """

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, X, Y, Z) to (N, C, ceil(X/2), ceil(Y/2), ceil(Z/2))."""
        if x.device.type == "cpu" or torch.jit.is_tracing():
            return super().forward(x)
        return sliced_max_pool(x)


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
