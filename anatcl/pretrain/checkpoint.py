"""Everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from anatcl.base.files import atomic_path

log = logging.getLogger(__name__)


def fingerprint(parameters: dict[str, Any]) -> str:
    """Digest of what shapes a run; a checkpoint of another fingerprint is not resumed."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).hexdigest()


def digest(tensor: torch.Tensor) -> str:
    """Digest of a tensor's values."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load(path: Path, expected: str) -> dict[str, Any] | None:
    """Return the checkpoint's state, or None when there is none that fits.

    ``weights_only=True``: nothing in the file can run code.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        log.warning("%s cannot be read (%s); the run starts anew", path, error)
        return None
    if state.get("fingerprint") != expected:
        log.info("%s belongs to other parameters or data; the run starts anew", path)
        return None
    return state


def random_state() -> dict[str, Any]:
    """State of torch's generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


class StopSignal:
    """Notes SIGTERM and SIGUSR1 (sent by SLURM before it takes the node) so that the loop can stop between steps."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: a library user's affair
                log.debug("signals are not caught outside the main thread")
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
