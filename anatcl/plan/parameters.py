"""What rules hand to their steps: names of templates, parts of the recipe, flags, resources."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from anatcl.base.named import plugins
from anatcl.plan.cohort import Cohort
from anatcl.plan.content import file_content
from anatcl.spec.atlas import label
from anatcl.spec.config import Config
from anatcl.spec.layout import PREPROCESS, SURFACE_FILES, SURFACE_NUMBERS, SURFACE_PICTURE
from anatcl.spec.recipe import load_recipe
from anatcl.spec.template import load_spec
from anatcl.spec.training import Common, Own


class Imaging:
    """Parameters of preprocess and measures.

    Parameters
    ----------
    config : Config
        The configuration.
    cohort : Cohort
        Decisions by hand about single scans.
    """

    def __init__(self, config: Config, cohort: Cohort) -> None:
        self.config = config
        self.cohort = cohort

    @functools.cached_property
    def template(self) -> str:
        """Name of the template, as used in file names."""
        return str(load_spec(self.config.preprocess.template)["name"])

    @functools.cached_property
    def space(self) -> str:
        """Space of the template, which the atlas must fit."""
        return str(load_spec(self.config.preprocess.template)["space"])

    @functools.cached_property
    def atlas(self) -> str:
        """Name of the atlas, as used in file names."""
        return label(self.config.measures.atlas)

    @functools.cached_property
    def thickness(self) -> str:
        """Method of thickness: the configured one, or the recipe's."""
        chosen = self.config.measures.thickness
        return str(load_recipe(self.config.preprocess.recipe)["thickness"]) if chosen == "auto" else chosen

    def recipe_part(self, *parts: str) -> str:
        """Parts of the recipe as JSON text: an edit of the recipe's file is seen by the rules it concerns."""
        recipe = load_recipe(self.config.preprocess.recipe)
        return json.dumps({part: recipe[part] for part in parts}, sort_keys=True)

    def thickness_options(self) -> str:
        """Parameters of the thickness method as JSON text."""
        return json.dumps(self.config.measures.thickness_options, sort_keys=True)

    def surface_files(self, stem: str) -> list[str]:
        """The files of a scan's surfaces that `measure` reads; none with the engine volume.

        Parameters
        ----------
        stem : str
            Pattern of the scan's folder and name.
        """
        if self.cohort.engine != "surface":
            return []
        return [
            *(f"{stem}_hemi-{h}_{ending}.gii" for h in "LR" for ending in SURFACE_FILES),
            f"{stem}_{SURFACE_NUMBERS}",
        ]

    def surface_pictures(self, stem: str) -> list[str]:
        """Numbers and picture of a scan's surfaces; none with the engine volume."""
        if self.cohort.engine != "surface":
            return []
        return [f"{stem}_{SURFACE_NUMBERS}", f"{stem}_{SURFACE_PICTURE}"]

    def label_files(self, stem: str) -> list[str]:
        """The labels of the vertices that `measure` writes; none with the engine volume."""
        if self.cohort.engine != "surface":
            return []
        return [f"{stem}_hemi-{h}_atlas-{self.atlas}_dseg.label.gii" for h in "LR"]

    def surface_flags(self, scan: str, stem: str) -> list[str]:
        """Flags of `measure` for the engine surface; none with the engine volume."""
        if self.cohort.engine != "surface":
            return []
        accepted = scan in {*self.config.preprocess.accept, *self.cohort.corrections.accept}
        told = {"limits": self.config.measures.surface_qc, "accept": [scan] if accepted else []}
        quality = f"{stem}_{SURFACE_NUMBERS}"
        return ["--surfaces", stem, "--surface-quality", quality, "--surface-limits", json.dumps(told, sort_keys=True)]

    def freesurfer_flag(self) -> list[str]:
        """``--freesurfer DIR`` where config names a folder."""
        folder = self.config.measures.freesurfer
        return ["--freesurfer", folder] if folder else []

    def mask_flags(self, scan: str) -> list[str]:
        """Options of `skullstrip` that say where the masks of a scan come from."""
        strip = self.config.preprocess.skullstrip
        method = self.cohort.skullstrip_method(scan)
        asked = {"method": method, "retry": strip.retry, "compare": strip.compare, "device": self.mask_device()}
        return [word for name, value in asked.items() for word in (f"--{name}", value)]

    def masks_of_person(self, scan: str) -> list[str]:
        """What `skullstrip` takes from the mean of a scan's participant: alignment, both masks, affine; or nothing."""
        own = self.cohort.skullstrip_method(scan) == "mask"
        ends = ("desc-brain_mask.nii.gz", "desc-icv_mask.nii.gz", f"from-{self.template}_to-T1w_desc-head_xfm.txt")
        return [] if own else self._of_person(scan, ends)

    def transforms_of_person(self, scan: str) -> list[str]:
        """Transforms that `register` reuses: alignment, affine, forward and inverse composite; or nothing."""
        there = f"from-T1w_to-{self.template}"
        ends = (f"{there}_desc-affine_xfm.mat", f"{there}_mode-image_xfm.h5")
        return self._of_person(scan, (*ends, f"from-{self.template}_to-T1w_mode-image_xfm.h5"))

    def _of_person(self, scan: str, ends: tuple[str, ...]) -> list[str]:
        person = self.cohort.person(scan)
        files = [f"{scan}_from-person_to-T1w_xfm.txt", *(f"{person}_{end}" for end in ends)]
        return [str(PREPROCESS / file) for file in files] if person else []

    def mask_device(self) -> str:
        """Where deepbet runs; the same for all configurations that do not ask it, so that masks are not made again."""
        strip = self.config.preprocess.skullstrip
        chosen = load_recipe(self.config.preprocess.recipe, "skullstrip").get("method", "ants")
        asked = {chosen if strip.method == "auto" else strip.method, strip.retry, strip.compare}
        return self.config.device if "deepbet" in asked else "auto"

    def mask_limits(self) -> str:
        """QC limits that bring a second try of the masks, as JSON text; none where there is no second try."""
        settings = self.config.preprocess
        return json.dumps(settings.qc if settings.skullstrip.retry != "none" else {}, sort_keys=True)

    def limits(self) -> str:
        """QC limits and manual decisions as JSON text."""
        settings, table = self.config.preprocess, self.cohort.corrections
        accept, reject = sorted({*settings.accept, *table.accept}), sorted({*settings.reject, *table.reject})
        return json.dumps({"limits": settings.qc, "accept": accept, "reject": reject}, sort_keys=True)


