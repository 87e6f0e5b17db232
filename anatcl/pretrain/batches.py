"""Batches of volumes: order fixed by seed and epoch, read ahead of the device."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from anatcl.pretrain.arrays import PackedArrays

log = logging.getLogger(__name__)
AHEAD = 2
RESIDENT_SHARE = 0.5  # of the GPU's free memory that volumes may take for good

# Volumes, on a GPU with the event after which they are there.
Upload = tuple[Tensor, torch.cuda.Event | None]


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
    """Gives volumes on the device: from there if they fit for good, else read ahead on threads into pinned memory.

    Parameters
    ----------
    arrays : PackedArrays
    device : torch.device
    workers : int
        Volumes copied at a time.
    resident : ndarray of int, optional
        Rows to keep on a GPU for the whole run when they take less than half of its free memory.

    Attributes
    ----------
    waited : float
        Seconds that the consumer waited for volumes.
    """

    def __init__(
        self, arrays: PackedArrays, device: torch.device, workers: int = 1, resident: np.ndarray | None = None
    ) -> None:
        self.arrays = arrays
        self.device = device
        self.dtype: torch.dtype = getattr(torch, arrays.volumes.dtype.name)
        self.copiers = ThreadPoolExecutor(max(1, workers))
        self.ahead = ThreadPoolExecutor(1)
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.waited = 0.0
        self.kept: Tensor | None = None
        self.place: np.ndarray | None = None
        if resident is not None and self._fits(len(resident)):
            self._keep(resident)

    def _fits(self, n: int) -> bool:
        if self.device.type != "cuda":
            return False
        size = n * self.arrays.volumes[0].nbytes
        free, _ = torch.cuda.mem_get_info(self.device)
        return size < RESIDENT_SHARE * free

    def _keep(self, rows: np.ndarray) -> None:
        self.kept = torch.empty((len(rows), *self.arrays.shape), dtype=self.dtype, device=self.device)
        for start in range(0, len(rows), 64):
            part = self._read(rows[start : start + 64])
            self.kept[start : start + len(part)] = part.to(self.device)
        self.place = np.full(len(self.arrays.volumes), -1)
        self.place[rows] = np.arange(len(rows))
        log.info("%d volumes stay on the GPU (%.1f GB)", len(rows), self.kept.nbytes / 1e9)

    def _read(self, rows: np.ndarray) -> Tensor:
        stored = self.arrays.volumes
        buffer = torch.empty((len(rows), *stored.shape[1:]), dtype=self.dtype, pin_memory=self.device.type == "cuda")
        view = buffer.numpy()

        def copy(i: int) -> None:
            view[i] = stored[rows[i]]

        list(self.copiers.map(copy, range(len(rows))))
        return buffer

    def to_device(self, stored: Tensor) -> Tensor:
        """Move stored volumes (B, X, Y, Z) to the device as true float32 values (B, 1, X, Y, Z)."""
        x = stored.to(self.device, non_blocking=True).float()
        if self.arrays.scale != 1.0:
            x = x * self.arrays.scale
        return x.unsqueeze(1)

    def batches(self, rows: Sequence[np.ndarray]) -> Iterator[Tensor]:
        """Yield one tensor (B, 1, X, Y, Z) for each array of row numbers."""
        if self.kept is not None and self.place is not None:
            for batch in rows:
                where = torch.from_numpy(self.place[batch]).to(self.device, non_blocking=True)
                yield self.to_device(self.kept[where])
            return
        waiting: deque[Future[Upload]] = deque()
        todo = iter(rows)
        for _ in range(AHEAD):
            self._submit(waiting, todo)
        while waiting:
            self._submit(waiting, todo)
            start = time.perf_counter()
            stored, copied = waiting.popleft().result()
            self.waited += time.perf_counter() - start
            if copied is not None:
                here = torch.cuda.current_stream(self.device)
                here.wait_event(copied)
                stored.record_stream(here)
            yield self.to_device(stored)

    def _submit(self, waiting: deque[Future[Upload]], todo: Iterator[np.ndarray]) -> None:
        batch = next(todo, None)
        if batch is not None:
            waiting.append(self.ahead.submit(self._upload, batch))

    def _upload(self, rows: np.ndarray) -> Upload:
        """Read volumes and, on a GPU, start their copy beside whatever the device computes."""
        stored = self._read(rows)
        if self.copies is None:
            return stored, None
        with torch.cuda.stream(self.copies):
            return stored.to(self.device, non_blocking=True), self.copies.record_event()

    def close(self) -> None:
        """Stop the threads."""
        self.ahead.shutdown(cancel_futures=True)
        self.copiers.shutdown(cancel_futures=True)
