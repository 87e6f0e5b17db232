"""Which scans to use, and how their tables are read."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field

from anatcl.base.words import hint
from anatcl.spec.layout import ENTITIES
from anatcl.spec.section import Named, NotNegative, Section, Texts, shown, texts

ABSENT = "n/a"
SEXES = ("M", "F", ABSENT)
PACKED = "packed"  # of `Options.maps`


def _entities(value: Any) -> Any:
    """Short names of entities to the values that are asked for."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"it must be a mapping of names to values, not {shown(value)}")
    return {_entity(str(name)): texts(values) for name, values in value.items()}


def _entity(name: str) -> str:
    short = ENTITIES.get(name, name)
    if short not in ENTITIES.values() or short == "sub":
        usable = [entity for entity in ENTITIES if entity != "subject"]
        raise ValueError(f"unknown entity {name!r} in entities ({hint(name, usable)})")
    return short


def _sexes(levels: dict[str, str]) -> dict[str, str]:
    for value in levels.values():
        if value not in SEXES:
            raise ValueError(f"sex_levels must map codes to M, F or n/a, not to {value!r}")
    return levels


def _codes(value: Any) -> Any:
    """Codes for missing by column: a list of texts and numbers, or one alone."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"it must be a mapping of columns to codes, not {shown(value)}")
    found = {str(name): codes if isinstance(codes, list | tuple) else [codes] for name, codes in value.items()}
    for name, codes in found.items():
        if any(isinstance(code, bool) or not isinstance(code, str | int | float) for code in codes):
            raise ValueError(f"missing.{name} must be a list of codes, not {shown(value[name])}")
    return {name: tuple(str(code) for code in codes) for name, codes in found.items()}


def _interval(value: Any) -> Any:
    try:
        low, high = (float(item) for item in value)
    except (TypeError, ValueError):
        raise ValueError(f"voxel_mm must be two lengths in mm, not {shown(value)}") from None
    if not 0 < low < high:
        raise ValueError(f"voxel_mm must be a smaller and a larger length in mm, not {shown(value)}")
    return low, high


class Participants(Section):
    """Which participants take part."""

    include: Texts = Field((), description="participants to include, as names or glob patterns; empty: all")
    exclude: Texts = Field((), description="participants to exclude; they are listed in excluded.tsv")
    query: str = Field("", description="pandas query over scans.tsv, e.g. \"age >= 18 and site == 'HH'\"")


class Bids(Section):
    """How the dataset is read."""

    layout: Literal["bids", "openbhb"] = Field(
        "bids", description="layout of the dataset's folder: BIDS, or the public OpenBHB release"
    )
    entities: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_entities)] = Field(
        {},
        description="values of an entity (session, acq, run ...) to include, glob patterns; n/a: scans without the "
        "entity",
    )
    runs: Literal["all", "first"] = Field("all", description="which runs of one session: all, or the first usable one")
    columns: Named = Field(
        {}, description="maps names of this workflow (age, sex, site ...) to those in the dataset's tables"
    )
    sex_levels: Annotated[Named, AfterValidator(_sexes)] = Field(
        {}, description="codes of the sex column to M or F, e.g. {'1': M, '2': F}"
    )
    units: Named = Field({}, description="unit of a column whose JSON file gives none, e.g. {age: months}")
    missing: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_codes)] = Field(
        {}, description="codes for missing values in a column ('*': in all columns), e.g. {age: [-9, 999]}"
    )
    unoriented: Literal["exclude", "accept"] = Field(
        "exclude", description="scans whose header gives no orientation, so that left and right are a guess"
    )
    verify: Literal["quick", "full"] = Field("quick", description="compare lengths, or decompress every file")
    voxel_mm: Annotated[tuple[float, float], BeforeValidator(_interval)] = Field(
        (0.2, 6.0), description="smallest and largest voxel side accepted, in mm"
    )
    min_extent_mm: NotNegative = Field(60.0, description="smallest field of view along each axis, in mm")


class Options(Bids, Participants):
    """What to index; the default takes the whole dataset.

    Attributes
    ----------
    maps : str
        With the layout openbhb, which of its maps are the images; the raw heads when empty. ``packed``: the folder is
        one of packed arrays.
    """

    maps: Literal["", "vbm", "quasi-raw", "packed"] = ""

    @classmethod
    def parse(cls, values: Any, what: str = "", file: Any = None) -> Self:
        """Make options from a mapping such as a config section; ``None`` stands for the default.

        Raises
        ------
        InputError
            A key is unknown (its nearest neighbour is named) or a value has the wrong type.
        """
        if isinstance(values, Mapping):
            values = {key: value for key, value in values.items() if value is not None}
        return super().parse(values, what, file)

    def plain(self) -> dict[str, Any]:
        """Return the options as JSON data."""
        return self.model_dump()

    def limits(self) -> list[Any]:
        """Return what the verdict over one image depends on."""
        return [self.verify, *self.voxel_mm, self.min_extent_mm, self.unoriented]

    def place(self) -> list[str]:
        """Return what decides which files are images."""
        return [self.layout, self.maps]


def matches(value: str, patterns: Iterable[str], prefix: str = "") -> bool:
    """Say whether `value` fits one of the glob patterns; either side may carry `prefix` (``sub-``)."""
    bare = value.removeprefix(prefix)
    return any(fnmatch.fnmatchcase(bare, pattern.removeprefix(prefix)) for pattern in patterns)
