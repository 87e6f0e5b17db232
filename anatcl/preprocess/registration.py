"""antsRegistration calls: a linear stage pair and a deformable stage, from recipes."""

from __future__ import annotations

from typing import Any

from anatcl.preprocess.ants import Workspace


def linear(
    room: Workspace,
    fixed: str,
    moving: str,
    start: str,
    settings: dict[str, Any],
    prefix: str,
    mask: str = "",
    stages: tuple[str, ...] = ("Rigid", "Affine"),
) -> str:
    """Rigid, then affine registration with mutual information.

    Parameters
    ----------
    room : Workspace
    fixed, moving : str
        Names of the images in the workspace.
    start : str
        Name of a transform to begin with.
    settings : dict
        ``linear``: iterations of the levels, coarse to fine.
    prefix : str
        Names of the results begin with this.
    mask : str
        Name of a mask of the fixed image in which the metric is computed.
    stages : tuple of str
        ``Rigid`` alone, or both.

    Returns
    -------
    str
        Name of the affine transform (fixed points to moving points).
    """
    iterations = settings["linear"]
    shrink = [2**level for level in reversed(range(len(iterations)))]
    count = len(stages)
    room.run(
        "Registration",
        dimension=3,
        fixed_image=fixed,
        moving_image=moving,
        initial_moving_transform=start,
        output_transform_prefix=prefix,
        transforms=list(stages),
        transform_parameters=[(0.1,)] * count,
        metric=["Mattes"] * count,
        metric_weight=[1.0] * count,
        radius_or_number_of_bins=[32] * count,
        sampling_strategy=["Regular"] * count,
        sampling_percentage=[0.25] * count,
        number_of_iterations=[iterations] * count,
        convergence_threshold=[1e-6] * count,
        convergence_window_size=[10] * count,
        shrink_factors=[shrink] * count,
        smoothing_sigmas=[[s / 2 for s in shrink]] * count,
        sigma_units=["vox"] * count,
        use_histogram_matching=[False] * count,
        winsorize_lower_quantile=0.005,
        winsorize_upper_quantile=0.995,
        collapse_output_transforms=True,
        write_composite_transform=False,
        float=True,
        **({"fixed_image_masks": [mask] * count} if mask else {}),
    )
    return f"{prefix}0GenericAffine.mat"


def composite(room: Workspace, fixed: str, moving: str, transforms: list[str], name: str) -> str:
    """Write a chain of transforms as one file (``.h5``).

    antsRegistration with no iteration writes what it began with, by every engine alike.

    Parameters
    ----------
    fixed, moving : str
        Names of the images that the chain lies between.
    transforms : list of str
        In the order of antsApplyTransforms: the last one is applied to a point of `fixed` first.

    Returns
    -------
    str
        Name of the file.
    """
    room.run(
        "Registration",
        dimension=3,
        fixed_image=fixed,
        moving_image=moving,
        initial_moving_transform=transforms,
        invert_initial_moving_transform=[False] * len(transforms),
        output_transform_prefix=name,
        transforms=["Rigid"],
        transform_parameters=[(0.1,)],
        metric=["Mattes"],
        metric_weight=[1.0],
        radius_or_number_of_bins=[8],
        sampling_strategy=["Regular"],
        sampling_percentage=[0.01],
        number_of_iterations=[[0]],
        shrink_factors=[[8]],
        smoothing_sigmas=[[0]],
        sigma_units=["vox"],
        collapse_output_transforms=False,
        write_composite_transform=True,
        float=True,
    )
    return f"{name}Composite.h5"


def deformable(
    room: Workspace, fixed: str, moving: str, start: str, settings: dict[str, Any], prefix: str, mask: str = ""
) -> tuple[str, str]:
    """Symmetric diffeomorphic registration (SyN) from a linear start.

    Parameters
    ----------
    settings : dict
        ``deformable`` iterations, ``shrink`` factors and ``sigmas_mm`` of the levels, ``metric`` (``Mattes`` or
        ``CC``), ``metric_parameter`` (bins or radius), ``gradient_step``, ``flow_sigma``.

    Returns
    -------
    tuple of str
        Names of the composite transforms: moving image onto the fixed grid, and back.
    """
    iterations = settings["deformable"]
    room.run(
        "Registration",
        dimension=3,
        fixed_image=fixed,
        moving_image=moving,
        initial_moving_transform=start,
        output_transform_prefix=prefix,
        transforms=["SyN"],
        transform_parameters=[(settings["gradient_step"], settings["flow_sigma"], 0.0)],
        metric=[settings["metric"]],
        metric_weight=[1.0],
        radius_or_number_of_bins=[settings["metric_parameter"]],
        number_of_iterations=[iterations],
        convergence_threshold=[1e-6],
        convergence_window_size=[10],
        shrink_factors=[settings["shrink"]],
        smoothing_sigmas=[settings["sigmas_mm"]],
        sigma_units=["mm"],
        use_histogram_matching=[settings["metric"] == "CC"],
        winsorize_lower_quantile=0.005,
        winsorize_upper_quantile=0.995,
        collapse_output_transforms=True,
        write_composite_transform=True,
        float=True,
        **({"fixed_image_masks": [mask]} if mask else {}),
    )
    return f"{prefix}Composite.h5", f"{prefix}InverseComposite.h5"
