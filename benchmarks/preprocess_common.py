"""What the preprocessing benchmarks share: the steps as their commands, with their cost, and overlaps of labels."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from anatcl.base.files import read_json, write_json
from anatcl.base.provenance import hardware, versions
from anatcl.images import Volume, load, save
from anatcl.preprocess.ants import apply_transforms
from anatcl.preprocess.geometry import coarsen

# FreeSurfer's Desikan-Killiany regions in the order of their numbers in aparc+aseg (1000 + n left, 2000 + n right).
APARC = (  # noqa: SIM905 (a list would fill 35 lines)
    "bankssts caudalanteriorcingulate caudalmiddlefrontal corpuscallosum cuneus entorhinal fusiform inferiorparietal "
    "inferiortemporal isthmuscingulate lateraloccipital lateralorbitofrontal lingual medialorbitofrontal "
    "middletemporal parahippocampal paracentral parsopercularis parsorbitalis parstriangularis pericalcarine "
    "postcentral posteriorcingulate precentral precuneus rostralanteriorcingulate rostralmiddlefrontal "
    "superiorfrontal superiorparietal superiortemporal supramarginal frontalpole temporalpole transversetemporal insula"
).split()


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a process took: wall and processor seconds, and its largest resident memory (or a child's) in MiB."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.peak_mb, other.peak_mb))

    def rounded(self) -> dict[str, float]:
        """As numbers for a table."""
        return {key: round(value, 1) for key, value in dataclasses.asdict(self).items()}


NOTHING = Cost(0.0, 0.0, 0.0)


def timed(command: list[str], log: Path | None = None, threads: int = 1) -> Cost:
    """Run a command; its children's time and memory count.

    Raises
    ------
    RuntimeError
        It failed; the end of the log is in the message.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)}
    log = log or Path(os.devnull)
    start = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words = log.read_text(errors="replace")[-1500:] if log.is_file() else ""
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {process.returncode}:\n{words}")
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@dataclasses.dataclass(frozen=True)
class Scan:
    """One raw scan and the folder in which its derivatives are made.

    Attributes
    ----------
    raw : Path
        NIfTI.
    folder : Path
        For all outputs.
    template : Path
        Folder of the step ``template``.
    recipe : str
    threads : int
    engine : str
        Of the deformable registration.
    method : str
        Of the masks.
    """

    raw: Path
    folder: Path
    template: Path
    recipe: str
    threads: int = 1
    engine: str = "auto"
    method: str = "auto"

    def path(self, name: str) -> Path:
        """Where an output lies; `name` with its suffix."""
        return self.folder / name

    def step(self, name: str) -> Cost:
        """Run one of bias_correct, skullstrip, register, segment, qc; a step that was run keeps its files and cost."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self.path(f"{name}.cost.json")
        if not done.exists():
            write_json(done, dataclasses.asdict(self._run(name)))
        return Cost(**read_json(done))

    def share(self, other: Scan, steps: tuple[str, ...]) -> None:
        """Take over steps that another folder of the same scan has: files and cost."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for step in steps:
            outputs = [Path(v) for k, v in other._files(step).items() if k.startswith("out")]
            for path in [p for p in (*outputs, other.path(f"{step}.cost.json")) if p.exists()]:
                if not self.path(path.name).exists():
                    shutil.copy(path, self.path(path.name))

    def _run(self, name: str) -> Cost:
        flags = {"scan": "sub-1/anat/sub-1", "recipe": self.recipe, "threads": str(self.threads), "seed": "0"}
        flags |= {key: str(value) for key, value in self._files(name).items()}
        command = [sys.executable, "-m", "anatcl", "preprocess", name]
        command += [word for key, value in flags.items() for word in (f"--{key.replace('_', '-')}", value)]
        return timed(command, self.folder / f"{name}.log", self.threads)

    def _files(self, step: str) -> dict[str, Path | str]:
        image, brain, icv = (self.path(f"{n}.nii.gz") for n in ("preproc", "brain", "icv"))
        affine, forward, inverse = self.path("affine.mat"), self.path("forward.h5"), self.path("inverse.h5")
        head, vbm, dseg = self.path("head.txt"), self.path("vbm.nii.gz"), self.path("dseg.nii.gz")
        known: dict[str, dict[str, Path | str]] = {
            "bias_correct": {"image": self.raw, "out": image},
            "skullstrip": {"image": image, "method": self.method, "out_brain": brain, "out_icv": icv}
            | {"out_affine": head},
            "register": {"image": image, "mask": brain, "start": head, "engine": self.engine, "out_affine": affine}
            | {"out_forward": forward, "out_inverse": inverse},
            "segment": {"image": image, "brain": brain, "icv": icv, "affine": affine, "forward": forward}
            | {"inverse": inverse, "out_dseg": dseg, "out_vbm": vbm, "out_quasi_raw": self.path("quasi-raw.nii.gz")}
            | {f"out_{t.lower()}": self.path(f"{t}.nii.gz") for t in ("CSF", "GM", "WM")},
            "qc": {"image": image, "brain": brain, "icv": icv, "dseg": dseg, "forward": forward, "vbm": vbm}
            | {"out_json": self.path("qc.json"), "out_png": self.path("qc.png")},
        }
        return known[step] | ({} if step == "bias_correct" else {"template_dir": self.template})


