"""Whether a run that makes no maps can do what its configuration asks for: maps, measures and settings that it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.spec.bids import Bids
from anatcl.spec.config import Config
from anatcl.spec.names import MAPS, REGIONAL, TISSUE, VOXEL_RIDGE, methods, needs
from anatcl.spec.openbhb import LAYOUT, RELEASE, desikan_files, desikan_tables

Found = Iterator[tuple[tuple[str | int, ...], InputError]]
PACKED_FILES = ("arrays.json", "rows.tsv", "volumes.npy")
# What is said of scans that are processed; nothing reads it where none is.
OF_SCANS = (*(("preprocess", key) for key in ("corrections", "accept", "reject")), ("measures", "longitudinal"))
ARRAYS = ("pretrain", "arrays")
MEASURES = "Fetch them, give a folder of FreeSurfer's (measures: freesurfer), or use y-aware or simclr."


def check_arrays(config: Config) -> Found:
    """Yield the place of a key and what is wrong there."""
    settings = config.pretrain
    for number, name in enumerate(settings.final):
        if name not in settings.methods:
            reason = f"{name!r} is not among the methods."
            yield (("pretrain", "final", number), InputError(reason, None, nearest(name, settings.methods)))
    if settings.from_scans:
        return
    for place in OF_SCANS:
        if getattr(getattr(config, place[0]), place[1]):
            reason = "it concerns scans, and with pretrain: arrays or maps no scan is preprocessed."
            yield (place, InputError(reason, None, "Remove it, or pretrain: arrays and maps."))
    if settings.maps:
        yield from _of_maps(config)
    else:
        yield from _of_release(config) if settings.arrays == RELEASE else _of_folder(config)
    yield from _encoders(config)


def _of_maps(config: Config) -> Found:
    settings = config.pretrain
    place = ("pretrain", "maps")
    if settings.arrays:
        yield (place, InputError("both maps and arrays are given.", None, "Remove one of the two."))
    if not Path(settings.maps).is_dir():
        yield (place, InputError("the folder of maps does not exist.", Path(settings.maps), "Correct its path."))
        return
    if settings.map != "vbm":
        reason = f"the maps of pretrain: maps are modulated grey matter, not {settings.map}."
        yield (("pretrain", "map"), InputError(reason, None, "Set map: vbm."))
    yield from _without_measures(config, "pretrain: maps gives none")


def _of_release(config: Config) -> Found:
    if config.bids.layout != LAYOUT:
        reason = f"'{RELEASE}' means the maps of the dataset itself, and a BIDS dataset has none."
        remedy = f"Set bids: {{layout: {LAYOUT}}}, give a folder of packed arrays, or leave it empty."
        yield (ARRAYS, InputError(reason, None, remedy))
        return
    root = Path(config.bids_dir)
    if root.is_dir() and _no_measures(root):
        yield from _without_measures(config, f"{root} has no Desikan measures")


def _of_folder(config: Config) -> Found:
    settings, folder = config.pretrain, Path(config.pretrain.arrays)
    missing = [name for name in PACKED_FILES if not (folder / name).is_file()]
    if missing:
        near = nearest(settings.arrays.rpartition("/")[2], [RELEASE])
        remedy = near if near and not folder.exists() else f"Give the folder that pack wrote, or {RELEASE}."
        yield (ARRAYS, InputError(f"{missing[0]} is missing from the folder of packed arrays.", folder, remedy))
        return
    about = _about(folder / "arrays.json")
    if about.get("map") in MAPS and about["map"] != settings.map:
        reason = f"the packed arrays hold {about['map']} maps, not {settings.map}."
        yield (("pretrain", "map"), InputError(reason, folder, f"Set map: {about['map']}."))
    packed = "the volumes are packed already."
    if settings.voxel_mm and abs(settings.voxel_mm - float(about.get("voxel_mm", 0))) > 1e-3:
        reason = f"{packed[:-1]}, with {about.get('voxel_mm')} mm."
        yield (("pretrain", "voxel_mm"), InputError(reason, folder, "Set voxel_mm: 0, or pack them again."))
    if settings.crop is not None:
        yield (("pretrain", "crop"), InputError(packed, folder, "Remove it, or pack them again."))
    for name, field in Bids.model_fields.items():
        if getattr(config.bids, name) != field.default:
            reason = "the participants of packed arrays are those of their rows.tsv, which is read as it is."
            yield (("bids", name), InputError(reason, folder, "Remove it, or write it into that table."))
    if not (folder / "measures.tsv").is_file():
        yield from _without_measures(config, f"{folder} has no measures.tsv")


def unmeasured(config: Config) -> frozenset[str]:
    """Baselines that need measures which a run without the measures stage does not have."""
    settings = config.pretrain
    every = frozenset((REGIONAL, TISSUE, VOXEL_RIDGE))
    if settings.from_scans or config.measures.freesurfer:
        return frozenset()
    if settings.maps:
        return every
    if settings.arrays == RELEASE:  # its table of participants has the volumes
        return every - {TISSUE} if _no_measures(Path(config.bids_dir)) else frozenset()
    file = Path(settings.arrays) / "measures.tsv"
    if not file.is_file():
        return every
    with open(file, encoding="utf-8") as stream:
        columns = stream.readline().split()
    regional = any(name.startswith(("thickness_", "volume_", "area_")) for name in columns)
    return every - ({REGIONAL, VOXEL_RIDGE} if regional else set()) - ({TISSUE} if "gm_mm3" in columns else set())


def _no_measures(root: Path) -> bool:
    return not (desikan_tables(root) or desikan_files(root))


def _about(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}  # the step that opens it says so


def _without_measures(config: Config, why: str) -> Found:
    """Methods that train on regional measures where there are none."""
    settings = config.pretrain
    if config.measures.freesurfer:
        return
    for number, method in enumerate(settings.methods):
        parts = settings.joint.get(method, (method,))
        if any(part in methods() and "features" in needs(part) for part in parts):
            reason = f"{method!r} trains on regional measures, and {why}."
            yield (("pretrain", "methods", number), InputError(reason, None, MEASURES))


def _encoders(config: Config) -> Found:
    """Encoders of others that need another map than the one that is there, or files of maps."""
    have = config.pretrain.map
    for name, given in config.evaluate.encoders.items():
        wanted = given.input.map if given.input else have
        reason = f"it takes the {wanted} map, and with pretrain: arrays or maps there is only {have}."
        if given.adapter:
            reason = "an adapter takes files of maps, and with pretrain: arrays or maps there are none."
        if given.adapter or wanted != have:
            yield (("evaluate", "encoders", name), InputError(reason, None, "Leave it out, or let the run make maps."))
