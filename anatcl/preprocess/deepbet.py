"""The inside of the skull by deepbet, a small network that comes with its weights in its wheel (MIT).

An optional package, run in a process of its own: ``pip install 'anatcl-workflow[deepbet]'``. It brings
``customtkinter`` for a window that this project never opens; docs/recipes.md says how to install it without.

Fisch et al., *deepbet: Fast brain extraction of T1-weighted MRI using convolutional neural networks*, Computers in
Biology and Medicine 179, 2024.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.programs import check
from anatcl.images import Volume
from anatcl.preprocess.ants import Workspace

log = logging.getLogger(__name__)
PROGRAM = Path(__file__).with_name("deepbet_program.py")
# What deepbet says where its network marks no voxel.
EMPTY = ("Not enough foreground", "argmax of an empty sequence")
WITHOUT = "set method: ants and retry and compare: none in preprocess: skullstrip (and method: ants in the recipe)"
LOOK = "Look at the scan; give its brain mask in the table preprocess: corrections (column mask), or leave it out."


def version() -> str:
    """Name and version, for sidecars.

    Raises
    ------
    InputError
        A package that it needs is not installed.
    """
    needs = ("deepbet", "cc3d", "fill_voids", "tqdm")
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"deepbet was asked for, but {', '.join(missing)} is not installed.",
            None,
            f"pip install 'anatcl-workflow[deepbet]' (conda: envs/preprocess.yaml has it), or {WITHOUT}.",
        )
    return f"deepbet {metadata.version('deepbet')}"


def cranium(room: Workspace, scan: Volume, device: str = "auto") -> NDArray:
    """The inside of the skull, cortical CSF included.

    Parameters
    ----------
    room : Workspace
        Its folder and its number of threads are used; the call is kept in its `calls`.
    scan : Volume
    device : str
        ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        One component without holes.

    Raises
    ------
    InputError
        The package is not installed, or the network finds no brain.
    RuntimeError
        The process failed; the message holds its last words.
    """
    name = version()
    room.put("deepbet.nii.gz", scan)
    words = ["deepbet.nii.gz", "deepbet_mask.nii.gz", device, str(room.threads)]
    log.info("deepbet %s", " ".join(words))
    start = time.monotonic()
    done = _started(words, room.folder)
    if done.returncode:
        _raise(done)
    mask = room.get("deepbet_mask.nii.gz").data > 0.5
    if not mask.any():
        raise InputError("no plausible brain was found (deepbet's mask is empty).", None, LOOK)
    where = done.stdout.strip()
    call = f"{name} on {where}: deepbet {' '.join(words)}"
    room.calls.append({"interface": "deepbet", "command": call, "seconds": time.monotonic() - start})
    return mask


def _started(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program beside this file to its end."""
    return subprocess.run(
        [sys.executable, "-P", str(PROGRAM), *words], cwd=folder, capture_output=True, text=True, check=False
    )


def _raise(done: subprocess.CompletedProcess[str]) -> None:
    """Say why deepbet made no mask.

    Raises
    ------
    InputError
        It found no brain, or there is no GPU.
    Killed, RuntimeError
        Anything else.
    """
    last = (done.stdout + done.stderr)[-1500:]
    if any(words in last for words in EMPTY):
        raise InputError("no plausible brain was found (deepbet marks no voxel).", None, LOOK)
    if "no CUDA device" in last:
        raise InputError("deepbet was to run on a GPU, and no CUDA device is available.", None, "Set device: auto.")
    check("deepbet", done.returncode, last)
