"""What a thickness method may be told."""

from __future__ import annotations

import dataclasses

from anatcl.base.errors import InputError

READOUTS = ("depth", "displacement")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Parameters of the flow; names in brackets are KellyKapowski's options.

    Attributes
    ----------
    gradient_step : float
        Step of the velocity update, in mm (``-r``).
    smoothing_velocity : float
        Variance of the Gaussian on the velocity field, in voxels squared (``-m``).
    smoothing : float
        Standard deviation of the image gradient in mm, and variance of the spread of thickness in voxels squared
        (``-l``).
    integration_points : int
        Steps of the flow (``-n``).
    max_mm : float
        Largest thickness (``-t``).
    iterations : int
        At most this many (``-c``).
    tolerance : float
        Stop when the mean speed at the cortex changes by less than this fraction in one iteration; 0 never stops.
    readout : str
        ``depth`` or ``displacement``.
    """

    gradient_step: float = 0.05
    smoothing_velocity: float = 1.0
    smoothing: float = 1.0
    integration_points: int = 10
    max_mm: float = 8.0
    iterations: int = 30
    tolerance: float = 0.01
    readout: str = "depth"

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise InputError(f"there is no readout {self.readout!r}.", remedy=f"Take one of {READOUTS}.")
