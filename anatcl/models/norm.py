"""Batch statistics over all processes, also on CPUs (torch's SyncBatchNorm refuses CPU tensors)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist


class _SumOverRanks(torch.autograd.Function):
    """All-reduced sum whose gradient is all-reduced too: every rank's result depends on every rank's input."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


class CrossProcessBatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` whose statistics are those of the batch of all ranks; same parameters and buffers.

    Two reductions a layer (sum and count, then squared deviations): slower than one, but without the cancellation of
    ``E[x^2] - E[x]^2``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, X, Y, Z) over all ranks' N, X, Y, Z."""
        if not self.training:
            return super().forward(x)
        values = x if x.dtype == torch.float64 else x.float()
        axes = (0, 2, 3, 4)
        count = values.new_full((1,), float(values.numel() // values.shape[1]))
        sums = _SumOverRanks.apply(torch.cat([values.sum(axes), count]))
        n = sums[-1].detach()
        mean = sums[:-1] / n
        centred = values - mean.view(1, -1, 1, 1, 1)
        variance = _SumOverRanks.apply(centred.square().sum(axes)) / n
        self._update(mean.detach(), variance.detach() * n / (n - 1).clamp_min(1))
        out = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1, 1)
        if self.affine:
            out = out * self.weight.view(1, -1, 1, 1, 1) + self.bias.view(1, -1, 1, 1, 1)
        return out.to(x.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def synchronise_batchnorm(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm3d by one that shares statistics over ranks: torch's on CUDA, ours elsewhere."""
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = CrossProcessBatchNorm3d
    return model
