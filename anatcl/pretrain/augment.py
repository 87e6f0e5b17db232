"""Augmentations of a whole batch on the device.

Each transform has two halves: `draw` makes its random parameters (small tensors), `apply` is deterministic in them, so
that what was done can be replayed and tested. All take volumes (B, 1, X, Y, Z) float32 and treat each one for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anatcl.base.errors import InputError
from anatcl.spec import augmentation as spec

Parameters = dict[str, Tensor]


class Transform(spec.Transform):
    """Base of all transforms; options, with defaults: :mod:`anatcl.spec.augmentation`."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """Return the random parameters of n volumes, on the CPU."""
        raise NotImplementedError

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """Return the transformed volumes (B, 1, X, Y, Z)."""
        raise NotImplementedError

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Draw and apply; volumes that the coin leaves out stay as they are, and cost nothing.

        The coins fall on the CPU, so that a GPU need not be asked how many volumes there are.
        """
        chosen = torch.nonzero(torch.rand(x.shape[0], generator=random) < self.p)[:, 0]
        drawn = self.draw(x.shape[0], random)
        if len(chosen) == 0:
            return x
        parameters = {k: v[chosen].to(x.device, non_blocking=True) for k, v in drawn.items()}
        where = chosen.to(x.device, non_blocking=True)
        return x.index_copy(0, where, self.apply(x[where], parameters))


def _uniform(n: int, low: float, high: float, random: torch.Generator, columns: int = 1) -> Tensor:
    return torch.rand(n, columns, generator=random) * (high - low) + low


