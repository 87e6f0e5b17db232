"""Surfaces, maps and labels of a hemisphere as GIfTI files with BIDS names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path
from anatcl.measures.surfaces.engine import Surfaces

# BIDS names of the surfaces, and of the maps that every scan has.
SURFACES = {
    "white": "white.surf",
    "central": "midthickness.surf",
    "pial": "pial.surf",
    "sphere": "sphere.surf",
    "registered": "desc-reg_sphere.surf",
}
MAPS = {"thickness": "thickness.shape", "curvature": "curv.shape"}
STRUCTURE = {"L": "CortexLeft", "R": "CortexRight"}
KINDS = {
    "white": ("Anatomical", "GrayWhite"),
    "central": ("Anatomical", "MidThickness"),
    "pial": ("Anatomical", "Pial"),
    "sphere": ("Spherical", ""),
    "registered": ("Spherical", ""),
}


def path_of(stem: str | Path, hemisphere: str, ending: str) -> Path:
    """A file of one hemisphere: ``<stem>_hemi-L_white.surf.gii``."""
    return Path(f"{stem}_hemi-{hemisphere}_{ending}.gii")


def write_surfaces(stem: str | Path, hemisphere: str, surfaces: Surfaces, curvature: NDArray) -> list[Path]:
    """Write all surfaces and maps of a hemisphere.

    Parameters
    ----------
    stem : path
        Folder and name of the scan, to which ``_hemi-L_white.surf.gii`` and the others are added.
    hemisphere : str
        ``L`` or ``R``.
    surfaces : Surfaces
    curvature : ndarray of shape (V,)
        Mean curvature of the white surface, in 1/mm.

    Returns
    -------
    list of Path
    """
    written = []
    for name, ending in SURFACES.items():
        written.append(path_of(stem, hemisphere, ending))
        write_surface(written[-1], getattr(surfaces, name), surfaces.faces, hemisphere, name)
    for name, values in (("thickness", surfaces.thickness), ("curvature", curvature)):
        written.append(path_of(stem, hemisphere, MAPS[name]))
        write_map(written[-1], values, hemisphere, name)
    return written


def read_surfaces(stem: str | Path, hemisphere: str) -> Surfaces:
    """Read what `write_surfaces` wrote.

    Raises
    ------
    InputError
        A file is missing, or its vertices are not those of the others.
    """
    found: dict[str, NDArray] = {}
    faces: NDArray = np.zeros((0, 3), int)
    for name, ending in SURFACES.items():
        path = path_of(stem, hemisphere, ending)
        points, triangles = arrays(path)[:2]
        faces = triangles if not found else faces
        if triangles.shape != faces.shape or not (triangles == faces).all():
            raise InputError(
                "the triangles of the surface differ from those of the others.", path, "Run `surfaces` again."
            )
        found[name] = points.astype(np.float64)
    path = path_of(stem, hemisphere, MAPS["thickness"])
    thickness = arrays(path)[0].astype(np.float64)
    if len(thickness) != len(found["white"]):
        raise InputError("the map has another number of vertices than the surfaces.", path, "Run `surfaces` again.")
    return Surfaces(faces=faces, thickness=thickness, **found)


def write_surface(path: Path, vertices: NDArray, faces: NDArray, hemisphere: str, name: str) -> None:
    """Write a mesh; coordinates are RAS+ of the scan, in mm."""
    import nibabel as nib

    geometry, secondary = KINDS[name]
    meta = {"AnatomicalStructurePrimary": STRUCTURE[hemisphere], "GeometricType": geometry}
    meta |= {"AnatomicalStructureSecondary": secondary} if secondary else {}
    space = nib.gifti.GiftiCoordSystem(dataspace="NIFTI_XFORM_SCANNER_ANAT", xformspace="NIFTI_XFORM_SCANNER_ANAT")
    points = nib.gifti.GiftiDataArray(
        np.asarray(vertices, np.float32), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", coordsys=space, meta=meta
    )
    triangles = nib.gifti.GiftiDataArray(np.asarray(faces, np.int32), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32")
    _save(path, [points, triangles], hemisphere)


def write_map(path: Path, values: NDArray, hemisphere: str, name: str) -> None:
    """Write a number per vertex."""
    import nibabel as nib

    data = nib.gifti.GiftiDataArray(
        np.asarray(values, np.float32), "NIFTI_INTENT_SHAPE", "NIFTI_TYPE_FLOAT32", meta={"Name": name}
    )
    _save(path, [data], hemisphere)


def write_labels(path: Path, labels: NDArray, names: dict[int, str], hemisphere: str) -> None:
    """Write a label per vertex with the table of their names; 0 is no region."""
    import nibabel as nib

    table = nib.gifti.GiftiLabelTable()
    for value, name in {0: "unknown", **names}.items():
        red, green, blue = _colour(value)
        label = nib.gifti.GiftiLabel(int(value), red, green, blue, 1.0 if value else 0.0)
        label.label = name  # type: ignore[attr-defined]
        table.labels.append(label)
    data = nib.gifti.GiftiDataArray(np.asarray(labels, np.int32), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32")
    _save(path, [data], hemisphere, table)


def _colour(value: int) -> tuple[float, float, float]:
    """A colour of its own for each label, the same on every run."""
    turn = (value * 0.61803398875) % 1
    return tuple(round(float(0.5 + 0.45 * np.cos(2 * np.pi * (turn + k / 3))), 4) for k in range(3))  # type: ignore[return-value]


def _save(path: Path, data: list[Any], hemisphere: str, labels: Any = None) -> None:
    import nibabel as nib

    meta = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": STRUCTURE[hemisphere]})
    image = nib.gifti.GiftiImage(meta=meta, darrays=data, labeltable=labels)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def arrays(path: str | Path) -> list[NDArray]:
    """Data arrays of a GIfTI file, compressed or not.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    return [array.data for array in load(path).darrays]


def load(path: str | Path) -> Any:
    """A GIfTI image.

    Raises
    ------
    InputError
        The file is missing, damaged or no GIfTI.
    """
    import xml.parsers.expat
    import zlib

    import nibabel as nib

    try:
        image = nib.load(path)
        if not isinstance(image, nib.gifti.GiftiImage) or not image.darrays:
            raise ValueError("it holds no data array")
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        xml.parsers.expat.ExpatError,
        nib.filebasedimages.ImageFileError,
    ) as error:
        raise InputError(
            f"the GIfTI file cannot be read ({error}).", path, "Make it again, or copy it again."
        ) from error
    return image
