"""The configuration's sections on imaging: `preprocess` and `measures`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from anatcl.spec.names import QUALITY, SURFACE_QUALITY, THICKNESS
from anatcl.spec.section import Count, Positive, Section, Texts, known_word, shown


def _number(value: Any) -> int | float:
    """A finite number; one in quotes, too: Snakemake's ``--config`` leaves numbers in lists as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    if isinstance(value, str):
        return int(number) if number.is_integer() else number
    return value


def _limits(value: Any) -> Any:
    """Lowest and highest value of an image-quality metric; null is no limit."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"it must be [lowest, highest], null where there is no limit, not {shown(value)}")
    try:
        low, high = (None if v is None else _number(v) for v in value)
    except ValueError:
        raise ValueError(f"its limits must be numbers or null, not {shown(value)}") from None
    if low is not None and high is not None and not low < high:
        raise ValueError(f"the lowest value {low} must be below the highest {high}")
    return low, high


Limits = Annotated[tuple[float | None, float | None], BeforeValidator(_limits)]


class Skullstrip(Section):
    """Where the brain mask comes from."""

    method: Literal["auto", "ants", "deepbet", "mask", "none"] = Field(
        "auto",
        description="ants: template by registration; deepbet: a network (extra deepbet); mask: given masks; none: "
        "scans are skull-stripped already; auto: as in the recipe",
    )
    masks: str = Field("", description="for method mask: path of a scan's mask, with {scan} for the BIDS stem")
    retry: Literal["none", "deepbet"] = Field(
        "none", description="method that replaces masks of ants that are implausible or break a limit of qc"
    )
    compare: Literal["none", "deepbet"] = Field(
        "none",
        description="a second intracranial mask for comparison; its overlap is the image-quality metric mask_dice",
    )

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        if self.method == "mask" and "{scan}" not in self.masks:
            raise ValueError("method 'mask' needs masks: a path with {scan} in it")
        if self.masks and self.method != "mask":
            raise ValueError(f"masks are given and method is {self.method!r}: write method: mask, or remove masks")
        return self

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if self.retry != "none" and self.method not in ("auto", "ants"):
            raise ValueError(f"retry is for masks of ants, and method is {self.method!r}: write retry: none")
        if self.compare != "none" and self.method in ("deepbet", "none"):
            raise ValueError(f"compare has nothing to compare where method is {self.method!r}: write compare: none")
        return self


class Preprocess(Section):
    """Imaging steps."""

    recipe: str = Field("fast", description="settings of the imaging steps: precise, fast, testing, or a JSON file")
    template: str = Field("MNI152NLin2009aSym", description="shipped template, or the path of a YAML file")
    deformable: Literal["auto", "ants", "greedy"] = Field(
        "auto", description="engine of the deformable registration; auto: as in the recipe"
    )
    threads: Count = Field(1, description="ITK threads of a job; only 1 gives equal bytes on every run")
    skullstrip: Skullstrip = Skullstrip()
    qc: dict[Annotated[str, known_word(QUALITY)], Limits] = Field(
        {
            "icv_ml": (700, 2400),
            "template_dice": (0.80, None),
            "template_correlation": (0.5, None),
            "cjv": (None, 2.0),
            "jacobian_nonpositive_share": (None, 0.001),
            "cut_cm2": (None, 50.0),
        },
        description="image-quality metric: [lowest, highest]; a scan beyond a limit is left out at aggregation",
    )
    corrections: str = Field(
        "",
        description="table (TSV) of decisions about scans and manually edited masks: scan, decision (accept, "
        "reject), mask (path), note",
    )
    accept: Texts = Field((), description="scans kept although an image-quality metric is beyond its limit")
    reject: Texts = Field((), description="scans left out after visual inspection")

    @model_validator(mode="after")
    def _second_opinion(self) -> Self:
        if "mask_dice" in self.qc and self.skullstrip.compare == "none":
            raise ValueError("a limit on mask_dice needs skullstrip: {compare: deepbet}")
        return self


class Measures(Section):
    """Anatomical measures."""

    atlas: str = Field("desikan-killiany", description="shipped atlas, or the path of a YAML file")
    thickness: Annotated[str, known_word(("auto", *THICKNESS))] = Field(
        "auto", description="how thickness is estimated; auto: as in the recipe"
    )
    thickness_options: dict[str, Any] = Field({}, description="parameters of that method, see below")
    engine: Literal["auto", "volume", "surface"] = Field(
        "auto",
        description="volume: from the tissue maps; surface: from white and pial surfaces, made by cat-surf (extra "
        "`surfaces`, GPL-2.0-or-later); auto: as in the recipe, or the one that the atlas can be used with",
    )
    longitudinal: bool = Field(
        False,
        description="where a participant has several scans, take masks and registration from their mean, so that "
        "differences between the scans do not come from separate registrations",
    )
    surface_mm: Annotated[Positive, Field(ge=0.4, le=2)] = Field(
        0.7, description="engine surface: voxel size of the grid on which surfaces are made, in mm"
    )
    surface_qc: dict[Annotated[str, known_word(SURFACE_QUALITY)], Limits] = Field(
        {
            "euler": (1, 3),
            "intersections": (None, 200),
            "defects": (None, 150),
            "contrast": (8.0, None),
            "area_cm2": (450, 1500),
            "thickness_mm": (1.5, 4.5),
        },
        description="engine surface: surface-quality metric of a hemisphere: [lowest, highest]; a scan with a "
        "hemisphere beyond a limit is left out at aggregation, unless `preprocess: accept` names it",
    )
    freesurfer: str = Field(
        "", description="FreeSurfer or FastSurfer derivatives whose stats replace the workflow's own measures"
    )
    chunk: Count = Field(100, description="scans in one chunk of the two-level aggregation")