def _wide(x: Tensor) -> Tensor:
    """(B,) or (B, 1) to (B, 1, 1, 1, 1)."""
    return x.reshape(-1, 1, 1, 1, 1)


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class Flip(Transform, spec.Flip):
    """Mirror left and right (first axis of RAS)."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        return x.flip(2)


class Crop(Transform, spec.Crop):
    """Take a random box and enlarge it to the full volume."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        side = _uniform(n, self.smallest, 1.0, random, 3)
        return {"side": side, "centre": _uniform(n, -1.0, 1.0, random, 3) * (1 - side)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        matrix = torch.cat([torch.diag_embed(parameters["side"]), parameters["centre"][:, :, None]], dim=2)
        return _sample(x, _affine_grid(matrix, x))


class Affine(Transform, spec.Affine):
    """Rotate, scale and shift about the centre."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {
            "angles": torch.deg2rad(_uniform(n, -self.degrees, self.degrees, random, 3)),
            "scale": _uniform(n, 1 - self.scale, 1 + self.scale, random),
            "shift": _uniform(n, -self.shift, self.shift, random, 3),
        }

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        # grid_sample works in a cube of -1..1; sizes bring rotations back to the volume's true proportions.
        size = torch.tensor(x.shape[:1:-1], dtype=x.dtype).to(x.device, non_blocking=True)
        linear = _rotation(parameters["angles"]) / parameters["scale"][:, :, None]
        linear = linear * size[None, None, :] / size[None, :, None]
        return _sample(x, _affine_grid(torch.cat([linear, parameters["shift"][:, :, None]], dim=2), x))


def _rotation(angles: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) from angles (B, 3) about the three axes, in radians."""
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros_like(angles[:, 0]), torch.ones_like(angles[:, 0])
    rows = (
        [[one, zero, zero], [zero, c[:, 0], -s[:, 0]], [zero, s[:, 0], c[:, 0]]],
        [[c[:, 1], zero, s[:, 1]], [zero, one, zero], [-s[:, 1], zero, c[:, 1]]],
        [[c[:, 2], -s[:, 2], zero], [s[:, 2], c[:, 2], zero], [zero, zero, one]],
    )
    a, b, d = (torch.stack([torch.stack(row, dim=1) for row in matrix], dim=1) for matrix in rows)
    return a @ b @ d


def _affine_grid(matrix: Tensor, x: Tensor) -> Tensor:
    return F.affine_grid(matrix, list(x.shape), align_corners=False)


class Elastic(Transform, spec.Elastic):
    """Smooth random displacement: a coarse field of random vectors, interpolated."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {"field": torch.randn(n, 3, self.nodes, self.nodes, self.nodes, generator=random) * self.size}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        field = F.interpolate(parameters["field"], list(x.shape[2:]), mode="trilinear", align_corners=True)
        unit = torch.eye(3, 4, device=x.device)[None].expand(x.shape[0], -1, -1)
        return _sample(x, _affine_grid(unit, x) + field.permute(0, 2, 3, 4, 1))


class BiasField(Transform, spec.BiasField):
    """Multiply by ``exp`` of a random quadratic polynomial of the position."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {"coefficients": torch.randn(n, 9, generator=random) * self.strength}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        axes = [torch.linspace(-1, 1, n, device=x.device) for n in x.shape[2:]]
        i, j, k = torch.meshgrid(*axes, indexing="ij")
        basis = torch.stack([i, j, k, i * i, j * j, k * k, i * j, i * k, j * k])
        return x * torch.exp(torch.tensordot(parameters["coefficients"], basis, dims=1))[:, None]


class Noise(Transform, spec.Noise):
    """Add Gaussian noise."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`; the noise itself is made on the device from a seed."""
        return {"sd": _uniform(n, 0, self.sd, random), "seed": torch.randint(2**31, (1,), generator=random)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        return self.add(x, _wide(parameters["sd"]), int(parameters["seed"]))

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Draw and apply; the seed stays on the CPU, since reading it from a GPU would wait for the device."""
        chosen = torch.rand(x.shape[0], generator=random) < self.p
        parameters = self.draw(x.shape[0], random)
        sd = _wide(parameters["sd"][:, 0] * chosen).to(x.device, non_blocking=True)
        return self.add(x, sd, int(parameters["seed"]))

    @staticmethod
    def add(x: Tensor, sd: Tensor, seed: int) -> Tensor:
        """Add noise of `sd` (B, 1, 1, 1, 1) times each volume's SD."""
        random = torch.Generator(x.device).manual_seed(seed)
        noise = torch.randn(x.shape, generator=random, device=x.device)
        return x + noise * sd * _wide(x.flatten(1).std(1))


class Blur(Transform, spec.Blur):
    """Smooth by a Gaussian."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {"sigma": _uniform(n, 0.1, self.sigma, random)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        reach = max(1, int(3 * self.sigma + 0.5))
        offset = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        kernel = torch.exp(-(offset**2) / (2 * parameters["sigma"] ** 2))
        kernel = kernel / kernel.sum(1, keepdim=True)
        out = x.transpose(0, 1)  # volumes become channels: one grouped convolution per axis for the whole batch
        for axis in range(3):
            shape, padding = [1, 1, 1], [0, 0, 0]
            shape[axis], padding[axis] = len(offset), reach
            out = F.conv3d(out, kernel.reshape(-1, 1, *shape), padding=padding, groups=x.shape[0])
        return out.transpose(0, 1)


class Cutout(Transform, spec.Cutout):
    """Set a random box to zero."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {"corner": _uniform(n, 0, 1 - self.side, random, 3)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        inside = torch.ones_like(x, dtype=torch.bool)
        for axis, n in enumerate(x.shape[2:]):
            place = torch.arange(n, device=x.device) / n
            corner = parameters["corner"][:, axis, None]
            shape = [x.shape[0], 1, 1, 1, 1]
            shape[2 + axis] = n
            inside = inside & ((place >= corner) & (place < corner + self.side)).reshape(shape)
        return x.masked_fill(inside, 0.0)


class Contrast(Transform, spec.Contrast):
    """Raise intensities, scaled to 0..1 per volume, to a random power."""

    def draw(self, n: int, random: torch.Generator) -> Parameters:
        """See `Transform.draw`."""
        return {"exponent": self.power ** _uniform(n, -1, 1, random)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """See `Transform.apply`."""
        flat = x.flatten(1)
        low, high = _wide(flat.amin(1)), _wide(flat.amax(1))
        span = (high - low).clamp_min(1e-6)
        return ((x - low) / span).clamp_min(0) ** _wide(parameters["exponent"]) * span + low


TRANSFORMS: dict[str, type[Transform]] = {
    "flip": Flip,
    "crop": Crop,
    "affine": Affine,
    "elastic": Elastic,
    "bias-field": BiasField,
    "blur": Blur,
    "contrast": Contrast,
    "noise": Noise,
    "cutout": Cutout,
}


class Augment:
    """A sequence of transforms, replayable from a seed.

    Parameters
    ----------
    transforms : sequence of Transform
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    @classmethod
    def parse(cls, config: Mapping[str, Mapping[str, Any]]) -> Augment:
        """Make the sequence from ``{"flip": {"p": 0.5}, "noise": {"sd": 0.1}}``, in that order."""
        try:
            told = spec.transforms(config)
        except ValueError as error:
            raise InputError(f"{error}.") from None
        return cls([TRANSFORMS[name](**values.model_dump()) for name, values in told.items()])

    def __call__(self, x: Tensor, seed: int) -> Tensor:
        """Transform volumes (B, 1, X, Y, Z); the same seed gives the same result, on one kind of device."""
        random = torch.Generator().manual_seed(seed)
        for transform in self.transforms:
            x = transform(x, random)
        return x
