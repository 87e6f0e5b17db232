"""From a map of one scan to the volume that an encoder takes: axes, voxel size, field of view, intensity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.pretrain.arrays import check_contract
from anatcl.pretrain.pack import PATTERNS, normalise, plan_grid, read_ras, to_grid

# Maps in the scan's own space: the image, and the mask that it is multiplied with.
NATIVE = {
    "head": ("{scan}_desc-preproc_T1w.nii.gz", ""),
    "stripped": ("{scan}_desc-preproc_T1w.nii.gz", "{scan}_desc-brain_mask.nii.gz"),
}
MOST = 20.0  # a modulated tissue fraction is far below


def map_files(folder: str | Path, map_name: str, scan: str, template: str) -> tuple[Path, Path | None]:
    """Files of a map of one scan in a folder of the preprocess stage: the image, and the mask to apply."""
    image, mask = NATIVE.get(map_name, (PATTERNS.get(map_name, ""), ""))
    paths = [Path(folder) / name.format(scan=scan, template=template) for name in (image, mask) if name]
    return paths[0], paths[1] if mask else None


def to_input(path: str | Path, contract: Mapping[str, Any], mask: str | Path | None = None) -> np.ndarray:
    """Read a map and bring it to an encoder's input.

    With an affine in the contract (encoders of this project) the map must be on that grid, or on the one that packing
    started from, and nothing is resampled that training did not resample. Without one the volume is turned to the
    encoder's axes, resampled to its voxel size, cropped or padded about the centre, and its intensity scaled.

    Parameters
    ----------
    path : path
    contract : mapping
        ``model.json["input"]``.
    mask : path, optional
        Voxels outside it become 0.

    Returns
    -------
    ndarray of shape ``contract["shape"]``, float32

    Raises
    ------
    InputError
        The map cannot be read, is empty, or is not what the encoder takes.
    """
    volume, affine = read_ras(path)
    if mask is not None:
        volume = volume * _same_grid(mask, volume.shape)
    return conform(volume, affine, contract, path)


def conform(volume: np.ndarray, affine: np.ndarray, contract: Mapping[str, Any], path: str | Path) -> np.ndarray:
    """As `to_input`, of a volume in RAS order that was read; `path` is named in errors."""
    if not volume.any():
        raise InputError("the map is empty.", file=path, remedy="Look at the scan's QC picture.")
    if contract["map"] == "vbm" and volume.max() > MOST:
        raise InputError(
            f"the map reaches {volume.max():.3g}, which cannot be a modulated tissue fraction.",
            file=path,
            remedy="Give the VBM map, not the T1w image itself (that one goes through preprocess first).",
        )
    made = (
        _on_its_grid(volume, affine, contract, path) if "affine" in contract else _conformed(volume, affine, contract)
    )
    return np.ascontiguousarray(made, np.float32)


def _same_grid(mask: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    inside, _ = read_ras(mask)
    if inside.shape != shape:
        raise InputError(f"the mask has shape {inside.shape}, the image {shape}.", mask, "Make both again.")
    return np.asarray(inside > 0.5)


def _on_its_grid(volume: np.ndarray, affine: np.ndarray, contract: Mapping[str, Any], path: str | Path) -> np.ndarray:
    volume = normalise(volume, contract.get("intensity", "none"))
    shape = tuple(contract["shape"])
    if volume.shape == shape and np.allclose(affine, contract["affine"], atol=1e-3):
        return volume
    source = contract.get("source_shape")
    if source is not None and volume.shape != tuple(source):
        raise InputError(
            f"the map has shape {volume.shape}; the encoder takes {tuple(source)}, or {shape} when packed.",
            file=path,
            remedy=f"Give the {contract['map']} map that the preprocess stage wrote.",
        )
    grid = plan_grid(volume.shape, affine, contract["voxel_mm"], contract["crop"])
    check_contract(contract, {**contract, "shape": list(grid.shape), "affine": grid.affine}, path)
    return to_grid(volume, grid)


def _conformed(volume: np.ndarray, affine: np.ndarray, contract: Mapping[str, Any]) -> np.ndarray:
    shape, intensity = tuple(contract["shape"]), contract.get("intensity", "none")
    if intensity == "brain-mean":
        volume = normalise(volume, intensity)
    turned, voxel = turn(volume, affine, contract.get("axes", "RAS"))
    if contract.get("fit", "pad") == "resize":
        factor = np.array(turned.shape) / np.array(shape)
        return scaled(resampled(turned, factor, shape), intensity, contract.get("percentiles", (1, 99)))
    wanted = float(contract.get("voxel_mm", 0.0))
    if wanted and not np.allclose(voxel, wanted, rtol=0.02):
        factor = wanted / voxel
        new = np.maximum(1, np.round(np.array(turned.shape) / factor)).astype(int)
        turned = resampled(turned, factor, tuple(int(n) for n in new))
    return scaled(padded(turned, shape), intensity, contract.get("percentiles", (1, 99)))


def turn(volume: np.ndarray, affine: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    """Turn an RAS volume so that its axes lead where `axes` says; also the voxel size of each axis in mm."""
    order = [next(i for i, pair in enumerate(("RL", "AP", "SI")) if letter in pair) for letter in axes]
    flipped = [n for n, letter in enumerate(axes) if letter not in "RAS"]
    voxel = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    return np.flip(volume.transpose(order), flipped), voxel[order]


def resampled(volume: np.ndarray, factor: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample about the common centre, linearly; smoothed first along axes that become coarser.

    Parameters
    ----------
    volume : ndarray of shape (X, Y, Z)
    factor : ndarray of 3
        New voxel size over the old one.
    shape : sequence of 3 int
    """
    from scipy import ndimage

    sigma = 0.4247 * np.sqrt(np.maximum(factor**2 - 1, 0))  # as in `anatcl.pretrain.pack.to_grid`
    smooth = ndimage.gaussian_filter(np.asarray(volume, np.float32), sigma, mode="constant", truncate=3.0)
    start = (np.array(volume.shape) - 1) / 2 - (np.array(shape) - 1) / 2 * factor
    return ndimage.affine_transform(smooth, np.diag(factor), start, tuple(shape), order=1, mode="grid-constant")


def padded(volume: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Crop or pad with zeros about the centre."""
    out = np.zeros(tuple(shape), np.float32)
    here, there = zip(*(_overlap(a, b) for a, b in zip(volume.shape, shape, strict=True)), strict=True)
    out[there] = volume[here]
    return out


def _overlap(have: int, want: int) -> tuple[slice, slice]:
    n, over = min(have, want), have - want
    return slice(max(0, over // 2), max(0, over // 2) + n), slice(max(0, -over // 2), max(0, -over // 2) + n)


def scaled(volume: np.ndarray, intensity: str, percentiles: Sequence[float] = (1, 99)) -> np.ndarray:
    """Scale intensities, see `anatcl.spec.encoders.Input`; ``none`` and ``brain-mean`` change nothing here."""
    if intensity == "mean":
        return volume / max(float(volume.mean()), 1e-8)
    if intensity == "standardise":
        return (volume - volume.mean()) / max(float(volume.std()), 1e-8)
    inside = volume != 0
    if intensity not in ("z-score", "percentiles") or not inside.any():
        return volume
    values = volume[inside].astype(np.float64)
    if intensity == "z-score":
        low, span = values.mean(), max(values.std(), 1e-8)
        return np.where(inside, (volume - low) / span, 0)
    low, high = np.percentile(values, percentiles)
    return np.where(inside, np.clip((volume - low) / max(high - low, 1e-8), 0, 1), 0)
