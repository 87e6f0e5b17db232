"""From raw T1w scans to the map that an encoder takes, by the preprocess stage (which alone here needs ANTs)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.base.programs import Killed

log = logging.getLogger(__name__)
DEFAULT_TEMPLATE = "MNI152NLin2009aSym"


def is_map(path: str | Path, contract: Mapping[str, Any]) -> bool:
    """Say whether an image is a preprocessed map rather than a raw scan, from its name and header.

    A name with a ``space-`` or ``desc-`` entity or CAT12's ``mwp1`` prefix, or a grid that the encoder's volumes or
    their source maps have, mean a map. An unreadable file counts as a map too: reading it says what is wrong.

    Parameters
    ----------
    path : path
    contract : mapping
        ``model.json["input"]``.
    """
    import nibabel as nib

    name = Path(path).name
    if "_space-" in name or "_desc-" in name or name.startswith("mwp1"):
        return True
    try:
        image = nib.as_closest_canonical(nib.load(path))
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
        return True
    shape = tuple(image.shape[:3])
    packed = shape == tuple(contract["shape"]) and np.allclose(image.affine, contract["affine"], atol=1e-3)
    return packed or shape == tuple(contract.get("source_shape") or ())


def template_of(contract: Mapping[str, Any]) -> str:
    """Name of the template of an encoder's maps: its own where it is shipped, else the default.

    Maps that others made (OpenBHB's by CAT12) are in an MNI152 space whose template is not among ours. Their grid is,
    so the map is made with our template and on that grid.
    """
    from anatcl.spec.template import load_spec

    name = str(contract.get("template") or DEFAULT_TEMPLATE)
    try:
        load_spec(name)
    except InputError:
        log.warning("the encoder's maps are in %s; raw scans go to %s, on the same grid", name, DEFAULT_TEMPLATE)
        return DEFAULT_TEMPLATE
    return name


class FromRaw:
    """Preprocess raw T1w scans one by one: bias field, masks, registration, tissue maps.

    Parameters
    ----------
    contract : mapping
        ``model.json["input"]``: which map and template.
    folder : path
        Intermediate files, a folder for each scan.
    recipe : str
        Name or JSON file of a recipe of the preprocess stage; that of the training cohort fits best.
    threads : int
        ITK threads; 1 gives equal bytes on every run.
    seed : int
    gate : bool
        Refuse a scan whose image-quality metrics break the workflow's usual limits.
    """

    def __init__(
        self,
        contract: Mapping[str, Any],
        folder: str | Path,
        recipe: str = "fast",
        threads: int = 1,
        seed: int = 0,
        gate: bool = True,
    ) -> None:
        self.contract, self.folder, self.recipe = contract, Path(folder), recipe
        self.threads, self.seed, self.gate = threads, seed, gate
        self.template: Any = None

    def __call__(self, image: Path) -> Path:
        """Return the path of the map: of `image` itself if it is one, else of what is made from it."""
        if not image.is_file():
            raise InputError("the image does not exist.", file=image, remedy="Correct its path.")
        return image if is_map(image, self.contract) else self._make(image)

    def _make(self, image: Path) -> Path:
        try:
            from anatcl.preprocess.template import prepare
            from anatcl.spec.recipe import load_recipe
        except ImportError as error:
            remedy = "Install the extra `imaging`, or give preprocessed maps."
            raise InputError(f"a raw scan needs the preprocess stage ({error}).", file=image, remedy=remedy) from error
        recipe = load_recipe(self.recipe)
        if self.template is None:
            self.template = prepare(template_of(self.contract), recipe["template_mm"], self.folder / "template")
        log.info("%s is a raw scan: preprocessing with recipe %s", image, self.recipe)
        here = self._scan_folder(image)
        try:
            self._steps(image, here, recipe)
        except RuntimeError as error:  # a program of ANTs failed
            remedy = "Run it again." if isinstance(error, Killed) else "Look at the scan."
            raise InputError(f"preprocessing failed ({error}).", file=image, remedy=remedy) from error
        if self.gate:
            self._gate(image, here)
        return here / f"{self.contract['map']}.nii.gz"

    def _gate(self, image: Path, here: Path) -> None:
        """Measure the quality of what was made, and refuse what breaks the workflow's usual limits."""
        from anatcl.preprocess.limits import broken_limits
        from anatcl.preprocess.qc import qc
        from anatcl.spec.config import Preprocess

        made = {name: here / f"{name}.nii.gz" for name in ("scan", "brain", "icv", "dseg", "vbm")}
        numbers = qc(
            made["scan"],
            made["brain"],
            made["icv"],
            dseg=made["dseg"],
            forward=here / "forward.h5",
            vbm=made["vbm"],
            template=self.template,
            out_json=here / "qc.json",
            out_png=here / "qc.png",
            threads=self.threads,
            seed=self.seed,
        )
        if broken := broken_limits(numbers, Preprocess().qc):
            remedy = "Look at the scan. Where it is good, run the workflow with preprocess: accept, or give its map."
            raise InputError(f"the quality gate left it out ({'; '.join(broken)}).", file=image, remedy=remedy)

    def _steps(self, image: Path, here: Path, recipe: Mapping[str, Any]) -> None:
        from anatcl.preprocess.bias_correct import bias_correct
        from anatcl.preprocess.register import register
        from anatcl.preprocess.segment import Paths, segment
        from anatcl.preprocess.skullstrip import skullstrip

        one: dict[str, Any] = {"threads": self.threads, "seed": self.seed}
        scan, brain, icv = (here / f"{n}.nii.gz" for n in ("scan", "brain", "icv"))
        start, affine, forward, inverse = (here / n for n in ("start.txt", "affine.mat", "forward.h5", "inverse.h5"))
        bias_correct(image, scan, recipe["bias_correct"], **one)
        skullstrip(
            scan, self.template, out_brain=brain, out_icv=icv, out_affine=start, settings=recipe["skullstrip"], **one
        )
        register(
            scan,
            brain,
            start,
            self.template,
            out_affine=affine,
            out_forward=forward,
            out_inverse=inverse,
            settings=recipe["register"],
            **one,
        )
        out = Paths(*(here / f"{n}.nii.gz" for n in ("dseg", "csf", "gm", "wm", "vbm", "quasi-raw")))
        segment(
            scan,
            brain,
            icv,
            affine=affine,
            forward=forward,
            inverse=inverse,
            template=self.template,
            out=out,
            settings=recipe["segment"],
            **one,
        )

    def _scan_folder(self, image: Path) -> Path:
        """A new folder named after the image; equal names of different folders are numbered."""
        stem = image.name.split(".")[0]
        for number in range(10_000):
            here = self.folder / (f"{stem}-{number}" if number else stem)
            try:
                here.mkdir(parents=True)
            except FileExistsError:
                continue
            return here
        raise InputError("too many scans have the same name.", file=image, remedy="Empty the working folder.")
