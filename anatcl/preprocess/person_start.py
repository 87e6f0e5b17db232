"""What a scan takes from its participant's mean scan: masks and a pose, then transforms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume
from anatcl.preprocess.alignment import read_itk, write_itk
from anatcl.preprocess.ants import Workspace


@dataclasses.dataclass(frozen=True)
class Start:
    """What a scan begins with where its participant has a mean scan.

    Attributes
    ----------
    align : path
        Rigid, template's points to the scan's (ITK text).
    brain, icv : path
        The template's masks.
    pose : path
        Affine, points of the cohort's template to the person's (ITK text).
    """

    align: Path
    brain: Path
    icv: Path
    pose: Path

    def masks(self, room: Workspace, scan: Volume) -> tuple[NDArray, NDArray, NDArray]:
        """Brain and intracranial mask (bool, the scan's grid) and the RAS matrix from the cohort's template to it."""
        align = read_itk(self.align)
        room.put("scan.nii", scan)
        write_itk(room.folder / "back.txt", np.linalg.inv(align))
        found = []
        for name, path in (("brain", self.brain), ("icv", self.icv)):
            room.link(f"{name}.nii.gz", path)
            found.append(room.apply(f"{name}.nii.gz", "scan.nii", ["back.txt"], f"{name}-here.nii").data > 0.5)
        return found[0], found[1], align @ read_itk(self.pose)


@dataclasses.dataclass(frozen=True)
class Carried:
    """Transforms of a participant's mean scan, which its scans reuse.

    Attributes
    ----------
    align : path
        Rigid, template's points to the scan's (ITK text).
    affine, forward, inverse : path
        As the step ``register`` wrote them for the person's template.
    """

    align: Path
    affine: Path
    forward: Path
    inverse: Path
