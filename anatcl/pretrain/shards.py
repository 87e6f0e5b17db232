"""WebDataset shards of maps, into the packed form; no library of theirs is needed, and nothing is unpickled.

A shard is a plain tar. Files with the same name up to the first dot of their base name are one sample (the format's own
rule). Of a sample two files are read: the map (``.npy``, ``.nii``, ``.nii.gz``) and what is said of it (``.json``).
Source: the specification of the WebDataset format. The public shards of OpenMind (brainprep's VBM and quasi-raw maps)
name a scan by dataset, subject, session and run, the dataset being the folder of the shard.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import logging
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.joins import compare
from anatcl.base.words import plural
from anatcl.pretrain.openbhb import AFFINES, checked, ras_grid, volume_of
from anatcl.pretrain.pack import INTENSITY, normalise, read_ahead, to_grid, write_usable
from anatcl.pretrain.taken import published_meta

log = logging.getLogger(__name__)
VOLUMES = ("npy", "nii", "nii.gz")
ABOUT = "json"
# Names of identifiers, in what is said of a sample and in the table of people; the first is ours.
IDENTIFIERS = {
    "dataset_id": ("dataset_id", "dataset"),
    "participant_id": ("participant_id", "subject", "subject_id", "sub"),
    "session_id": ("session_id", "session", "ses"),
    "run": ("run", "run_id"),
}
ENTITY = re.compile(r"(sub|ses|run)-([A-Za-z0-9]+)")
LONGEST_ABOUT = 1 << 20  # bytes of JSON


@dataclasses.dataclass(frozen=True)
class Member:
    """One file within a shard, which is read by its place."""

    shard: Path
    name: str
    start: int
    size: int

    @property
    def suffix(self) -> str:
        """What follows the first dot of the base name."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()

    def read(self) -> bytes:
        """Its bytes."""
        with open(self.shard, "rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)


def pack_shards(
    sources: Sequence[str | Path],
    out_dir: str | Path,
    *,
    map_name: str = "vbm",
    field: str = "",
    people: str | Path | None = None,
    grid_of: str | Path | None = None,
    voxel_mm: float = 0.0,
    dtype: str = "float16",
    threads: int = 1,
) -> dict[str, Any]:
    """Pack the maps of shards; one that cannot be used is listed in ``excluded.tsv``.

    Parameters
    ----------
    sources : sequence of path
        Tar files, or folders in which they lie at any depth.
    out_dir : path
        Gets ``volumes.npy``, ``rows.tsv``, ``arrays.json``, ``excluded.tsv``.
    map_name : {"vbm", "quasi-raw"}
    field : str
        End of the name of the map in each sample, such as ``gm.npy``; empty where a sample has one map alone.
    people : path, optional
        Table of the scans or people (TSV): identifiers and phenotypes.
    grid_of : path, optional
        NIfTI image on the grid of ``.npy`` maps; without it the published grid (``anatcl.pretrain.openbhb.AFFINES``).
    voxel_mm : float
        Packed voxel size; 0 keeps that of the maps.

    Returns
    -------
    dict
        Content of arrays.json.

    Raises
    ------
    InputError
        There is no shard, no map, or no scan has a name.
    """
    maps, rows = samples(shards_of(sources), field)
    if people:
        rows = described(rows, read_tsv(people), people)
    shape, affine = _grid(maps[0], map_name, grid_of)
    grid, turn = ras_grid(shape, affine, voxel_mm)
    intensity = INTENSITY[map_name]
    place = {Path(str(number)): member for number, member in enumerate(maps)}

    def read(number: Path) -> np.ndarray:
        member = place[number]
        volume, own = decoded(member)
        if own is not None and not np.allclose(own, affine, atol=1e-3):
            raise InputError(f"{member.name} is on another grid.", member.shard, "Leave it out, or pack it separately.")
        volume = checked(volume, shape, member.shard)
        if not np.isfinite(volume).all() or not volume.any():
            raise InputError(f"{member.name} is empty or not finite.", member.shard, "Fetch the shard again.")
        return to_grid(normalise(turn(volume), intensity), grid)

    meta = published_meta(grid, map_name, dtype)
    write_usable(Path(out_dir), read_ahead(list(place), read, threads), rows, meta, dtype)
    return meta


def shards_of(sources: Sequence[str | Path]) -> list[tuple[Path, str]]:
    """Shards in order, each with the dataset that its folder names (empty for a file that was named itself)."""
    found: list[tuple[Path, str]] = []
    for source in map(Path, sources):
        if source.is_dir():
            files = sorted(source.rglob("*.tar"))
            found += [(file, file.parent.name if file.parent != source else "") for file in files]
        elif source.is_file():
            found.append((source, ""))
        else:
            raise InputError("the shard does not exist.", source, "Correct its path.")
    if not found:
        raise InputError("the folder has no *.tar file.", sources[0] if sources else None, "Name the folder of shards.")
    return found


def samples(shards: Sequence[tuple[Path, str]], field: str = "") -> tuple[list[Member], pd.DataFrame]:
    """Maps of all samples, and a row for each: scan, participant_id, session_id, and what is said of it."""
    maps, rows = [], []
    for shard, dataset in shards:
        for key, members in _grouped(shard):
            chosen = [one for one in members if (one.suffix == field if field else one.suffix.endswith(VOLUMES))]
            if len(chosen) > 1:
                names = ", ".join(one.suffix for one in chosen)
                raise InputError(f"the sample {key} has several maps: {names}.", shard, "Choose one with --field.")
            if chosen:
                maps.append(chosen[0])
                rows.append(_row(key, dataset, [one for one in members if one.suffix.endswith(ABOUT)]))
    if not maps:
        what = f"a file ending in .{field}" if field else "a .npy or NIfTI file"
        raise InputError(f"no sample has {what}.", shards[0][0], "See which it has: tar -tf.")
    table = pd.DataFrame(rows)
    if (twice := table["scan"].duplicated()).any():
        reason = f"{plural(int(twice.sum()), 'sample')} have the name of another, {table['scan'][twice].iloc[0]} first."
        raise InputError(reason, shards[0][0], "Name only one folder of shards of each map.")
    return maps, table


def _grouped(shard: Path) -> Iterator[tuple[str, list[Member]]]:
    """Samples of a shard, by the name of their files up to the first dot."""
    found: dict[str, list[Member]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for one in tar:
                if one.isreg() and one.offset_data + one.size <= shard.stat().st_size:
                    folder, _, base = one.name.rpartition("/")
                    member = Member(shard, one.name, one.offset_data, one.size)
                    found.setdefault(f"{folder}/{base.partition('.')[0]}".lstrip("./"), []).append(member)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"it cannot be read as a tar ({error}).", shard, "Fetch it again.") from error
    yield from found.items()


def _row(key: str, dataset: str, about: list[Member]) -> dict[str, Any]:
    """What is known of a sample; numbers and texts of its JSON are columns."""
    told: dict[str, Any] = {}
    for member in about:
        told |= _said(member)
    found = {name: _first(told, words) for name, words in IDENTIFIERS.items()}
    entities = {"sub": "participant_id", "ses": "session_id", "run": "run"}
    for short, value in ENTITY.findall(key):
        found[entities[short]] = found[entities[short]] or value
    who = _label(found["dataset_id"] or dataset) + _label(found["participant_id"].removeprefix("sub-"))
    if not found["participant_id"]:
        who = _label(key)
    session, run = _label(found["session_id"].removeprefix("ses-")), _label(found["run"].removeprefix("run-"))
    stem = f"sub-{who}" + (f"_ses-{session}" if session else "")
    place = f"sub-{who}/" + (f"ses-{session}/" if session else "")
    names = {
        "scan": f"{place}anat/{stem}" + (f"_run-{run}" if run else ""),
        "participant_id": f"sub-{who}",
        "session_id": f"ses-{session}" if session else None,
        "dataset_id": found["dataset_id"] or dataset,
        "subject": found["participant_id"],
        "run": run,
    }
    return names | {name: value for name, value in told.items() if name not in names}


def _said(member: Member) -> dict[str, Any]:
    """Numbers and texts of a JSON file."""
    try:
        content = json.loads(member.read()) if member.size <= LONGEST_ABOUT else {}
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{member.name} is not valid JSON ({error}).", member.shard, "Fetch the shard again."
        ) from error
    return {k: v for k, v in content.items() if isinstance(v, str | int | float)} if isinstance(content, dict) else {}


