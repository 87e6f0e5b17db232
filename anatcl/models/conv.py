"""A way round wrong bfloat16 weight gradients of 3-D convolutions on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GuardedConv3d(nn.Conv3d):
    """`nn.Conv3d` that computes in float32 where oneDNN's bfloat16 kernel returns a wrong weight gradient.

    With oneDNN 3.12 (torch 2.13) ``jit_bf16:avx512_core_bf16`` backward-by-weights is wrong when the input is less
    deep than the kernel: at depth 2 for a kernel of 3, at 2 to 6 for one of 7 (``benchmarks/bf16_gradients.py``).
    Slices of the kernel's gradient are computed wrongly or never written, so that they hold whatever the memory held
    before (zeros in fresh pages, old numbers or NaN in pages used again). A 3-D ResNet meets depth 2 in its third stage
    when the volume's first axis has 17 to 32 voxels and in its fourth with 33 to 64. Such layers are small: float32
    there costs next to nothing. Parameters, names and results elsewhere are those of `nn.Conv3d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, X, Y, Z) to (N, C, X', Y', Z')."""
        if x.device.type != "cpu" or not _in_bfloat16(x) or x.shape[2] >= self.kernel_size[0]:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return self._conv_forward(x.float(), self.weight.float(), bias).bfloat16()


def _in_bfloat16(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 or (x.dtype == torch.float32 and torch.is_autocast_enabled("cpu"))


def guard_convolutions(model: nn.Module) -> nn.Module:
    """Replace every Conv3d of `model` by `GuardedConv3d`, in place; names and weights stay."""
    for module in model.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = GuardedConv3d
    return model
