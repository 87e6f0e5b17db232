"""Large contrastive batches with the memory of small ones.

Source: Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup" (GradCache, arXiv
2101.06983). All subjects are embedded without a graph, chunk by chunk; the loss of the whole batch gives the gradient
of each embedding; each chunk is then embedded again, with a graph, and takes its part of that gradient. The result is
the whole batch's gradient, at the cost of a second forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from anatcl.pretrain.outputs import Outputs, mapped


def pieces(n: int, chunk: int) -> list[slice]:
    """Consecutive chunks of at most `chunk` of n subjects, as equal as can be.

    Nobody stands alone, since BatchNorm takes its statistics over a chunk: an odd batch in pairs ends in one of three.

    >>> pieces(7, 3)
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    >>> pieces(5, 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    count = max(1, min(-(-n // chunk), n // 2))
    sizes = [n // count + (k < n % count) for k in range(count)]
    ends = [sum(sizes[: k + 1]) for k in range(count)]
    return [slice(stop - size, stop) for stop, size in zip(ends, sizes, strict=True)]


def chunked_backward(
    network: nn.Module,
    embed: Callable[[Tensor, int], Outputs],
    loss: Callable[[Outputs], Tensor],
    x: Tensor,
    chunk: int,
    views: int,
) -> None:
    """Add the gradient of a batch's loss to the network's parameters.

    Parameters
    ----------
    network : nn.Module
        Its BatchNorm layers take their statistics from a chunk, and note them in the second pass alone.
    embed : callable
        ``embed(x, k)``: outputs of chunk k, view by view (views * b, ...). It must do the same when it is called again,
        augmentation included.
    loss : callable
        Scalar of the outputs of the whole batch.
    x : Tensor of shape (B, 1, X, Y, Z)
    chunk : int
        Subjects embedded at once.
    views : int
        Views that `embed` returns for each subject.
    """
    parts = pieces(len(x), chunk)
    with torch.no_grad(), unnoted_statistics(network):
        first = [embed(x[part], k) for k, part in enumerate(parts)]
    whole = mapped(lambda *rows: _joined(rows, views).requires_grad_(), *first)
    loss(whole).backward()
    for k, part in enumerate(parts):
        outputs = embed(x[part], k)
        gradient = mapped(lambda rows, part=part: _part(_gradient(rows), views, part), whole)
        torch.autograd.backward(_tensors(outputs), _tensors(gradient))


def _joined(rows: tuple[Tensor, ...], views: int) -> Tensor:
    """Chunks (views * b, ...) as one batch (views * B, ...), view by view."""
    return torch.cat([z.reshape(views, -1, *z.shape[1:]) for z in rows], dim=1).flatten(0, 1)


def _part(rows: Tensor, views: int, part: slice) -> Tensor:
    """One chunk's rows of a batch, view by view."""
    return rows.reshape(views, -1, *rows.shape[1:])[:, part].flatten(0, 1)


def _gradient(rows: Tensor) -> Tensor:
    return torch.zeros_like(rows) if rows.grad is None else rows.grad


def _tensors(outputs: Outputs) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs.values())


@contextlib.contextmanager
def unnoted_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm layers normalise by the batch as in training, and leave their running statistics alone."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