def _first(told: dict[str, Any], words: Sequence[str]) -> str:
    return next((str(told[word]) for word in words if told.get(word) not in (None, "", "n/a")), "")


def _label(text: str) -> str:
    """Letters and digits alone, as BIDS asks of labels."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def described(rows: pd.DataFrame, table: pd.DataFrame, file: str | Path) -> pd.DataFrame:
    """Rows with the columns of a table that has the same identifiers; what the table says counts."""
    ours = {"dataset_id": "dataset_id", "participant_id": "subject", "session_id": "session_id", "run": "run"}
    keys = {
        ours[n]: next(w for w in words if w in table) for n, words in IDENTIFIERS.items() if set(words) & set(table)
    }
    if "subject" not in keys:
        reason = "the table has no column participant_id or subject."
        raise InputError(reason, file, f"It has: {', '.join(map(str, table.columns[:12]))}.")
    left = _keys(rows, list(keys))
    right = _keys(table, list(keys.values()))
    if right.duplicated().any():
        raise InputError(f"{right[right.duplicated()].iloc[0]} occurs more than once.", file, "Keep one row of each.")
    found = compare(left, right)
    if not found.matched:
        raise InputError(
            f"no row matches a sample.{found.hint()}", file, "Its identifiers must be those of the samples."
        )
    log.info("%s: %d of %d samples are described", file, int(left.isin(set(right)).sum()), len(rows))
    more = table.drop(columns=list(keys.values())).set_index(right).reindex(left).reset_index(drop=True)
    return pd.concat([rows.drop(columns=[c for c in more if c in rows]).reset_index(drop=True), more], axis=1)


def _keys(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Identifiers of each row as one text, without ``sub-`` and the like, and as whole numbers."""
    surplus = r"^(sub|ses|run)-|^n/a$|\.0$"
    plain = [table[c].where(table[c].notna(), "").astype(str).str.replace(surplus, "", regex=True) for c in columns]
    return pd.concat(plain, axis=1).agg(" ".join, axis=1)