class Training:
    """Parameters and resources of pretraining.

    Parameters
    ----------
    config : Config
        The configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds."""
        return list(range(self.config.pretrain.folds))

    def parts(self, method: str) -> list[str]:
        """Methods whose losses a method trains with: its own, or those of a joint objective."""
        return list(self.config.pretrain.joint.get(method, (method,)))

    def options(self, method: str, seed: int = 0) -> str:
        """Everything that shapes the training of a method, as JSON text; `seed` counts its trainings."""
        settings = self.config.pretrain
        values = {name: getattr(settings, name) for name in Common.model_fields}
        further = settings.options.of(method).model_dump(mode="json", exclude_defaults=True)
        joint = {name: parts for name, parts in settings.joint.items() if name == method}
        own = {name: loss.model_dump(mode="json") for name, loss in self.losses().items() if name == method}
        told = {"seed": self.config.seed + seed} | ({"joint": joint} if joint else {}) | ({"own": own} if own else {})
        return json.dumps(values | told | further, sort_keys=True)

    def losses(self) -> dict[str, Own]:
        """Losses of the user's own by name: those of installed packages, and those of the configuration."""
        return {name: Own(loss=place) for name, place in plugins("anatcl.losses").items()} | self.config.pretrain.own

    def own_code(self, method: str) -> str:
        """Digest of the files of a loss and a network of the user's own."""
        loss = self.losses().get(method)
        named = [self.config.pretrain.encoder, *([loss.loss] if loss else [])]
        return "".join(file_content(Path(text.rpartition(":")[0]))[:16] for text in named if ".py:" in text)

    def crop_flag(self) -> list[str]:
        """``--crop JSON`` where config crops the packed volumes itself."""
        crop = self.config.pretrain.crop
        return [] if crop is None else ["--crop", json.dumps(crop)]

    @property
    def processes(self) -> int:
        """Processes per node that share a training's batches: as configured, else one per GPU."""
        settings = self.config.pretrain
        return settings.processes or max(1, settings.gpus // settings.nodes)

    @property
    def launcher(self) -> str:
        """What starts the training on every node of a job."""
        nodes = self.config.pretrain.nodes
        return f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1" if nodes > 1 else ""

    def deterministic_flag(self) -> str:
        """``--deterministic`` or ``--no-deterministic``."""
        return "--deterministic" if self.config.deterministic else "--no-deterministic"
