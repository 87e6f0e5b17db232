"""Listing of a dataset's folders.

A plain walk, since it must see what listing libraries pass over in silence: broken links, folders that cannot be read,
T1w images in the wrong place, and participants without any.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

from anatcl.base.pointers import FETCH, explain
from anatcl.bids.names import is_t1w

DEPTH = 12  # folders below a participant; BIDS has two
# Recordings that are folders of many files, none of them an image of ours, and where they lie.
RECORDINGS = (".ds", ".zarr", ".mefd", ".mff", ".raw")
OTHER_KINDS = frozenset({"meg", "eeg", "ieeg", "emg", "nirs", "motion", "micr", "beh"})
NEARLY = re.compile(r"sub[-_ ]\w.*|sub\d.*", re.IGNORECASE)  # what its owner takes for a participant's folder
RENAME = "Name it sub-<label>, with only letters and digits in the label, and its files likewise."


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something in the dataset that cannot be used."""

    path: str
    reason: str
    remedy: str


@dataclasses.dataclass
class Listing:
    """Contents of the participants' folders; all paths are relative to the dataset."""

    participants: list[str] = dataclasses.field(default_factory=list)
    images: list[str] = dataclasses.field(default_factory=list)
    others: dict[str, set[str]] = dataclasses.field(default_factory=dict)  # participant to suffixes in anat folders
    sessions: dict[str, str] = dataclasses.field(default_factory=dict)  # participant to sub-*_sessions.tsv
    problems: list[Problem] = dataclasses.field(default_factory=list)


def walk(root: Path) -> Listing:
    """List the T1w images of every ``sub-*`` folder, in sorted order."""
    found = Listing()
    top = root.stat()
    with os.scandir(root) as listed:
        entries = sorted((entry for entry in listed if NEARLY.fullmatch(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        mode = _mode(entry)
        if isinstance(mode, str):
            found.problems.append(Problem(entry.name, mode, FETCH))
        elif is_t1w(entry.name) and not stat.S_ISDIR(mode):
            found.problems.append(
                Problem(entry.name, "it is not in the folder of a participant.", "Move it to sub-<label>/anat.")
            )
        elif stat.S_ISDIR(mode) and not entry.name.startswith("sub-"):
            found.problems.append(Problem(entry.name, "the folder's name does not begin with 'sub-'.", RENAME))
        elif stat.S_ISDIR(mode):
            found.participants.append(entry.name)
            _descend(entry, entry.name, entry.name, ((top.st_dev, top.st_ino),), found)
    return found


def _mode(entry: os.DirEntry[str]) -> int | str:
    """The mode of what an entry leads to, or the reason why it leads nowhere."""
    try:
        return entry.stat().st_mode
    except OSError as error:
        return explain(Path(entry.path), error)


def _descend(
    folder: os.DirEntry[str], participant: str, relative: str, above: tuple[tuple[int, int], ...], found: Listing
) -> None:
    # Entries know their state and path; a Path object per folder takes an eighth of the time of an index at hand.
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in above:
            found.problems.append(Problem(relative, "symlink loop (it leads back to a folder above it).", "Remove it."))
            return
        with os.scandir(folder.path) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        remedy = FETCH if folder.is_symlink() else "Give read and search permission (chmod u+rx), or exclude it."
        found.problems.append(Problem(relative, explain(Path(folder.path), error), remedy))
        return
    above = (*above, (status.st_dev, status.st_ino))
    for entry in entries:
        inside = f"{relative}/{entry.name}"
        if entry.name.startswith("."):  # such as the ._ files of macOS
            continue
        if _is_folder(entry, inside.count("/")):
            _descend(entry, participant, inside, above, found)
        else:
            _file(participant, inside, entry.name, found)


def _is_folder(entry: os.DirEntry[str], depth: int) -> bool:
    """Whether to go into an entry; other links than those named as BIDS does could lead anywhere, even to ``/``."""
    if entry.is_symlink():
        return entry.name == "anat" or (depth == 1 and entry.name.startswith("ses-"))
    image = is_t1w(entry.name) and ".nii" in entry.name.lower()  # a folder in an image's place is named as one
    recording = entry.name.endswith(RECORDINGS) and Path(entry.path).parent.name in OTHER_KINDS
    return depth < DEPTH and entry.is_dir() and not image and not recording


def _file(participant: str, relative: str, name: str, found: Listing) -> None:
    if is_t1w(name):
        found.images.append(relative)
    elif name == f"{participant}_sessions.tsv":
        found.sessions[participant] = relative
    elif name.endswith((".nii", ".nii.gz")) and relative.split("/")[-2] == "anat":
        suffix = name.partition(".")[0].rpartition("_")[2]
        found.others.setdefault(participant, set()).add(suffix)
