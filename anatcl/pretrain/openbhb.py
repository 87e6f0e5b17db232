"""Readers of the public OpenBHB layouts, into the packed form.

Three layouts are in circulation: a tree of one ``.npy`` per subject and map, ``_ROI.npy`` files with FreeSurfer
measures beside them, and the rows of the RAMP challenge (``train.npy``: masked maps and measures laid end to end,
3,659,572 numbers a subject). Source: Dufumier et al. 2022 and the challenge's public preparation code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.base.words import plural
from anatcl.measures.openbhb import CHANNELS, identifier, measures_table, roi_table, scan_of
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.pretrain.pack import INTENSITY, Grid, normalise, plan_grid, to_grid
from anatcl.spec.openbhb import MASKS, SUFFIX

log = logging.getLogger(__name__)

# Blocks of a RAMP row, in their order.
BLOCKS = {
    "vbm": 519945,
    "quasi-raw": 1827095,
    "xhemi": 8 * 163842,
    "vbm_roi": 284,
    "desikan": 7 * 68,
    "destrieux": 7 * 148,
}
# Grids of the maps as stored: the first axis of both runs from right to left (LAS). The .npy files have no header that
# says so; a mask's NIfTI header does and wins.
AFFINES = {
    "vbm": np.array([[-1.5, 0, 0, 90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]]),
    "quasi-raw": np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1.0]]),
}


def read_tree(
    root: str | Path,
    out_dir: str | Path,
    map_name: str = "vbm",
    voxel_mm: float = 0.0,
    affine: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Pack a tree of per-subject ``.npy`` maps (any depth) and the ``_ROI.npy`` files beside them.

    Parameters
    ----------
    root : path
        Holds ``participants.tsv`` (or another table with ``participant_id``) and the files.
    out_dir : path
        Gets ``volumes.npy``, ``rows.tsv``, ``arrays.json`` and, with ``_ROI.npy`` files, ``measures.tsv``.
    map_name : {"vbm", "quasi-raw"}
    voxel_mm : float
        Packed voxel size in mm; 0 keeps that of the maps.
    affine : ndarray of shape (4, 4), optional
        Voxel to mm of the stored arrays; default `AFFINES`.
    labels : sequence of str, optional
        Region names of the ``_ROI.npy`` columns, such as ``lh_bankssts``.

    Returns
    -------
    dict
        Content of arrays.json.
    """
    root = Path(root)
    files = sorted(root.rglob(f"sub-*{SUFFIX[map_name]}"))
    if not files:
        raise InputError(f"no sub-*{SUFFIX[map_name]} below the folder.", file=root, remedy="Name OpenBHB's folder.")
    rows = _describe([identifier(f) for f in files], _tables(root))
    affine = AFFINES[map_name] if affine is None else affine
    shape = read_map(files[0]).shape
    grid, turn = ras_grid(shape, affine, voxel_mm)
    volumes = (to_grid(normalise(turn(checked(read_map(f), shape, f)), INTENSITY[map_name]), grid) for f in files)
    meta = _write(Path(out_dir), volumes, rows, grid, map_name)
    roi = {identifier(f): f for f in root.rglob(f"sub-*{SUFFIX['desikan']}")}
    if roi:
        known = [roi[s] for s in rows["participant_id"].str[4:] if s in roi]
        write_tsv(Path(out_dir) / "measures.tsv", roi_table(known, labels))
    return meta


