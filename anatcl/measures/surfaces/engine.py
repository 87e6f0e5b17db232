"""Surfaces of a hemisphere made by cat-surf: its arguments, and the process that it runs in.

cat-surf is under the GNU General Public License, version 2 or later. It is an optional extra, is run as a program
of its own and never imported here; this package stays under the MIT licence.

Dahnke, Yotter and Gaser, *Cortical thickness and central surface estimation*, NeuroImage 65, 2013; Yotter, Dahnke,
Thompson and Gaser, *Topological correction of brain surface meshes using spherical harmonics*, Human Brain Mapping 32,
2011; https://github.com/ChristianGaser/CAT-Surface
"""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, write_json
from anatcl.base.programs import check_not_killed
from anatcl.images import Volume, save
from anatcl.spec.engines import check_surface_engine

log = logging.getLogger(__name__)
PROGRAM = Path(__file__).with_name("program.py")
OPTIONS: dict[str, Any] = {
    # cat-surf adds .25 mm to every thickness by itself; this one only says where the other two surfaces begin.
    "correct_mm": 0.0,
    "thickness": {},
    # Opens sulci that a segmentation glued.
    "topology": {
        "strength_gyri_mask": 0.1,
        "strength_sulci": 1.0,
        "sulci_sheet_strength": 1.0,
        "sheet_offset": 0.2,
        "sulci_sigma_factor": 0.75,
        "sulci_cutoff": 0.2,
    },
    "faces_per_mm2": 2.4,  # as dense as FreeSurfer's
    "deform": {"w1": 0.1, "w2": 0.1, "w3": 1.0, "sigma": 0.2, "iterations": 75},
    "borders": {},
    "white": {"w1": 0.02, "w2": 0.1, "w3": 1.0, "sigma": 0.1, "iterations": 50},
    "crossings": {"max_passes": 3, "max_iters": 50},
    "sphere_steps": 6,
    "registration": {},
}
ARRAYS = ("central", "white", "pial", "sphere", "registered")


LONGEST_H = 3  # hours of a hemisphere; an ordinary one takes minutes, a map of noise has no end
NO_SURFACE = "Look at the picture of `qc`; `measures: {engine: volume}` needs no surface."


@dataclasses.dataclass(frozen=True)
class Surfaces:
    """Surfaces of one hemisphere, with the same vertices.

    Attributes
    ----------
    faces : ndarray of int, shape (F, 3)
    central, white, pial : ndarray of shape (V, 3)
        RAS+ coordinates of the scan, in mm.
    sphere, registered : ndarray of shape (V, 3)
        The sphere, and the one whose folds lie on those of fsaverage, in mm around the origin.
    thickness : ndarray of shape (V,)
        In mm; of the projection-based method as the program gives it.
    """

    faces: NDArray
    central: NDArray
    white: NDArray
    pial: NDArray
    sphere: NDArray
    registered: NDArray
    thickness: NDArray


def version() -> str:
    """Name and version, for sidecars.

    Raises
    ------
    InputError
        The package is not installed.
    """
    check_surface_engine()
    return f"cat-surf {metadata.version('cat-surf')} (GPL-2.0-or-later)"


def make(
    labels: Volume,
    template: dict[str, NDArray],
    folder: Path,
    name: str,
    options: dict[str, Any] | None = None,
) -> tuple[Surfaces, dict[str, Any]]:
    """Make the surfaces of one hemisphere.

    Parameters
    ----------
    labels : Volume
        As :func:`anatcl.measures.surfaces.filling.finer` gives it.
    template : dict
        ``surface``, ``sphere`` (T, 3) and ``faces`` of the hemisphere of fsaverage.
    folder : path
        Where files go while the program runs.
    name : str
        What they are called.
    options : dict, optional
        In the place of some of `OPTIONS`.

    Returns
    -------
    surfaces : Surfaces
    numbers : dict
        ``intersections`` of each surface, ``seconds`` of each step, ``version``.

    Raises
    ------
    InputError
        The program failed: no surface can be made of these tissues.
    """
    files = {
        "labels": f"{name}.nii",
        "template": f"{name}-template.npz",
        "out": f"{name}.npz",
        "numbers": f"{name}.json",
    }
    paths = {key: str(folder / file) for key, file in files.items()}
    save(paths["labels"], labels, np.float32)
    np.savez(paths["template"], **{k: template[k] for k in ("surface", "sphere", "faces")})  # type: ignore[arg-type]
    write_json(folder / f"{name}-job.json", paths | {"options": OPTIONS | (options or {})})
    _run(folder / f"{name}-job.json", name)
    with np.load(paths["out"]) as found:
        surfaces = Surfaces(**{field.name: found[field.name] for field in dataclasses.fields(Surfaces)})
    _check(surfaces, name)
    return surfaces, read_json(paths["numbers"])


def _run(job: Path, name: str) -> None:
    """Run the program with one thread; the order of its sums would else change its bytes."""
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", str(PROGRAM), str(job)]
    try:
        done = subprocess.run(
            command, env=surroundings, capture_output=True, text=True, check=False, timeout=3600 * LONGEST_H
        )
    except subprocess.TimeoutExpired as error:
        reason = f"cat-surf made no surface of the hemisphere {name} within {LONGEST_H} hours."
        raise InputError(reason, remedy=NO_SURFACE) from error
    check_not_killed("cat-surf", done.returncode)
    log.info("cat-surf, %s: %s", name, "; ".join(done.stdout.split("\n")[:12]))
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no words").splitlines()[-1][:300]
        reason = f"cat-surf could make no surface of the hemisphere {name} (exit {done.returncode}: {last})."
        raise InputError(reason, remedy=NO_SURFACE)


def _check(surfaces: Surfaces, name: str) -> None:
    """Raise where a surface has no vertices or a coordinate that is no number."""
    for array in (*ARRAYS, "thickness"):
        values = getattr(surfaces, array)
        if len(values) == 0 or not np.isfinite(values).all():
            reason = f"cat-surf's {array} of the hemisphere {name} is empty or not finite."
            raise InputError(reason, remedy="Look at the picture of `qc`: the tissues may be wrong.")
