"""The public OpenBHB release as a dataset: its raw heads, or its own maps.

``<part>/rawdata/sub-*/[ses-*/]*_T1w.nii.gz`` and ``<part>/derivatives/sub-*/[ses-*/]*.npy`` with `<part>` train or val;
tables of participants above the parts, or in them. People are numbers there and ``sub-<number>`` here.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.base.pointers import explain, refuse_pointer
from anatcl.bids import walk as listing
from anatcl.bids.check import COPY
from anatcl.bids.layouts import Tree
from anatcl.bids.names import Name
from anatcl.spec.layout import ENTITIES, LABEL
from anatcl.spec.openbhb import DERIVATIVES, PARTS, RAW, SPLIT, SUFFIX, TABLES

NAME = re.compile(rf"sub-({LABEL})((?:_(?:{'|'.join(ENTITIES.values())})-{LABEL})*)_T1w\.nii(?:\.gz)?")
RENAME = "Name it as the release does: sub-<number>[_ses-<number>]_T1w.nii.gz."
MIDDLE = 1 << 16  # bytes amid a map whose checksum tells copies


class Release(Tree):
    """The release's layout.

    Parameters
    ----------
    maps : str
        Which of its maps are the images: ``vbm`` or ``quasi-raw``; the raw heads when empty.
    """

    nobody = f"there is no {{{','.join(PARTS)}}}/{{{RAW},{DERIVATIVES}}} folder with sub-* folders in it."

    def __init__(self, maps: str = "") -> None:
        self.maps = maps

    @property
    def folder(self) -> str:
        """Folder of a part that holds the images."""
        return DERIVATIVES if self.maps else RAW

    def walk(self, root: Path) -> listing.Listing:
        """List the images of every participant in both parts."""
        found = listing.Listing()
        for part in PARTS:
            top = root / part / self.folder
            if top.is_dir():
                with os.scandir(top) as entries:
                    people = sorted(e.name for e in entries if e.name.startswith("sub-") and e.is_dir())
                for person in people:
                    found.participants.append(person)
                    self._person(root, f"{part}/{self.folder}/{person}", found)
        return found

    def _person(self, root: Path, relative: str, found: listing.Listing) -> None:
        try:
            files = list(_files(root / relative, relative))
        except OSError as error:
            found.problems.append(listing.Problem(relative, explain(root / relative, error), listing.FETCH))
            return
        ending = SUFFIX[self.maps] if self.maps else ("_T1w.nii", "_T1w.nii.gz")
        images = [file for file in files if file.endswith(ending)]
        found.images += images
        if not images:
            what = f"it has no *{SUFFIX[self.maps]}." if self.maps else "it has no *_T1w.nii.gz."
            found.problems.append(listing.Problem(relative, what, "Fetch the file, or leave the participant out."))

    def participant(self, relative: str) -> str:
        """The folder ``sub-*`` in a path."""
        return next((name for name in relative.split("/") if name.startswith("sub-")), relative.split("/")[0])

    def stem(self, relative: str) -> str:
        """The scan's name as of a BIDS dataset, where the file's name can be read."""
        try:
            return self.parse(relative).scan
        except InputError:
            return relative

    def parse(self, relative: str) -> Name:
        """Read the name of an image; the session is that of its name, else of its folder."""
        *folders, filename = relative.split("/")
        person = self.participant(relative).removeprefix("sub-")
        session = next((name.removeprefix("ses-") for name in folders if name.startswith("ses-")), "")
        entities = {"sub": person} | ({"ses": session} if session else {})
        if not self.maps:
            match = NAME.fullmatch(filename)
            if not match:
                raise InputError("the file name is not that of a raw scan of the release.", relative, RENAME)
            told = dict(pair.split("-") for pair in match[2].split("_")[1:])
            entities |= {"sub": match[1]} | {key: value for key, value in told.items() if key != "ses" or not session}
            if match[1] != person or (session and told.get("ses", session) != session):
                raise InputError("its name gives another participant or session than its folder.", relative, RENAME)
        elif filename != f"sub-{person}{SUFFIX[self.maps]}":
            raise InputError("its name gives another participant than its folder.", relative, "Fetch it again.")
        order = sorted(entities, key=list(ENTITIES.values()).index)
        name = "_".join(f"{key}-{entities[key]}" for key in order)
        place = f"sub-{person}" + (f"/ses-{entities['ses']}" if "ses" in entities else "")
        return Name(f"{place}/anat/{name}", {key: entities[key] for key in order})

    def check(self, path: Path, limits: list[Any]) -> dict[str, Any]:
        """Verdict over a raw head, or over a map by its header and length."""
        return check_array(path) if self.maps else super().check(path, limits)

    def tables(self, root: Path) -> Sequence[Path]:
        """Tables of participants: above the parts, else in them."""
        found = []
        for name in TABLES:
            whole = root / name
            found += [whole] if whole.is_file() else [p for part in PARTS if (p := root / part / name).is_file()]
        return found

    def described(self, relative: str) -> dict[str, str]:
        """The part, where no table names the official split."""
        return {SPLIT: relative.split("/")[0]}


def looks_like_release(root: Path) -> bool:
    """Whether a folder has the release's parts."""
    return any((root / part / folder).is_dir() for part in PARTS for folder in (RAW, DERIVATIVES))


def _files(folder: Path, relative: str) -> Iterator[str]:
    """Files of a person, relative to the dataset: in its folder, its sessions, and ``anat`` folders."""
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        inside = f"{relative}/{entry.name}"
        if entry.is_dir() and (entry.name.startswith("ses-") or entry.name == "anat"):
            yield from _files(Path(entry.path), inside)
        elif not entry.is_dir() and not entry.name.startswith("."):
            yield inside


def check_array(path: Path) -> dict[str, Any]:
    """Check one ``.npy`` map: its header, its length, and a block amid its voxels.

    Returns
    -------
    dict
        ``notes`` and ``print`` as of :func:`anatcl.bids.check.check`.

    Raises
    ------
    InputError
        It is no array of one volume, cut short, or has one value throughout the block.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        refuse_pointer(path, stream.read(512), size)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"the array cannot be read ({error}).", path, COPY) from error
    shape = tuple(int(n) for n in array.shape)
    if array.ndim < 3 or any(n != 1 for n in shape[:-3]) or min(shape[-3:]) < 2:
        raise InputError(f"the map has shape {shape}.", path, "Expected (1, 1, X, Y, Z).")
    flat = array.reshape(-1)
    block = np.asarray(flat[len(flat) // 2 : len(flat) // 2 + MIDDLE // array.itemsize])
    if not np.isfinite(block).all():
        raise InputError("the map holds values that are not finite.", path, COPY)
    if (block == block[0]).all() and not np.any(array != array.flat[0]):
        raise InputError("all its voxels have the same value.", path, COPY)
    return {"notes": [], "print": f"{size:x}-{zlib.crc32(block.tobytes()):08x}"}