def _grid(first: Member, map_name: str, grid_of: str | Path | None) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of the maps, by the first of them."""
    volume, affine = decoded(first)
    if affine is not None:
        return volume.shape, affine
    if grid_of is None:
        return volume.shape, AFFINES[map_name]
    import nibabel as nib

    image: Any = nib.load(grid_of)
    if tuple(image.shape[:3]) != volume.shape:
        raise InputError(f"it has shape {image.shape[:3]}, the maps {volume.shape}.", grid_of, "Give another image.")
    return volume.shape, np.asarray(image.affine, dtype=float)


def decoded(member: Member) -> tuple[np.ndarray, np.ndarray | None]:
    """A map (X, Y, Z) as it is stored, and its affine where it has one."""
    content = member.read()
    try:
        if member.suffix.endswith("npy"):
            return volume_of(np.load(io.BytesIO(content), allow_pickle=False), member.shard), None
        import nibabel as nib

        content = gzip.decompress(content) if member.suffix.endswith("gz") else content
        image = nib.Nifti1Image.from_bytes(content)
        return volume_of(np.asarray(image.dataobj), member.shard), np.asarray(image.affine, dtype=float)
    except InputError:
        raise
    except Exception as error:  # NumPy, gzip, zlib and nibabel raise classes of their own
        raise InputError(f"{member.name} cannot be read ({error}).", member.shard, "Fetch the shard again.") from error
