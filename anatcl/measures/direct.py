"""DiReCT thickness in torch: the flow of ANTs' KellyKapowski, followed on the cortex's voxels alone.

A stationary velocity field moves white matter outward until it fills the cortex. Where the reference composes and
inverts dense displacement fields ten times per iteration, this solver follows points: cortical voxels backward to read
the white matter that reaches them, interface voxels forward to measure the way they go. The work grows with the cortex,
not with the head.

How thickness is read off the flow can be chosen. ``displacement`` is the reference's: how far an interface point gets.
It depends on step, smoothing and number of iterations (KellyKapowski's own default stops short by a quarter) and counts
what a point slides along a narrow sulcus. ``depth``, the default, adds up the grey matter that a point crosses on its
way away from white matter: partial volume counts for what it is, sliding counts nothing, and the settings hardly
matter.

Source: Das et al. 2009, NeuroImage 45:867, and the behaviour of ANTs' program.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from anatcl.measures.kelly_kapowski import segmentation
from anatcl.preprocess.geometry import bounding_box
from anatcl.spec.thickness import Settings

log = logging.getLogger(__name__)
# Agrees with KellyKapowski at gradient step .05, smoothing 1 and 90 iterations: that program's inversions fall behind
# its own flow, and its recursive Gaussian is wider than its name says where it is narrower than a voxel. Chosen on one
# head at 2 mm (AOMIC sub-0001), checked on others: docs/results/measures. Every iteration is needed.
MATCHED = {"readout": "displacement", "gradient_step": 0.0285, "iterations": 90, "tolerance": 0.0, "smoothing": 1.4}


def direct(
    grey: NDArray,
    white: NDArray,
    spacing: NDArray,
    device: str = "cpu",
    threads: int = 1,
    seed: int = 0,
    **options: Any,
) -> NDArray:
    """Cortical thickness in mm, float32, shape (X, Y, Z), zero outside cortical grey matter.

    Parameters
    ----------
    grey, white : ndarray of shape (X, Y, Z)
        Probability of cortical grey matter, and of lying inside the white surface.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
        Of torch, on the CPU.
    seed : int
        Not used: nothing here is random.
    **options
        Fields of `Settings`.
    """
    settings = Settings.parse(options, "thickness direct")
    seg = segmentation(grey, white)
    result = np.zeros(grey.shape, np.float32)
    if not (seg == 2).any() or not (seg == 3).any():
        return result
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            box = bounding_box(seg == 2, margin=4)
            flow = _Flow(grey[box], white[box], seg[box], np.asarray(spacing, float), torch.device(device), settings)
            result[box] = flow.solve().cpu().numpy()
    finally:
        torch.set_num_threads(before)
    return result


class _Flow:
    """State of the flow; fields live on the box, points on the voxels that may move.

    Attributes
    ----------
    velocity : Tensor of shape (1, 3, X, Y, Z), mm per step, toward white matter
    points : Tensor of shape (P, 3), voxel indices of moving voxels
    edge_points : Tensor of shape (E, 3), voxel indices of white matter that touches something else
    """

    def __init__(
        self, grey: NDArray, white: NDArray, seg: NDArray, spacing: NDArray, device: torch.device, settings: Settings
    ) -> None:
        self.settings = settings
        self.device = device
        self.shape = seg.shape
        self.spacing = torch.tensor(spacing, dtype=torch.float32, device=device)
        self.scale = 2 / (torch.tensor(seg.shape, device=device) - 1)  # from voxels to grid_sample's -1 to 1
        cortex, edge = seg == 2, _contour(seg == 3)
        moving = cortex | edge | _contour(seg > 1)
        if settings.readout == "depth":
            # A point that may not enter the outermost, partly grey voxels would stop before their grey is counted.
            moving |= grey > 0.02
        self.grey, self.white = self._image(grey), self._image(white)
        self.flat = self._tensor(np.flatnonzero(moving), torch.int64)
        self.points = self._tensor(np.argwhere(moving), torch.float32)
        self.target = self._tensor(np.where(cortex, grey, 0)[moving], torch.float32)
        self.in_cortex = self._tensor(cortex[moving], torch.bool)
        self.cortex_at = self._tensor(np.flatnonzero(cortex), torch.int64)
        self.edge_at = self._tensor(np.flatnonzero(edge), torch.int64)
        self.edge_points = self._tensor(np.argwhere(edge), torch.float32)
        self.velocity = torch.zeros((1, 3, *self.shape), device=device)
        self.kernel = [_gaussian(settings.smoothing_velocity**0.5)] * 3
        self.blur = [_gaussian(settings.smoothing / float(h)) for h in spacing]

    def solve(self) -> Tensor:
        """Iterate until the flow stands still; return thickness on the box, shape (X, Y, Z)."""
        last = 0.0
        for iteration in range(1, self.settings.iterations + 1):
            self._update()
            speed = float(_length(self.velocity.view(3, -1)[:, self.flat]).mean())
            log.debug("iteration %d: mean speed %.4f mm per step", iteration, speed)
            if abs(speed - last) < self.settings.tolerance * speed:
                break
            last = speed
        reach = self._depth() if self.settings.readout == "depth" else self._displacement()
        return self._spread(reach)

    def _update(self) -> None:
        """Push the velocity along the normals until the white matter that arrives equals the grey that is there."""
        place = self.points.clone()
        field = torch.cat([self.velocity, self.white], dim=1)
        push, arrived = torch.zeros_like(self.target), torch.zeros_like(self.target)
        for point in range(self.settings.integration_points):
            # The flow starts at the centres of voxels, where there is nothing to interpolate.
            sample = self._sample(field, place) if point else field.view(4, -1)[:, self.flat]
            push += torch.where(self.in_cortex, (self.target - sample[3]) * self.target, 0)
            arrived += sample[3]
            place += sample[:3].T / self.spacing
        # The reference takes the normal anew at each point of the flow; that of their mean differs by 2 % in thickness
        # and costs a tenth.
        velocity = self.velocity.clone().view(3, -1)
        velocity[:, self.flat] += self._normal(arrived / self.settings.integration_points) * (
            push * self.settings.gradient_step
        )
        smooth = _smooth(velocity.view_as(self.velocity), self.kernel).view(3, -1)
        self.velocity.zero_().view(3, -1)[:, self.flat] = smooth[:, self.flat]

    def _normal(self, arrived: Tensor) -> Tensor:
        """Unit gradient, in mm, of white matter as the flow moves it, at the moving voxels, shape (3, P)."""
        image = self.white.clone()
        image.view(-1)[self.flat] = arrived
        return self._gradient(image)[:, self.flat]

    def _gradient(self, image: Tensor) -> Tensor:
        """Unit gradient of the smoothed image, in mm, zero where it is flat, shape (3, X * Y * Z)."""
        smooth = _smooth(image, self.blur)[0, 0]
        slopes = torch.stack([torch.gradient(smooth, dim=d)[0] for d in range(3)]).view(3, -1) / self.spacing[:, None]
        norm = _length(slopes)
        return torch.where(norm > 1e-3, slopes / norm.clamp_min(1e-3), 0)

    def _displacement(self) -> Tensor:
        """How far, in mm, the flow moves each interface voxel outward, shape (E,)."""
        place = self.edge_points.clone()
        for _ in range(self.settings.integration_points - 1):
            # The inverse of a step x + v(x), by two fixed-point iterations.
            guess = place - self._sample(self.velocity, place).T / self.spacing
            place = place - self._sample(self.velocity, guess).T / self.spacing
        return _length(((place - self.edge_points) * self.spacing).T)

    def _depth(self) -> Tensor:
        """Grey matter, in mm, that each interface voxel crosses on its way away from white matter, shape (E,)."""
        step = float(self.spacing.min()) / 4
        depth = self._image(distance_from_white(self.white[0, 0].cpu().numpy(), self.grey[0, 0].cpu().numpy(),
                                                self.spacing.cpu().numpy()))  # fmt: skip
        heading = self.velocity / _length(self.velocity[0]).clamp_min(1e-6)
        field = torch.cat([heading, self.grey, depth], dim=1)
        place = self.edge_points.clone()
        here = self._sample(field, place)
        crossed = torch.zeros(len(place), device=self.device)
        most = crossed.clone()
        for _ in range(round(self.settings.max_mm / step)):
            # Where headings cancel there is nowhere to go: the middle of a sulcus, or beyond the cortex.
            place = place - (here[:3] / _length(here[:3]).clamp_min(0.2)).T * step / self.spacing
            there = self._sample(field, place)
            crossed += (there[4] - here[4]) * (here[3] + there[3]) / 2
            most = torch.maximum(most, crossed)
            here = there
        return most + self._behind()

    def _behind(self, parts: int = 4) -> Tensor:
        """Grey matter, in mm, within a voxel behind each interface voxel: the foot of the partial-volume ramp."""
        inward = self._gradient(self.white)[:, self.edge_at].T
        reach = float(self.spacing.mean())
        total = torch.zeros(len(self.edge_points), device=self.device)
        for part in range(parts):
            place = self.edge_points + inward * (reach * (part + 0.5) / parts) / self.spacing
            total += self._sample(self.grey, place)[0] * (reach / parts)
        return total

    def _spread(self, reach: Tensor) -> Tensor:
        """Propagate the thickness of the interface over the cortex along the flow, shape (X, Y, Z)."""
        maps = torch.zeros((1, 2, *self.shape), device=self.device)
        maps.view(2, -1)[0, self.edge_at] = 1
        maps.view(2, -1)[1, self.edge_at] = reach
        gathered = maps.clone().view(2, -1)
        field = torch.cat([self.velocity, maps], dim=1)
        place = self.points.clone()
        for point in range(self.settings.integration_points):
            sample = self._sample(field, place)
            if point:
                gathered[:, self.flat] += torch.where(self.in_cortex, sample[3:], 0)
            place += sample[:3].T / self.spacing
        smooth = _smooth(gathered.view(1, 2, *self.shape), [_gaussian(self.settings.smoothing**0.5)] * 3).view(2, -1)
        hits, total = smooth[:, self.cortex_at]
        result = torch.zeros(self.shape, device=self.device)
        result.view(-1)[self.cortex_at] = torch.where(hits > 1e-3, total / hits.clamp_min(1e-3), 0)
        return result.clamp_(0, self.settings.max_mm)

    def _sample(self, field: Tensor, place: Tensor) -> Tensor:
        """Linear interpolation of `field` (1, C, X, Y, Z) at voxel positions (P, 3), shape (C, P)."""
        # On a CPU torch gives each image of a batch to a thread: one part of the points for each.
        parts = torch.get_num_threads() if self.device.type == "cpu" else 1
        count = -(-len(place) // parts)
        grid = functional.pad((place * self.scale - 1).flip(-1), (0, 0, 0, count * parts - len(place)))
        grid = grid.view(parts, count, 1, 1, 3)
        fields = field.expand(parts, -1, -1, -1, -1)
        found = functional.grid_sample(fields, grid, align_corners=True, padding_mode="border")[..., 0, 0]
        return found.transpose(0, 1).flatten(1)[:, : len(place)]

    def _tensor(self, data: NDArray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(data, device=self.device).to(dtype)

    def _image(self, data: NDArray) -> Tensor:
        return self._tensor(np.ascontiguousarray(data), torch.float32)[None, None]


def distance_from_white(white: NDArray, grey: NDArray, spacing: NDArray) -> NDArray:
    """Signed distance in mm from the white surface, negative inside it, at the voxels around grey matter.

    Sub-voxel: measured to the mesh, near it along the normal of the nearest vertex. Zero far from grey matter.
    """
    from scipy.spatial import cKDTree

    from anatcl.measures.surface import white_surface

    spacing = np.asarray(spacing, float)
    mesh = white_surface(white, spacing)
    result = np.zeros(white.shape, np.float32)
    near = ndimage.binary_dilation(grey > 0.02, iterations=2)
    if not len(mesh.vertices) or not near.any():
        return result
    places = np.argwhere(near) * spacing
    distance, at = cKDTree(mesh.vertices).query(places)
    along = ((places - mesh.vertices[at]) * mesh.normals[at]).sum(axis=1)
    aside = np.sqrt(np.maximum(distance**2 - along**2, 0))
    result[near] = np.where(aside < 0.6 * spacing.max(), along, np.sign(along) * distance)
    return result


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the first axis; torch's own norm over it is fifty times slower on a CPU."""
    return vectors.square().sum(0).sqrt()


def _contour(mask: NDArray) -> NDArray:
    """Voxels of `mask` that touch, by a corner at least, what is not in it."""
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 3)), border_value=1)


def _gaussian(sigma: float) -> list[float]:
    """Weights of the centre and of each distance from it; they add up to one over both sides."""
    reach = np.arange(max(1, int(3 * sigma + 0.5)) + 1)
    weight = np.exp(-0.5 * (reach / max(sigma, 1e-6)) ** 2)
    return (weight / (weight[0] + 2 * weight[1:].sum())).tolist()


def _smooth(field: Tensor, kernels: list[list[float]]) -> Tensor:
    """Separable Gaussian over the last three axes, zero outside; sums of shifted copies beat conv3d on a CPU."""
    for axis, kernel in zip((2, 3, 4), kernels, strict=True):
        length = field.shape[axis]
        result = field * kernel[0]
        for k, weight in enumerate(kernel[1:length], start=1):
            result.narrow(axis, k, length - k).add_(field.narrow(axis, 0, length - k), alpha=weight)
            result.narrow(axis, 0, length - k).add_(field.narrow(axis, k, length - k), alpha=weight)
        field = result
    return field
