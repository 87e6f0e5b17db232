"""The plain ANTs way, through antspyx: N4, brain extraction, full-resolution SyN with cross-correlation.

One process per step, as ``python -m benchmarks.rival_ants <step> <folder>``; files of fixed names in the folder:
``raw.nii.gz``, and of the template ``head.nii.gz``, ``brain.nii.gz``, ``brain_mask.nii.gz``. Settings are those of the
scripts that come with ANTs: N4 at shrink 4; antsBrainExtraction.sh (N4, affine and SyN 50x10x0 on the image and its
Laplacian, CC radius 4, Atropos with three classes, morphology); antsRegistrationSyN.sh (MI rigid and affine, SyN
100x70x50x20, CC radius 4).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def bias_correct(folder: Path, ants: Any) -> None:
    """N4 with its default of four levels at shrink 4."""
    image = ants.image_read(str(folder / "raw.nii.gz"))
    corrected = ants.n4_bias_field_correction(image, shrink_factor=4)
    ants.image_write(corrected, str(folder / "corrected.nii.gz"))


def brain_extraction(folder: Path, ants: Any) -> None:
    """The template's mask by affine and coarse SyN, then three tissue classes and morphology."""
    image, head, mask = (ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("corrected", "head", "brain_mask"))
    image = ants.iMath_truncate_intensity(image, 0.01, 0.999)
    affine = ants.registration(fixed=head, moving=image, type_of_transform="antsRegistrationSyN[a]")
    laplacians = [ants.iMath(one, "Laplacian", 1.5, 1) for one in (head, image)]
    deformed = ants.registration(
        fixed=head,
        moving=image,
        type_of_transform="SyNOnly",
        initial_transform=affine["fwdtransforms"][0],
        syn_metric="CC",
        syn_sampling=4,
        reg_iterations=(50, 10, 0),
        grad_step=0.1,
        multivariate_extras=[["CC", *laplacians, 0.5, 4]],
    )
    carried = ants.apply_transforms(fixed=image, moving=mask, transformlist=deformed["invtransforms"])
    rough = ants.get_mask(carried, 0.5, 2.0, cleanup=2)
    classes = ants.atropos(a=image, x=rough, i="KMeans[3]", m="[0.1,1x1x1]", c="[3,0]")["segmentation"]
    tissue = ants.threshold_image(classes, 2, 3)
    # The script counts voxels, of 1 mm; on coarser scans they would eat the cortex.
    two = max(1, round(2 / max(image.spacing)))
    brain = ants.iMath_get_largest_component(ants.iMath(tissue, "ME", two))
    brain = ants.iMath(ants.iMath(ants.iMath(brain, "MD", 2 * two), "FillHoles"), "ME", two)
    ants.image_write(brain * rough, str(folder / "brain-found.nii.gz"))


def register(folder: Path, ants: Any) -> None:
    """AntsRegistrationSyN with its defaults, brain to brain, at full resolution."""
    image, found, brain = (ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("corrected", "brain-found", "brain"))
    done = ants.registration(fixed=brain, moving=image * found, type_of_transform="antsRegistrationSyN[s]")
    warp, affine = done["fwdtransforms"]
    shutil.copy(warp, folder / "warp.nii.gz")
    shutil.copy(affine, folder / "affine.mat")


STEPS: dict[str, Callable[[Path, Any], None]] = {
    "bias_correct": bias_correct,
    "brain_extraction": brain_extraction,
    "register": register,
}

if __name__ == "__main__":
    import ants as module

    STEPS[sys.argv[1]](Path(sys.argv[2]), module)
