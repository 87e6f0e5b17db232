"""antsRegistration calls: a linear stage pair and a deformable stage, from recipes."""

from __future__ import annotations

from typing import Any

from anatcl.preprocess.ants import Workspace


def linear(
    room: Workspace, fixed: str, moving: str, start: str, settings: dict[str, Any], prefix: str, mask: str = ""
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

    Returns
    -------
    str
        Name of the affine transform (fixed points to moving points).
    """
    iterations = settings["linear"]
    shrink = [2**level for level in reversed(range(len(iterations)))]
    stages = 2
    room.run(
        "Registration",
        dimension=3,
        fixed_image=fixed,
        moving_image=moving,
        initial_moving_transform=start,
        output_transform_prefix=prefix,
        transforms=["Rigid", "Affine"],
        transform_parameters=[(0.1,), (0.1,)],
        metric=["Mattes"] * stages,
        metric_weight=[1.0] * stages,
        radius_or_number_of_bins=[32] * stages,
        sampling_strategy=["Regular"] * stages,
        sampling_percentage=[0.25] * stages,
        number_of_iterations=[iterations] * stages,
        convergence_threshold=[1e-6] * stages,
        convergence_window_size=[10] * stages,
        shrink_factors=[shrink] * stages,
        smoothing_sigmas=[[s / 2 for s in shrink]] * stages,
        sigma_units=["vox"] * stages,
        use_histogram_matching=[False] * stages,
        winsorize_lower_quantile=0.005,
        winsorize_upper_quantile=0.995,
        collapse_output_transforms=True,
        write_composite_transform=False,
        float=True,
        **({"fixed_image_masks": [mask, mask]} if mask else {}),
    )
    return f"{prefix}0GenericAffine.mat"


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
