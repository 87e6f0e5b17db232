"""Frozen embeddings by an outside encoder, from the maps of the preprocess stage."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.base.named import call_named
from anatcl.base.provenance import recorded, versions
from anatcl.evaluate.data.features import write_embeddings
from anatcl.pretrain.adapters import Adapter, sample_of
from anatcl.pretrain.arrays import PackedArrays, open_arrays
from anatcl.pretrain.bundle import FORMAT, embed_batches, embedding_batch
from anatcl.pretrain.conform import conform, map_files, to_input
from anatcl.pretrain.device import Device, applied, for_embedding
from anatcl.pretrain.outside import describe, open_encoder
from anatcl.spec.encoders import Encoder
from anatcl.spec.layout import EXCLUDED

log = logging.getLogger(__name__)
ADAPTER_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Maps:
    """Where the maps of a cohort are.

    Parameters
    ----------
    folder : path
        Folder of the preprocess stage.
    template : str
        Its name in file names.
    scans : DataFrame
        Rows of scans.tsv, columns ``scan`` and ``participant_id``.
    """

    folder: str | Path
    template: str
    scans: pd.DataFrame

    def reader(self, contract: Mapping[str, Any]) -> Callable[[str], np.ndarray]:
        """What reads the map of a scan as an encoder takes it."""

        def read(scan: str) -> np.ndarray:
            image, mask = map_files(self.folder, contract["map"], scan, self.template)
            return to_input(image, contract, mask)

        return read

    def sample(self, scan: str, map_name: str) -> dict[str, Any]:
        """The map of a scan as an adapter takes it."""
        image, _ = map_files(self.folder, map_name, scan, self.template)
        native = map_name in ("head", "stripped")
        mask = Path(self.folder) / f"{scan}_desc-brain_mask.nii.gz"
        affine = Path(self.folder) / f"{scan}_from-T1w_to-{self.template}_desc-affine_xfm.mat"
        return sample_of(image, mask if native else None, affine if native else None)


@dataclasses.dataclass(frozen=True)
class Packed:
    """The maps of a cohort in packed arrays, where no files of them are there.

    Parameters
    ----------
    arrays : PackedArrays
    scans : DataFrame
        Columns ``scan`` and ``participant_id``.
    """

    arrays: PackedArrays
    scans: pd.DataFrame

    def reader(self, contract: Mapping[str, Any]) -> Callable[[str], np.ndarray]:
        """As of `Maps`; an `InputError` where the arrays hold another map."""
        self._same(contract["map"])
        place = {scan: number for number, scan in enumerate(self.arrays.rows["scan"].astype(str))}
        affine = np.array(self.arrays.meta["affine"], dtype=float)

        def read(scan: str) -> np.ndarray:
            if scan not in place:
                raise InputError("the scan has no packed volume.", self.arrays.folder, "See excluded.tsv beside it.")
            return conform(self.arrays.true(place[scan]), affine, contract, self.arrays.folder)

        return read

    def sample(self, scan: str, map_name: str) -> dict[str, Any]:
        """Refused: an adapter takes files."""
        remedy = "Give its weights and architecture instead, or let the run make maps (pretrain: arrays: empty)."
        raise InputError("an adapter takes files of maps, and there are only packed arrays.", None, remedy)

    def _same(self, map_name: str) -> None:
        have = self.arrays.meta["map"]
        if map_name != have:
            reason = f"the encoder takes the {map_name} map, and the packed arrays hold {have}."
            raise InputError(reason, self.arrays.folder, f"Leave it out, or set pretrain: map: {map_name}.")


def embed_given(
    encoder: str | dict[str, Any],
    member: int,
    maps: Maps | Packed,
    out: str | Path,
    *,
    device: str = "auto",
    threads: int = 1,
    batch: int = 0,
    precision: str = "auto",
) -> None:
    """Embed the maps of a cohort with one outside encoder.

    Writes ``embeddings.npz`` (``scan``, ``participant_id``, ``embedding`` (N, D) float32), and beside it ``model.json``
    (the contract: input, source with digests, whom the encoder has seen), ``excluded.tsv`` and ``run.json``. Batches
    and precision are those of our own encoders.

    Parameters
    ----------
    encoder : str or dict
        What stands below a name in ``evaluate: encoders``, as JSON text or a mapping.
    member : int
        Which of several files of weights.
    maps : Maps or Packed
    out : path

    Raises
    ------
    InputError
        The encoder cannot be used, or no map can.
    """
    values = json.loads(encoder) if isinstance(encoder, str) else encoder
    given = Encoder.parse(values, "encoder").member(member)
    opened = None if given.adapter else open_encoder(given)
    architecture = opened[1]["architecture"] if opened else given.architecture
    place = for_embedding(str(architecture), device, precision, threads)
    folder = Path(out).parent
    with recorded(folder, {"encoder": values, "member": member, "device": str(place)}) as record, applied(place):
        kept, found, excluded, about = (
            _embedded(*opened, maps, place, batch) if opened else _by_adapter(given, maps, place)
        )
        record |= {"volumes": len(found), "features": found.shape[1], "left_out": len(excluded)}
        bad = ~np.isfinite(found).all(1)
        if bad.any():
            raise InputError(f"the embedding of {maps.scans['scan'].iloc[kept[int(bad.argmax())]]} is not finite.")
        rows = maps.scans.iloc[kept]
        write_embeddings(out, rows["scan"], rows["participant_id"], found)
        write_tsv(folder / "excluded.tsv", pd.DataFrame(excluded, columns=list(EXCLUDED)))
    about |= {
        "embedding_dim": int(found.shape[1]),
        "precision": place.precision,
        "versions": versions(("torch", "numpy")),
    }
    write_json(folder / "model.json", {"format": FORMAT, **about})


def conformed(maps: Maps | Packed, contract: Mapping[str, Any], threads: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Volumes of a cohort as an encoder takes them, and their rows; scans without a usable map are left out."""
    kept: list[int] = []
    volumes = list(_usable(maps.scans, maps.reader(contract), threads, kept, []))
    return maps.scans.iloc[kept].reset_index(drop=True), volumes


