"""Run greedy's deformable registration once, in the folder of its files: ``python greedy_program.py job.json 1``.

The number is that of the threads. The job holds greedy's own words (``command``), the affine that the registration
begins with (``affine``, 4 x 4, RAS, fixed points to moving points; the command knows it as ``affine.mat``), the names
that the command gives its two warps (``warp``, ``inverse_warp``), and those of the two composite transforms to write
(``forward``, ``inverse``): ITK ``.h5`` files, as antsRegistration writes them.

This file is run by its path, in a process of its own, so that memory and threads end with it; it imports nothing from
the package.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np


def itk_affine(matrix):
    """A RAS matrix (4 x 4) as ITK's transform, which thinks in LPS."""
    import SimpleITK as sitk

    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ matrix @ flip
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel().tolist())
    affine.SetTranslation(lps[:3, 3].tolist())
    return affine


def field(name):
    """A warp on disk (LPS offsets in mm) as ITK's transform."""
    import SimpleITK as sitk

    return sitk.DisplacementFieldTransform(sitk.ReadImage(name, sitk.sitkVectorFloat64))


def composite(transforms, path):
    """Write transforms as one file; the last of the list is applied to a point first."""
    import SimpleITK as sitk

    sitk.WriteTransform(sitk.CompositeTransform(transforms), path)


def main(job):
    """Register, then write both composites."""
    from picsl_greedy import GreedyFloat3D

    matrix = np.array(job["affine"])
    np.savetxt("affine.mat", matrix, fmt="%.12g")
    GreedyFloat3D().execute(job["command"])
    affine = itk_affine(matrix)
    composite([affine, field(job["warp"])], job["forward"])
    composite([field(job["inverse_warp"]), affine.GetInverse()], job["inverse"])


if __name__ == "__main__":
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = sys.argv[2]
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
