"""Options of each thickness method (``measures: thickness_options``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from anatcl.spec.section import Count, NotNegative, Positive, Section, Whole


class Distance(Section):
    """Thickness by distance has no options."""


class Settings(Section):
    """Parameters of the flow of ``direct``; names in brackets are KellyKapowski's options."""

    gradient_step: Positive = Field(0.05, description="step of the velocity update, in mm (-r)")
    smoothing_velocity: NotNegative = Field(
        1.0, description="variance of the Gaussian on the velocity field, in voxels squared (-m)"
    )
    smoothing: NotNegative = Field(
        1.0,
        description="SD of the image gradient in mm, and variance of the spread of thickness in voxels squared (-l)",
    )
    integration_points: Count = Field(10, description="steps of the flow (-n)")
    max_mm: Positive = Field(8.0, description="largest thickness, in mm (-t)")
    iterations: Count = Field(30, description="largest number of iterations (-c)")
    tolerance: NotNegative = Field(
        0.01,
        description="stop when the mean speed at the cortex changes by less than this fraction in one iteration; 0 "
        "never stops",
    )
    readout: Literal["depth", "displacement"] = Field(
        "depth",
        description="how thickness is read from the flow: depth of grey matter crossed, or displacement of a point",
    )


class Direct(Settings):
    """Options of ``direct``: its `Settings`, and where it runs."""

    device: Literal["cpu", "cuda"] = Field("cpu", description="device on which the flow is computed")


def _convergence(text: str) -> str:
    if not re.fullmatch(r"\[\d+(,[-+.eE\d]+(,\d+)?)?\]", text.replace(" ", "")):
        raise ValueError("write [iterations,threshold,window], such as [90,0.0,10]")
    return text


class KellyKapowski(Section):
    """Inputs of nipype's KellyKapowski; nipype's own defaults stop short (2.2 to 2.6 mm of 3 mm), these converge."""

    convergence: Annotated[str, AfterValidator(_convergence)] = Field(
        "[90,0.0,10]", description="[iterations,threshold,window] (-c)"
    )
    gradient_step: Positive = Field(0.05, description="step of the velocity update, in mm (-r)")
    smoothing_velocity_field: NotNegative = Field(
        1.0, description="variance of the Gaussian on the velocity field, in voxels squared (-m)"
    )
    smoothing_variance: NotNegative | None = Field(None, description="variance of the smoothing (-l); null: ANTs'")
    thickness_prior_estimate: Positive | None = Field(None, description="largest thickness, in mm (-t); null: ANTs'")
    use_bspline_smoothing: bool = Field(False, description="B-splines instead of Gaussians (-b)")
    number_integration_points: Count | None = Field(None, description="steps of the flow (-n); null: ANTs'")
    max_invert_displacement_field_iters: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="iterations of the inversion (-p); null: ANTs'"
    )


OPTIONS: dict[str, type[Section]] = {"distance": Distance, "direct": Direct, "kelly_kapowski": KellyKapowski}


def load_options(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a thickness method as they were given, after they have been checked.

    Raises
    ------
    InputError
        An option that the method does not have, or a value out of range.
    """
    OPTIONS[method].parse(dict(values), f"thickness {method}")
    return dict(values)