def make_template(recipe: str, folder: Path, name: str = "MNI152NLin2009aSym") -> Path:
    """Write the template's volumes for a recipe, unless they are there."""
    if not (folder / "template.json").exists():
        command = [sys.executable, "-m", "anatcl", "preprocess", "template", "--template", name, "--recipe", recipe]
        timed([*command, "--out-dir", str(folder)])
    return folder


def as_nifti(source: Path, target: Path) -> Path:
    """Write any image that nibabel reads (MGZ) as NIfTI; integers stay integers."""
    if not target.exists():
        image: Any = nib.load(source)
        data = np.asanyarray(image.dataobj)
        save(target, Volume(data, np.asarray(image.affine, float)), data.dtype if data.dtype.kind in "iu" else None)
    return target


def head(mri: Path, voxel_mm: float, room: Path) -> Path:
    """FreeSurfer's ``orig.mgz`` as NIfTI, averaged to `voxel_mm` where that is coarser."""
    raw = as_nifti(mri / "orig.mgz", room / "orig.nii.gz")
    if voxel_mm < 1.5:
        return raw
    target = room / f"orig-{voxel_mm:g}mm.nii.gz"
    save(target, coarsen(load(raw), voxel_mm), np.int16, scaled=True)
    return target


def dice(a: NDArray, b: NDArray) -> float:
    """Overlap of two masks, 0 to 1."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def cortical(aparc: Path, target: Path) -> Path:
    """Write FreeSurfer's aparc+aseg with our atlas' numbers on cortical voxels and 0 elsewhere."""
    from anatcl.measures.atlas import load_atlas

    regions = load_atlas("desikan-killiany").regions
    regions = regions[regions["structure"] == "cortex"]
    labels = load(aparc, np.int32)
    table = np.zeros(int(labels.data.max()) + 1, np.int16)
    for index, name, side in regions[["index", "name", "hemisphere"]].itertuples(index=False):
        table[{"L": 1001, "R": 2001}[side] + APARC.index(name)] = index
    save(target, labels.like(table[labels.data]))
    return target


def cortical_labels(atlas: Any) -> tuple[Volume, list[int]]:
    """The atlas' cortical labels alone, and their numbers."""
    regions = list(atlas.regions["index"][atlas.regions["structure"] == "cortex"])
    data = np.where(np.isin(atlas.image.data, regions), atlas.image.data, 0)
    return atlas.image.like(data.astype(np.int16)), regions


def label_overlap(
    own: Path, forward: Sequence[Path], inverse: Sequence[Path], room: Path, threads: int = 1
) -> dict[str, float]:
    """Mean Dice of the 68 cortical labels, the scan's carried to the template and the atlas carried to the scan.

    Parameters
    ----------
    own : Path
        The scan's labels, numbered as the atlas' (:func:`cortical`).
    forward, inverse : sequence of Path
        Transforms in antsApplyTransforms' order: scan to template, template to scan; an empty one is left out.
    room : Path
        Folder for intermediate files.
    """
    from anatcl.measures.atlas import load_atlas

    drawn, regions = cortical_labels(load_atlas("desikan-killiany"))
    atlas = room / "atlas.nii.gz"
    save(atlas, drawn)
    found: dict[str, float] = {}
    for way, moving, fixed, transforms in (("template", own, atlas, forward), ("scan", atlas, own, inverse)):
        if not transforms:
            continue
        out = room / f"labels-to-{way}.nii.gz"
        apply_transforms(moving, fixed, list(transforms), out, "NearestNeighbor", threads)
        carried, there = load(out, np.int32).data, load(fixed, np.int32).data
        found[f"labels_to_{way}"] = float(np.mean([dice(carried == k, there == k) for k in regions]))
        found[f"cortex_to_{way}"] = dice(np.isin(carried, regions), np.isin(there, regions))
    return found


def tissue_overlap(grey: Path, white: Path, forward: Path, template: Path, room: Path) -> dict[str, float]:
    """Dice of the scan's grey and white matter, carried to the template in one interpolation, with the template's."""
    found = {}
    for name, path in (("gm", grey), ("wm", white)):
        apply_transforms(path, template / f"{name}.nii.gz", [forward], room / f"{name}-warped.nii.gz")
        carried, there = load(room / f"{name}-warped.nii.gz").data, load(template / f"{name}.nii.gz").data
        found[name] = dice(carried > 0.5, there > 0.5)
    return found


def jacobian(forward: Path, template: Path, threads: int = 1) -> dict[str, float]:
    """Range of the Jacobian determinant inside the template's brain and its non-positive share."""
    from anatcl.preprocess.ants import workspace
    from anatcl.preprocess.segment import jacobian_map

    with workspace(threads) as room:
        room.link("forward.h5", forward)
        room.link("grid.nii.gz", template / "brain.nii.gz")
        determinant = jacobian_map(room, "grid.nii.gz", "grid.nii.gz", "forward.h5")
        inside = determinant[load(template / "brain_mask.nii.gz").data > 0.5]
    return {
        "jacobian_min": float(inside.min()),
        "jacobian_max": float(inside.max()),
        "jacobian_nonpositive_share": float((inside <= 0).mean()),
    }


def about(command: str) -> dict[str, Any]:
    """What a result is of: command, versions and the class of hardware."""
    machine = hardware()
    kept = {key: machine[key] for key in ("processor", "cores", "memory_gib") if key in machine}
    return {"command": command, "versions": versions(), "hardware": kept, "load_at_end": round(os.getloadavg()[0], 1)}


def say(result: dict[str, Any]) -> None:
    """Print the last line, as one JSON object."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
    sys.stdout.write(json.dumps(rounded) + "\n")
