"""Checkpoints of torch, read without executing what their pickles ask for."""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anatcl.base.errors import InputError

log = logging.getLogger(__name__)
KEYS = ("model", "state_dict", "model_state_dict", "network")
UNSAFE = "Do not load such a file: ask its author for safetensors."


class Inert:
    """Stands in for every class of a checkpoint that is not torch's: takes any arguments and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint (``model``, ``state_dict``, or the whole), running no code of the file.

    torch's restricted unpickler (``weights_only=True``) reads it; the names of other classes and functions, found
    without executing anything, all stand for `Inert`. Modules that can run commands are refused by torch.

    Raises
    ------
    InputError
        When the file is not a checkpoint, holds no tensors, or needs something that is refused.
    """
    path = Path(path)
    if not zipfile.is_zipfile(path):
        raise InputError("the file is not a checkpoint of torch 1.6 or later.", file=path, remedy=UNSAFE)
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if foreign:
            log.info("%s names unknown classes, replaced by empty ones: %s", path.name, ", ".join(foreign))
        with torch.serialization.safe_globals([(Inert, name) for name in foreign]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the checkpoint was refused ({_reason(error)}).", file=path, remedy=UNSAFE) from error
    state = _state(content)
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise InputError('the checkpoint holds no tensors below "model".', file=path, remedy="Give AnatCL's weights.")
    return {re.sub(r"^(module\.)?(backbone\.)?", "", name): value for name, value in tensors.items()}


def _state(content: Any) -> Any:
    """Where the tensors are: under the first of the usual keys, else at the top."""
    found = [content[key] for key in KEYS if isinstance(content, dict) and isinstance(content.get(key), dict)]
    return found[0] if found else content


def _reason(error: Exception) -> str:
    """The sentence that says why, out of torch's long message."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
