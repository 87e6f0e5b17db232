"""Recipes: how much work each imaging step does, as data files (``recipes/*.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.spec.section import Count, NotNegative, Positive, Section, Whole
from anatcl.spec.shipped import find_file, shipped_names

FOLDER = Path(__file__).with_name("recipes")
# Iterations of each level, coarse to fine.
Levels = Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1)]
Metric = Literal["CC", "Mattes", "MI", "MeanSquares", "Demons", "GC"]


class BiasField(Section):
    """One N4 bias-field correction."""

    grid_mm: Positive = Field(description="voxel side of the grid on which it runs, in mm")
    iterations: Levels = Field(description="iterations of each level")
    tolerance: Positive = Field(description="stop a level when the field changes by less")
    spline_mm: Positive | None = Field(None, description="distance of the spline's knots, in mm; null: ANTs' own")


class Again(BiasField):
    """Repeated corrections, as long as the field found is large enough."""

    above: NotNegative = Field(description="run once more while the SD of the field's logarithm exceeds this")
    at_most: Count = Field(description="at most this many")


class BiasCorrect(BiasField):
    """Step ``bias_correct``."""

    again: Again | None = Field(None, description="repeated corrections; null: none")


class Skullstrip(Section):
    """Step ``skullstrip``: the brain mask by registration, or by a network."""

    method: Literal["ants", "deepbet"] = Field("ants", description="method that finds the inside of the skull")
    work_mm: Positive = Field(description="voxel side of the registration, in mm")
    linear: Levels = Field(description="iterations of the rigid and affine levels")
    deformable: Levels = Field(description="iterations of the deformable levels")
    metric: Metric = Field(description="similarity metric of the deformable registration")
    metric_parameter: Count = Field(description="radius (CC) or number of bins (Mattes)")


class Greedy(Section):
    """The deformable registration of the engine ``greedy``."""

    radius: Count = Field(description="radius of the cross-correlation, in voxels")
    iterations: Levels = Field(description="iterations of each level")
    smoothing_vox: tuple[NotNegative, NotNegative] = Field(
        description="SD of the smoothing of each update and of the whole field, in voxels"
    )
    step: Positive = Field(description="step length, in voxels")
    stationary: bool = Field(description="use a stationary velocity field")


class Register(Section):
    """Step ``register``."""

    engine: Literal["ants", "greedy"] = Field("ants", description="engine of the deformable registration")
    margin_mm: Positive | None = Field(
        None, description="crop the template to its brain and this margin, in mm; null: no cropping"
    )
    linear: Levels = Field(description="iterations of the rigid and affine levels")
    deformable: Levels = Field(description="iterations of the deformable levels (engine ants)")
    shrink: tuple[Count, ...] = Field(description="shrink factor of each level")
    sigmas_mm: tuple[NotNegative, ...] = Field(description="SD of the smoothing of each level, in mm")
    metric: Metric = Field(description="similarity metric of the deformable registration")
    metric_parameter: Count = Field(description="radius (CC) or number of bins (Mattes)")
    gradient_step: Positive = Field(description="step of SyN")
    flow_sigma: NotNegative = Field(description="smoothing of SyN's updates, in voxels")
    greedy: Greedy | None = Field(None, description="settings of the engine greedy; null: those of the recipe fast")

    @model_validator(mode="after")
    def _levels(self) -> Self:
        counts = [len(self.deformable), len(self.shrink), len(self.sigmas_mm)]
        if len(set(counts)) > 1:
            raise ValueError(f"deformable, shrink and sigmas_mm must name as many levels, not {counts}")
        return self


class Segment(Section):
    """Step ``segment``."""

    method: Literal["fractions", "posterior"] = Field(
        "fractions",
        description="content of the tissue maps: the fraction of a voxel that is each tissue, or its posterior "
        "probability in Atropos",
    )
    iterations: Count = Field(description="iterations of Atropos in each round")
    rounds: Count = Field(description="rounds of segmentation, with a bias correction in between")
    prior_weight: Annotated[NotNegative, Field(le=1)] = Field(description="weight of the template's tissue maps")
    mrf: NotNegative = Field(description="weight of the neighbouring voxels (Markov random field)")
    n4: BiasField | None = Field(
        None,
        description="bias correction inside the brain, between the rounds or, with one round, before the fractions",
    )

    @model_validator(mode="after")
    def _between(self) -> Self:
        if self.rounds > 1 and self.n4 is None:
            raise ValueError("more than one round needs n4, the bias correction in between")
        return self


class Recipe(Section):
    """How much work each imaging step does."""

    description: str = Field("", description="purpose; not used by the workflow")
    template_mm: Positive = Field(description="voxel side of the template, in mm")
    bias_correct: BiasCorrect
    skullstrip: Skullstrip
    register_: Register = Field(alias="register")
    segment: Segment
    thickness: Literal["distance", "direct", "kelly_kapowski"] = Field(description="how thickness is estimated")
    measures_engine: Literal["volume", "surface"] = Field(
        "volume", description="engine of the measures with `measures: {engine: auto}`, if the atlas supports it"
    )


def names() -> list[str]:
    """Names of the recipes that are shipped."""
    return shipped_names(FOLDER, ".json")


def load_recipe(name: str | Path, step: str | None = None) -> dict[str, Any]:
    """Read a recipe by name or by the path of a JSON file; its content is what the file says, once it is checked.

    Parameters
    ----------
    name : str or path
        ``precise``, ``fast``, ``testing``, or the path of a file of the same shape.
    step : str, optional
        Return this step's part only.

    Raises
    ------
    InputError
        There is no such recipe, or a key or a value in it is wrong.
    """
    path = find_file(name, FOLDER, ".json", "recipe")
    try:
        recipe = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe is not valid JSON ({error}).", path, "Compare it with a shipped one.") from error
    if not isinstance(recipe, dict):
        raise InputError("the recipe is not a mapping.", path, "Compare it with recipes/fast.json.")
    Recipe.parse(recipe, "recipe", path)
    return recipe if step is None else recipe[step]
