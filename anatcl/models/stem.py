"""The first convolution of a 3-D ResNet in forms that suit matrix units."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 2  # voxels a side that become channels; the stride of the convolution
TAPS = 8  # of the kernel along an axis, with the zeros before its first
SIDES = (2, 3, 4)


class SpaceToDepthConv3d(nn.Conv3d):
    """The 7x7x7 convolution of stride 2 and padding 3, computed as one of stride 1 on more channels.

    Matrix units multiply many channels at a time, and a volume has one. So each block of 2x2x2 voxels becomes 8
    channels, and the kernel, with a slice of zeros before its first on each axis, is cut in the same way: 4x4x4. On
    CUDA the first axis is unfolded as well: 8x2x2 voxels become 32 channels of a 4x4 kernel in two dimensions, for
    which cuDNN has better kernels. The sums are the same ones in another order. Parameter, state dict and gradients are
    those of ``nn.Conv3d``. No padding is left to the convolution, so its input is never less deep than its kernel: the
    case that `GuardedConv3d` is there for.

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
        # Without matrix units the plain form is faster; its kernel fails on inputs less deep than itself.
        if kind == "cpu" and x.dtype != torch.bfloat16 and min(x.shape[2:]) > self.kernel_size[0]:
            return super().forward(x)
        form = unfolded_convolution if kind == "cuda" else space_to_depth_convolution
        return form(x, self.weight)


def space_to_depth_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C_in, X, Y, Z) with a 7x7x7 kernel, stride 2, padding 3, as 4x4x4 on 8 times the channels."""
    return F.conv3d(space_to_depth(_padded(x)), space_to_depth_weight(weight))


def unfolded_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C_in, X, Y, Z) with a 7x7x7 kernel, stride 2, padding 3, as 4x4 on 32 times the channels.

    Every slice along the first axis of the output is an image of its own, made of the 8 slices around it.
    """
    x = _padded(x)
    n, channels, _, y, z = x.shape
    taps = x.unfold(2, TAPS, BLOCK)
    slices, y, z = taps.shape[2], y // BLOCK, z // BLOCK
    blocks = taps.reshape(n, channels, slices, y, BLOCK, z, BLOCK, TAPS).permute(0, 2, 3, 5, 1, 7, 4, 6)
    images = blocks.reshape(n * slices, y, z, channels * TAPS * BLOCK**2).movedim(-1, 1)
    out = F.conv2d(images, unfolded_weight(weight)).movedim(1, -1)
    return out.reshape(n, slices, *out.shape[1:]).movedim(-1, 1)


def unfolded_weight(weight: Tensor) -> Tensor:
    """Bring a kernel (C, C_in, 7, 7, 7) into the form (C, 32 C_in, 4, 4) of `unfolded_convolution`."""
    out, channels = weight.shape[:2]
    half = TAPS // BLOCK
    taps = F.pad(weight, [1, 0] * 3).reshape(out, channels, TAPS, half, BLOCK, half, BLOCK)
    return taps.permute(0, 1, 2, 4, 6, 3, 5).reshape(out, channels * TAPS * BLOCK**2, half, half)


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
