"""Labels of fsaverage's vertices: read from GIfTI or FreeSurfer's ``.annot``, with fsaverage5 itself."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.measures.atlas import locate, package_file
from anatcl.measures.surfaces import gifti
from anatcl.measures.surfaces.carry import carry_labels
from anatcl.spec.atlas import beside, load_atlas_file, read_regions

SIDES = {"L": ("left", "lh"), "R": ("right", "rh")}
# fsaverage5; the vertices of fsaverage6 and fsaverage begin with these.
VERTICES = 10242
FINER = (VERTICES, 40962, 163842)
FIRST = {"L": 1001, "R": 2001}
# What annotations call vertices that belong to no region.
NOWHERE = re.compile(r"(unknown|medial[_ -]?wall|corpuscallosum|\?+|none|background)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """Labels of one hemisphere of fsaverage5.

    Attributes
    ----------
    labels : ndarray of int, shape (10242,)
        0 for no region.
    names : dict
        Label to name, without 0.
    hemisphere : str
        ``L`` or ``R``.
    """

    labels: NDArray
    names: dict[int, str]
    hemisphere: str

    def keys(self) -> dict[int, str]:
        """Label to the name of a row: ``lh_bankssts``."""
        return {value: f"{SIDES[self.hemisphere][1]}_{name}" for value, name in self.names.items()}


def load_annotations(atlas_name: str | Path) -> dict[str, Annotation]:
    """The labels of both hemispheres that an atlas file names.

    Where the atlas has a table of regions, too, the regions of the cortex take their values and names from it.

    Raises
    ------
    InputError
        The atlas has no annotation, or a file of it is wrong.
    """
    atlas, path = load_atlas_file(atlas_name)
    if atlas.annotation is None:
        remedy = "Name two label files of fsaverage under `annotation`, or set measures: engine: volume."
        raise InputError("the atlas has no annotation of fsaverage.", path, remedy)
    table = read_regions(beside(path, atlas.regions)) if atlas.regions is not None else None
    files = {"L": atlas.annotation.left, "R": atlas.annotation.right}
    found = {side: read_annotation(locate(file, path), side) for side, file in files.items()}
    if table is None:
        return {side: _numbered(one) for side, one in found.items()}
    return {side: _as_in(one, table, path) for side, one in found.items()}


def _numbered(annotation: Annotation) -> Annotation:
    """The annotation with values that no other hemisphere or deep structure has: 1001, 1002, ... or 2001, ..."""
    new = np.zeros_like(annotation.labels)
    names = {FIRST[annotation.hemisphere] + n: name for n, name in enumerate(annotation.names.values())}
    for old, value in zip(annotation.names, names, strict=True):
        new[annotation.labels == old] = value
    return Annotation(new, names, annotation.hemisphere)


def _as_in(annotation: Annotation, table: pd.DataFrame, path: Path) -> Annotation:
    """The annotation with the values of a table of regions, joined by name."""
    mine = table[(table["structure"] == "cortex") & (table["hemisphere"] == annotation.hemisphere)]
    values = dict(zip(mine["name"], mine["index"], strict=True))
    absent = sorted(set(annotation.names.values()) - set(values))
    if absent:
        reason = f"the annotation has regions that the table of regions lacks: {', '.join(absent[:5])}."
        raise InputError(reason, path, "Give both the same names, or leave image, space and regions away.")
    new = np.zeros_like(annotation.labels)
    for old, name in annotation.names.items():
        new[annotation.labels == old] = values[name]
    names = {int(values[name]): name for name in annotation.names.values()}
    return Annotation(new, dict(sorted(names.items())), annotation.hemisphere)


def read_annotation(path: Path, hemisphere: str) -> Annotation:
    """Read the labels of one hemisphere.

    Parameters
    ----------
    path : path
        GIfTI (``.gii``, ``.gii.gz``) or FreeSurfer's ``.annot``, on fsaverage5, fsaverage6 or fsaverage.

    Raises
    ------
    InputError
        The file cannot be read, or its vertices are not fsaverage's.
    """
    labels, names = _annot(path) if path.suffix == ".annot" else _gifti(path)
    if len(labels) not in FINER:
        reason = f"the annotation has {len(labels)} vertices, those of fsaverage have {', '.join(map(str, FINER))}."
        raise InputError(reason, path, "Resample it to fsaverage5 (mri_surf2surf --sval-annot ... --trgsubject).")
    labels = np.asarray(labels[:VERTICES], int)
    used = {value: _plain(name) for value, name in names.items() if not NOWHERE.fullmatch(name.strip())}
    used = {value: name for value, name in sorted(used.items()) if (labels == value).any()}
    if not used:
        raise InputError("the annotation has no region.", path, "Give one whose labels have names.")
    if 0 in used:  # 0 means no region here
        labels, used = labels + 1, {value + 1: name for value, name in used.items()}
    return Annotation(np.where(np.isin(labels, list(used)), labels, 0), used, hemisphere)


def _plain(name: str) -> str:
    """A name fit for a column: letters, digits, ``-``, ``_``, ``.``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip())


def _gifti(path: Path) -> tuple[NDArray, dict[int, str]]:
    image = gifti.load(path)
    table = image.labeltable.get_labels_as_dict()
    return np.asarray(image.darrays[0].data).ravel(), {int(value): str(name) for value, name in table.items()}


def _annot(path: Path) -> tuple[NDArray, dict[int, str]]:
    import nibabel as nib

    try:
        labels, _, names = nib.freesurfer.read_annot(path)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"the annotation cannot be read ({error}).", path, "Copy the file again.") from error
    # nibabel gives -1 to vertices without a colour of the table.
    return labels + 1, {value + 1: name.decode("utf-8", "replace") for value, name in enumerate(names)}


def carried(annotation: Annotation, registered: NDArray) -> NDArray:
    """Labels of fsaverage5 at the vertices of a participant, whose sphere is registered to it, shape (V,)."""
    template = fsaverage5(annotation.hemisphere)
    return carry_labels(annotation.labels, template["sphere"], template["faces"], registered)


def fsaverage5(hemisphere: str) -> dict[str, NDArray]:
    """fsaverage5 from nilearn's data: ``surface`` (half-way of white and pial), ``sphere``, ``inflated``, ``faces``."""
    side = SIDES[hemisphere][0]

    def mesh(kind: str) -> list[NDArray]:
        return gifti.arrays(package_file("nilearn", f"datasets/data/fsaverage5/{kind}_{side}.gii.gz"))

    white, pial, sphere, inflated = (mesh(kind) for kind in ("white", "pial", "sphere", "infl"))
    middle = (white[0].astype(np.float64) + pial[0]) / 2
    return {
        "surface": middle,
        "sphere": sphere[0].astype(np.float64),
        "inflated": inflated[0].astype(np.float64),
        "faces": white[1].astype(np.int32),
    }