def read_ramp(
    root: str | Path,
    out_dir: str | Path,
    masks: str | Path,
    *,
    map_name: str = "vbm",
    splits: Sequence[str] = ("train", "internal_test", "external_test"),
    voxel_mm: float = 0.0,
    blocks: Mapping[str, int] = BLOCKS,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Pack RAMP rows: unmask each subject's map once, take its measures from the same row.

    Parameters
    ----------
    root : path
        Holds ``<split>.npy`` (rows, memory-mapped) and ``<split>.tsv`` (same order; ``age``, ``site``).
    out_dir : path
    masks : path
        Folder of the two mask images; voxels above the published threshold are the columns of a block, in C order of
        the image as stored. Their number must be the block's length.
    map_name : {"vbm", "quasi-raw"}
    splits : sequence of str
        Those present are read; the name becomes column ``split``.
    voxel_mm : float
    blocks : mapping
        Length of each block, in order.
    labels : sequence of str, optional
        Region names of the desikan block.
    """
    data = _ramp_arrays(Path(root), splits)
    mask, affine = _mask(Path(masks), map_name)
    if int(mask.sum()) != blocks[map_name]:
        raise InputError(
            f"the mask has {plural(int(mask.sum()), 'voxel')}, "
            f"the {map_name} block {plural(blocks[map_name], 'column')}.",
            file=Path(masks) / MASKS[map_name][0],
            remedy="Use the masks that belong to the challenge's data.",
        )
    _check_width(data, sum(blocks.values()), Path(root))
    rows = pd.concat([_ramp_rows(Path(root) / f"{s}.tsv", s, len(a)) for s, a in data.items()], ignore_index=True)
    grid, turn = ras_grid(mask.shape, affine, voxel_mm)
    where, measures = (_span(blocks, name) for name in (map_name, "desikan"))

    def volumes() -> Iterator[np.ndarray]:
        for array in data.values():
            for row in array:
                volume = np.zeros(mask.shape, dtype=np.float32)
                volume[mask] = row[where]
                yield to_grid(normalise(turn(volume), INTENSITY[map_name]), grid)

    meta = _write(Path(out_dir), volumes(), rows, grid, map_name)
    columns = np.concatenate([np.asarray(a[:, measures]) for a in data.values()])
    columns = columns.reshape(len(columns), len(CHANNELS), -1)
    people = rows["participant_id"].str[4:].tolist()
    write_tsv(Path(out_dir) / "measures.tsv", measures_table(people, columns, labels))
    return meta


def _ramp_arrays(root: Path, splits: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each split that is there, memory-mapped."""
    files = {split: root / f"{split}.npy" for split in splits}
    data = {s: np.load(f, mmap_mode="r", allow_pickle=False) for s, f in files.items() if f.is_file()}
    if not data:
        named = ", ".join(file.name for file in files.values())
        raise InputError(f"none of {named} is there.", file=root, remedy="Name its folder.")
    return data


def _check_width(data: Mapping[str, np.ndarray], width: int, root: Path) -> None:
    for split, array in data.items():
        if array.ndim != 2 or array.shape[1] != width:
            raise InputError(f"rows have shape {array.shape[1:]}, not {width}.", file=root / f"{split}.npy")


def read_map(path: Path) -> np.ndarray:
    """Read a ``.npy`` map (1, 1, X, Y, Z) or (X, Y, Z) as (X, Y, Z)."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"the array cannot be read ({error})", file=path, remedy="Fetch it again.") from error
    return volume_of(array, path)


def volume_of(array: np.ndarray, path: Path) -> np.ndarray:
    """An array (1, 1, X, Y, Z), (X, Y, Z, 1) or (X, Y, Z) as (X, Y, Z)."""
    if array.ndim > 3 and all(n == 1 for n in array.shape[:-3]):
        array = array.reshape(array.shape[-3:])
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise InputError(f"the map has shape {array.shape}.", file=path, remedy="Expected (1, 1, X, Y, Z).")
    return array


def checked(array: np.ndarray, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The map as float32; an `InputError` where it has another shape than the others."""
    if array.shape != shape:
        raise InputError(f"the map has shape {array.shape}, others {shape}.", file=path, remedy="Leave this file out.")
    return np.asarray(array, dtype=np.float32)


def ras_grid(
    shape: tuple[int, ...], affine: np.ndarray, voxel_mm: float, crop: list[list[int]] | None = None
) -> tuple[Grid, Callable[[np.ndarray], np.ndarray]]:
    """Plan the packed grid of stored arrays, and return the function that turns one of them to RAS order."""
    axes = np.argmax(np.abs(affine[:3, :3]), axis=1)  # stored axis that runs along x, y, z
    if sorted(axes) != [0, 1, 2]:
        raise InputError(f"the affine {affine.tolist()} has no clear axis order.", remedy="Give another affine.")
    flips = [int(i) for i in range(3) if affine[i, axes[i]] < 0]

    def turn(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(volume.transpose(axes), flips))

    ras = np.eye(4)
    for i in range(3):
        size, last = affine[i, axes[i]], shape[axes[i]] - 1
        ras[i, i] = abs(size)
        ras[i, 3] = affine[i, 3] + min(0.0, size * last)
    return plan_grid(tuple(shape[a] for a in axes), ras, voxel_mm, crop), turn


def _write(out: Path, volumes: Iterator[np.ndarray], rows: pd.DataFrame, grid: Grid, map_name: str) -> dict[str, Any]:
    meta = array_meta(grid.shape, grid.affine, map_name, grid.crop, 1.0, INTENSITY[map_name])
    meta |= {"source_shape": list(grid.source_shape), "template": "MNI152"}
    write_arrays(out, volumes, rows, meta)
    return meta


def _tables(root: Path) -> pd.DataFrame:
    """The table of participants: identifiers as text without ``sub-``, index of the result."""
    for path in [root / "participants.tsv", *sorted(root.glob("*.tsv"))]:
        if path.is_file():
            table = pd.read_csv(path, sep="\t", dtype={"participant_id": str})
            if "participant_id" in table:
                table["participant_id"] = table["participant_id"].str.removeprefix("sub-")
                return table.drop_duplicates("participant_id").set_index("participant_id")
    log.warning("%s has no participants.tsv: ages and sites are unknown", root)
    return pd.DataFrame()


def _describe(people: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """rows.tsv of the given people: scan, participant_id, session_id, then the table's columns."""
    names = [f"sub-{s}" for s in people]
    rows = pd.DataFrame({"scan": [scan_of(n) for n in names], "participant_id": names, "session_id": "ses-1"})
    found = table.reindex(list(people)).reset_index(drop=True)
    if "site" not in found and "siteXacq" in found:
        found["site"] = found["siteXacq"]
    if "sex" in found:
        first = found["sex"].astype(str).str.strip().str.upper().str[:1]
        found["sex"] = first.where(first.isin(["M", "F"]))
    return pd.concat([rows, found], axis=1)


def _mask(folder: Path, map_name: str) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib

    name, threshold = MASKS[map_name]
    if not (folder / name).is_file():
        raise InputError("the mask is missing.", file=folder / name, remedy="It comes with the challenge's resources.")
    image: Any = nib.load(folder / name)
    return np.asarray(image.dataobj) > threshold, np.asarray(image.affine, dtype=float)


def _ramp_rows(path: Path, split: str, n: int) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("the table of the rows is missing.", file=path, remedy="It comes with the .npy file.")
    table = pd.read_csv(path, sep="\t", dtype={"participant_id": str})
    if len(table) != n:
        raise InputError(f"the table has {plural(len(table), 'row')}, the array {n}.", file=path)
    if "participant_id" not in table:
        table["participant_id"] = [f"{split.replace('_', '')}{i:05d}" for i in range(n)]
    people = table["participant_id"].str.removeprefix("sub-").tolist()
    rows = _describe(people, table.assign(participant_id=people).set_index("participant_id"))
    return rows.assign(split=split)


def _span(blocks: Mapping[str, int], name: str) -> slice:
    start = 0
    for block, length in blocks.items():
        if block == name:
            return slice(start, start + length)
        start += length
    raise InputError(f"the rows have no block {name!r}.")
