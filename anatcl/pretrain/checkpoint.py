"""Everything a run needs to go on as if it had never stopped.

A checkpoint belongs to an *identity*: all that shapes the numbers of a training (method, options, data, precision, code
of the loss, the network and the loop), and nothing else. A run takes up a checkpoint of its own identity only. One of
another identity is set aside under a name of its own, and taken up again by a run that it fits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import pickle
import re
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from anatcl.base.files import atomic_path

log = logging.getLogger(__name__)
LAST = "last.ckpt"
DIGEST = re.compile("[0-9a-f]{12}([0-9a-f]{52})?")


def fingerprint(identity: dict[str, str]) -> str:
    """Digest of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def plain(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """An identity of one level: nested keys joined by blanks, values as JSON text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= plain(value, f"{prefix}{key} ")
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return found


def digest(tensor: torch.Tensor) -> str:
    """Digest of a tensor's values."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load(folder: Path, identity: dict[str, str], epochs: int, main: bool = True) -> dict[str, Any] | None:
    """Return the state of the folder's checkpoint that fits a run, or None when there is none.

    ``weights_only=True``: nothing in a file can run code. A ``last.ckpt`` that does not fit is set aside, never lost.

    Parameters
    ----------
    folder : Path
    identity : dict of str to str
        What shapes the run.
    epochs : int
        Epochs of the run; a checkpoint of more does not fit.
    main : bool
        Whether this process is the one of its world that may rename files.
    """
    last, word = folder / LAST, fingerprint(identity)[:8]
    state = read(last) if last.is_file() else None
    if state and misfits(state, identity, epochs) == []:
        return state
    if last.is_file() and main:
        set_aside(last, state, misfits(state, identity, epochs) if state else [])
    for path in sorted(folder.glob(f"last.{word}*.ckpt")):
        state = read(path)
        if state and misfits(state, identity, epochs) == []:
            log.info("%s fits this run and is resumed", path)
            return state
    return None


def misfits(state: dict[str, Any], identity: dict[str, str], epochs: int) -> list[str]:
    """Why a checkpoint does not fit a run, as phrases; empty when it does."""
    if state.get("fingerprint") != fingerprint(identity):
        return differences(state.get("identity"), identity) or ["its fingerprint"]
    done = state["progress"]["epoch"]
    return [f"epochs (was trained for {done}, is {epochs})"] if done > epochs else []


def read(path: Path) -> dict[str, Any] | None:
    """The content of a checkpoint; None when it cannot be read or is not a checkpoint of ours."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        log.warning("%s cannot be read (%s)", path, " ".join(str(error).split())[:200])
        return None
    return state if isinstance(state, dict) else None


def set_aside(path: Path, state: dict[str, Any] | None, reasons: list[str]) -> Path:
    """Give a checkpoint that does not fit another name, and say why; no file is ever overwritten.

    Returns
    -------
    Path
        ``last.<first digits of its fingerprint>.ckpt``, with a number where that name is taken.
    """
    word = str(state.get("fingerprint", "unknown"))[:8] if state else "damaged"
    names = itertools.chain([f"last.{word}.ckpt"], (f"last.{word}-{n}.ckpt" for n in itertools.count(2)))
    target = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(target)
    if state is None:
        log.warning("%s cannot be used and is kept as %s. The training starts from the beginning.", path, target.name)
        return target
    done = state.get("progress", {})
    log.warning(
        "%s (epoch %s, step %s) belongs to another training and is kept as %s. Different in this run: %s. The training "
        "starts from the beginning. To continue from the old checkpoint, restore these values and run again.",
        *(path, done.get("epoch", "?"), done.get("step", "?"), target.name, "; ".join(reasons)),
    )
    return target


def differences(old: Any, new: dict[str, str]) -> list[str]:
    """What two identities do not share, as phrases; digests are not shown."""
    if not isinstance(old, dict):
        return ["the version of this program (not recorded in the checkpoint)"]
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key, "nothing"), new.get(key, "nothing")
        if before != after:
            digests = DIGEST.fullmatch(before) or DIGEST.fullmatch(after)
            found.append(key if digests else f"{key} (was {before}, is {after})")
    return found


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