Found = tuple[list[int], np.ndarray, list[dict[str, str]], dict[str, Any]]


def _embedded(model: nn.Module, about: dict[str, Any], maps: Maps | Packed, place: Device, batch: int) -> Found:
    contract = about["input"]
    model.to(place.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    kept: list[int] = []
    excluded: list[dict[str, str]] = []
    size = embedding_batch(place.device.type, tuple(contract["shape"]), batch)
    volumes = _usable(maps.scans, maps.reader(contract), place.threads, kept, excluded)
    batches = (torch.from_numpy(np.stack(part))[:, None] for part in _parts(volumes, size))
    found = embed_batches(model, batches, place).numpy()
    return kept, found, excluded, about


def _by_adapter(given: Encoder, maps: Maps | Packed, place: Device) -> Found:
    adapter = Adapter(call_named(given.adapter, given.arguments), place.device)
    chosen = given.input.map if given.input else "head"
    kept: list[int] = []
    excluded: list[dict[str, str]] = []
    samples = _usable(maps.scans, lambda scan: maps.sample(scan, chosen), place.threads, kept, excluded)
    found = torch.cat([adapter(part) for part in _parts(samples, ADAPTER_BATCH)]).numpy()
    about = describe(given)
    about["input"] |= {"map": chosen}
    return kept, found, excluded, about


def _usable(
    scans: pd.DataFrame, read: Callable[[str], Any], threads: int, kept: list[int], excluded: list[dict[str, str]]
) -> Iterator[Any]:
    """What could be read, in the order of the scans and ahead of the device; the rest goes to `excluded`."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        window = 4 * max(1, threads)
        names = scans["scan"].astype(str).tolist()
        for begin in range(0, len(names), window):
            jobs = [pool.submit(read, name) for name in names[begin : begin + window]]
            for i, job in enumerate(jobs, begin):
                try:
                    value = job.result()
                except InputError as error:
                    log.warning("left out: %s", error)
                    excluded.append(_exclusion(scans.iloc[i], error))
                    continue
                kept.append(i)
                yield value
    if not kept:
        raise InputError("no scan has a usable map.", remedy="The lines above say for each what to do.")


def _exclusion(row: pd.Series, error: InputError) -> dict[str, str]:
    who = {"scan": row["scan"], "participant_id": row.get("participant_id", "n/a"), "stage": "evaluate embed"}
    return who | {"reason": error.reason, "file": error.file, "remedy": error.remedy}


def _parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def maps_of(
    folder: str | Path | None,
    template: str,
    scans: str | Path,
    measures: str | Path | None,
    arrays: str | Path | None = None,
) -> Maps | Packed:
    """Maps of the scans of a table that are in the cohort (those of `measures`, where it is given).

    Raises
    ------
    InputError
        There is neither a folder of maps nor one of packed arrays.
    """
    table = read_tsv(scans)
    if measures:
        table = table[table["scan"].isin(read_tsv(measures)["scan"])]
    table = table.sort_values("scan", ignore_index=True)
    if arrays:
        return Packed(open_arrays(arrays), table)
    if not folder:
        raise InputError("no folder of maps and no packed arrays were given.", remedy="Give --maps-dir, or --arrays.")
    return Maps(folder, template, table)
