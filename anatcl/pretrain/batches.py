"""Batches of volumes: order fixed by seed and epoch, read ahead of the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from anatcl.pretrain.arrays import PackedArrays

AHEAD = 2


def epoch_order(n: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Return which items go into which batch of an epoch.

    The order depends on `seed` and `epoch` alone, so a resumed run needs to know only how many batches are done.
    Items that do not fill the last batch sit out this epoch, unless there is no full batch at all.

    Returns
    -------
    ndarray of shape (batches, size), int
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    size = min(batch_size, n)
    return order[: n // size * size].reshape(-1, size)


class Reader:
    """Reads rows of the packed volumes into pinned memory on a thread, ahead of the device.

    Parameters
    ----------
    arrays : PackedArrays
    device : torch.device
    workers : int
        Rows copied at a time.
    """

    def __init__(self, arrays: PackedArrays, device: torch.device, workers: int = 1) -> None:
        self.arrays = arrays
        self.device = device
        self.pool = ThreadPoolExecutor(max(1, workers))
        self.pin = device.type == "cuda"

    def _read(self, rows: np.ndarray) -> Tensor:
        stored = self.arrays.volumes
        buffer = torch.empty((len(rows), *stored.shape[1:]), dtype=_dtype(stored.dtype), pin_memory=self.pin)
        view = buffer.numpy()
        for i, row in enumerate(rows):
            view[i] = stored[row]
        return buffer

    def to_device(self, stored: Tensor) -> Tensor:
        """Move stored volumes (B, X, Y, Z) to the device as true float32 values (B, 1, X, Y, Z)."""
        x = stored.to(self.device, non_blocking=True).float()
        if self.arrays.scale != 1.0:
            x = x * self.arrays.scale
        return x.unsqueeze(1)

    def batches(self, rows: Sequence[np.ndarray]) -> Iterator[Tensor]:
        """Yield one tensor (B, 1, X, Y, Z) for each array of row numbers, reading `AHEAD` batches ahead."""
        waiting: deque[Future[Tensor]] = deque()
        todo = iter(rows)
        for batch in todo:
            waiting.append(self.pool.submit(self._read, batch))
            if len(waiting) > AHEAD:
                break
        while waiting:
            stored = waiting.popleft().result()
            following = next(todo, None)
            if following is not None:
                waiting.append(self.pool.submit(self._read, following))
            yield self.to_device(stored)

    def close(self) -> None:
        """Stop the threads."""
        self.pool.shutdown(cancel_futures=True)


def _dtype(dtype: np.dtype) -> torch.dtype:
    return {"float16": torch.float16, "uint8": torch.uint8, "float32": torch.float32}[dtype.name]
