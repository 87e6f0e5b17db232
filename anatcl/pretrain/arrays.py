"""Packed volumes: one memory-mapped array of a whole cohort, and what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_json, read_tsv, sha256, write_json, write_tsv
from anatcl.base.words import plural

FORMAT = 1
DTYPES = ("float16", "float32", "uint8")  # that volumes are stored in
# Keys of arrays.json that an encoder's input must agree with.
CONTRACT = ("shape", "axes", "affine", "map", "intensity")
MISSING = "Run `python -m anatcl pretrain pack` (or `simulate --arrays`) first."


@dataclass(frozen=True)
class PackedArrays:
    """An opened folder of packed volumes.

    Attributes
    ----------
    folder : Path
    volumes : memmap of shape (N, X, Y, Z)
        Stored values; the true value is ``stored * scale``.
    rows : DataFrame of N rows
        Columns of scans.tsv, in the order of the volumes.
    meta : dict
        Content of arrays.json.
    """

    folder: Path
    volumes: np.ndarray
    rows: pd.DataFrame
    meta: dict[str, Any]

    @property
    def scale(self) -> float:
        """Factor from stored to true values."""
        return float(self.meta.get("scale", 1.0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one volume, (X, Y, Z)."""
        return tuple(self.volumes.shape[1:])

    @property
    def sha256(self) -> str:
        """Digest of volumes.npy: the one noted when it was written, or computed when the file changed since."""
        file, noted = self.folder / "volumes.npy", self.meta.get("volumes_sha256")
        changed = file.stat().st_mtime_ns > (self.folder / "arrays.json").stat().st_mtime_ns
        return sha256(file) if noted is None or changed else str(noted)

    def not_finite(self, rows: np.ndarray) -> list[str]:
        """Scans of `rows` (numbers of volumes) whose volume holds NaN or an infinity; reads all of them."""
        bad = [int(row) for row in rows if not np.isfinite(self.volumes[row]).all()]
        return self.rows["scan"].iloc[bad].astype(str).tolist()

    def true(self, index: int) -> np.ndarray:
        """Return volume `index` as float32 true values, shape (X, Y, Z)."""
        return self.volumes[index].astype(np.float32) * np.float32(self.scale)


def open_arrays(folder: str | Path) -> PackedArrays:
    """Open packed volumes without reading them.

    Raises
    ------
    InputError
        When a file is absent or the three files disagree.
    """
    folder = Path(folder)
    for name in ("arrays.json", "rows.tsv", "volumes.npy"):
        if not (folder / name).is_file():
            raise InputError(f"{name} is missing from the packed arrays.", file=folder / name, remedy=MISSING)
    meta = read_json(folder / "arrays.json")
    rows = read_tsv(folder / "rows.tsv")
    try:
        volumes = np.load(folder / "volumes.npy", mmap_mode="r")
    except ValueError as error:
        raise InputError(
            f"is not a complete .npy file ({error}).", file=folder / "volumes.npy", remedy=MISSING
        ) from error
    if volumes.dtype.name not in DTYPES:
        reason = f"holds numbers of type {volumes.dtype.name}; allowed are {', '.join(DTYPES)}."
        raise InputError(
            reason, folder / "volumes.npy", "Store it as one of these, with the factor to true values as scale."
        )
    expected = (int(meta["n"]), *meta["shape"])
    if volumes.shape != expected or len(rows) != expected[0]:
        raise InputError(
            f"volumes.npy has shape {volumes.shape} and rows.tsv {plural(len(rows), 'row')}, "
            f"but arrays.json says {expected}.",
            file=folder,
            remedy=MISSING,
        )
    return PackedArrays(folder, volumes, rows, meta)


def write_arrays(
    folder: str | Path,
    volumes: Iterable[np.ndarray],
    rows: pd.DataFrame,
    meta: Mapping[str, Any],
    dtype: str = "float16",
) -> None:
    """Write packed volumes in one pass, then the two small files that make them valid.

    Parameters
    ----------
    folder : path
    volumes : iterable of N arrays of shape (X, Y, Z), true values
    rows : DataFrame of N rows, in the same order
    meta : mapping
        Must hold ``shape``; see `array_meta`.
    dtype : {"float16", "uint8", "float32"}
        Stored type; values are divided by ``meta["scale"]`` and, for uint8, rounded and clipped.
    """
    folder = Path(folder)
    scale = np.float32(meta.get("scale", 1.0))
    integer = np.issubdtype(np.dtype(dtype), np.integer)
    for name in ("arrays.json", "rows.tsv"):  # a half-written folder must not look valid
        (folder / name).unlink(missing_ok=True)
    with atomic_path(folder / "volumes.npy") as temporary:
        packed = np.lib.format.open_memmap(temporary, "w+", np.dtype(dtype), (len(rows), *meta["shape"]))
        for i, volume in enumerate(volumes):
            stored = volume.astype(np.float32) / scale
            packed[i] = np.clip(np.rint(stored), 0, np.iinfo(dtype).max) if integer else stored
        packed.flush()
        del packed
    write_tsv(folder / "rows.tsv", rows)
    added = {"dtype": dtype, "n": len(rows), "volumes_sha256": sha256(folder / "volumes.npy")}
    write_json(folder / "arrays.json", {"format": FORMAT, **meta, **added})


def array_meta(
    shape: tuple[int, ...],
    affine: np.ndarray,
    map_name: str,
    crop: list[list[int]],
    scale: float = 1.0,
    intensity: str = "none",
) -> dict[str, Any]:
    """Return the content of arrays.json (see CONTRACT for what encoders check)."""
    voxel = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    return {
        "shape": [int(n) for n in shape],
        "axes": "RAS",
        "affine": np.round(np.asarray(affine, dtype=float), 6).tolist(),
        "voxel_mm": round(float(voxel.mean()), 6),
        "scale": float(scale),
        "map": map_name,
        "intensity": intensity,
        "crop": crop,
    }


def check_contract(expected: Mapping[str, Any], found: Mapping[str, Any], where: str | Path) -> None:
    """Raise InputError when volumes are not what an encoder was trained on.

    Parameters
    ----------
    expected : mapping
        ``model.json["input"]``.
    found : mapping
        Content of arrays.json, or the same keys made for a single image.
    where : path
        Named in the error.
    """
    for key in CONTRACT:
        want, have = expected.get(key), found.get(key)
        if want is None or (key == "intensity" and have is None):
            continue
        same = (
            np.allclose(np.asarray(want), np.asarray(have, dtype=float), atol=1e-3) if key == "affine" else want == have
        )
        if not same:
            raise InputError(
                f"the encoder was trained on {key} {want}, but these volumes have {have}.",
                file=where,
                remedy="Pack the maps as the encoder's model.json says (map, voxel size, crop), or train again.",
            )
