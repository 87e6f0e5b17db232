"""Deformable registration by greedy (``picsl-greedy``), for cross-correlation in less time than with ANTs.

Same metric (NCC), one-sided instead of symmetric; the transforms are written as ITK composites, so that
antsApplyTransforms and every later step read them as they read ANTs'. An optional package:
``pip install anatcl-workflow[greedy]``.

Yushkevich et al., *Fast automatic segmentation of hippocampal subfields and medial temporal lobe subregions in 3 Tesla
and 7 Tesla T2-weighted MRI*, Alzheimer's & Dementia 12, 2016; https://greedy.readthedocs.io
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.files import write_json
from anatcl.base.programs import check
from anatcl.preprocess.alignment import read_matrix
from anatcl.preprocess.ants import Workspace

log = logging.getLogger(__name__)
PROGRAM = Path(__file__).with_name("greedy_program.py")


def version() -> str:
    """Name and version, for sidecars.

    Raises
    ------
    InputError
        The package is not installed.
    """
    missing = [name for name in ("picsl_greedy", "SimpleITK") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the registration engine greedy was asked for, but {' and '.join(missing)} is not installed.",
            None,
            "pip install 'anatcl-workflow[greedy]', or set preprocess: deformable: ants.",
        )
    return f"picsl-greedy {metadata.version('picsl-greedy')}"


def command(
    fixed: str, moving: str, settings: dict[str, Any], prefix: str, mask: str, threads: int = 1, seed: int = 0
) -> str:
    """Arguments of greedy for one registration; the program beside it writes the affine as ``affine.mat``."""
    radius = "x".join([str(settings["radius"])] * 3)
    levels = "x".join(str(n) for n in settings["iterations"])
    update, total = settings["smoothing_vox"]
    return " ".join(
        [
            # Greedy adds a little noise to flat patches; seed 0 means the clock. Its warps are rounded unless -wp is 0.
            f"-d 3 -threads {threads} -seed {seed + 1} -wp 0 -i {fixed} {moving} -it affine.mat",
            f"-m NCC {radius} -n {levels} -s {update}vox {total}vox -e {settings['step']}",
            *(["-sv"] if settings["stationary"] else []),
            *([f"-gm {mask}"] if mask else []),
            f"-o {prefix}warp.nii.gz -oinv {prefix}inverse.nii.gz",
        ]
    )


def deformable(
    room: Workspace, fixed: str, moving: str, start: str, settings: dict[str, Any], prefix: str, mask: str = ""
) -> tuple[str, str]:
    """Register as :func:`anatcl.preprocess.registration.deformable` does, with greedy.

    Parameters
    ----------
    room : Workspace
    fixed, moving : str
        Names of the images in the workspace.
    start : str
        Name of the affine (ITK ``.mat``) to begin with.
    settings : dict
        ``radius`` of the NCC patch (voxels), ``iterations`` of the levels (each half as coarse as the one before),
        ``smoothing_vox`` of the update and of the whole warp (voxels), ``step`` (largest move of an update, voxels),
        ``stationary`` (the warp is the exponential of one velocity field, hence invertible).

    Returns
    -------
    tuple of str
        Names of the composite transforms: moving image onto the fixed grid, and back.

    Raises
    ------
    RuntimeError
        Greedy failed; the message holds its last words.
    """
    words = command(fixed, moving, settings, prefix, mask, room.threads, room.seed)
    forward, inverse = f"{prefix}Composite.h5", f"{prefix}InverseComposite.h5"
    job = {
        "command": words,
        "affine": read_matrix(room.folder / start).tolist(),
        "warp": f"{prefix}warp.nii.gz",
        "inverse_warp": f"{prefix}inverse.nii.gz",
        "forward": forward,
        "inverse": inverse,
    }
    write_json(room.folder / f"{prefix}job.json", job)
    log.info("greedy %s", words)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), f"{prefix}job.json", str(room.threads)],
        cwd=room.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    check("greedy", done.returncode, (done.stdout + done.stderr)[-1500:])
    room.calls.append({"interface": "greedy", "command": f"greedy {words}", "seconds": time.monotonic() - begin})
    return forward, inverse
