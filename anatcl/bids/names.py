"""Names of scans: from a path in the dataset to its stem and entities, or to the reason why it has none."""

from __future__ import annotations

import dataclasses
import functools
import re

from anatcl.base.errors import InputError
from anatcl.spec.layout import ENTITIES, INDICES, LABEL

_T1W = re.compile(r"(?:^|(?<=/)|[-_. ])t1w(?P<extension>\.[^/]*)?$", re.IGNORECASE)
# What its owner may take for a T1w image: T1w-2.nii.gz, T1w_defaced.nii, T1w (1).nii, T1.nii.gz, MPRAGE.nii.
_LIKE_T1W = re.compile(
    r"(?:^|[-_ ])(?:t1w[-_ (\d][^/]*|t1|t1w?[-_ ]?mprage|mprage)\.(?:nii|mgz|mgh|img)(?:\.[^/]*)?$", re.IGNORECASE
)
_SAFE = re.compile(rf"(?:{LABEL}-{LABEL}_)+T1w\.nii(?:\.gz)?")
_RENAME = "Rename it as BIDS asks: sub-<label>[/ses-<label>]/anat/sub-<label>[_ses-<label>][_acq-<label>]_T1w.nii.gz."


@dataclasses.dataclass(frozen=True)
class Name:
    """A scan's name: its stem (``sub-01/anat/sub-01``) and its entities by their short keys."""

    scan: str
    entities: dict[str, str]


def is_t1w(filename: str) -> bool:
    """Say whether a file name claims to be a T1w image (or is so near to it that its owner thinks it is one)."""
    if _LIKE_T1W.search(filename):
        return True
    found = _T1W.search(filename)
    return found is not None and (found.group("extension") or "").lower() != ".json"


def stem(relative: str) -> str:
    """Return the path without suffix and extension."""
    return _T1W.sub("", relative)


def parse(relative: str) -> Name:
    """Read the name of a scan from its path relative to the dataset.

    Raises
    ------
    InputError
        The name does not follow BIDS, contradicts its folder, or is that of a derivative.
    """
    *folders, filename = relative.split("/")
    if not filename.endswith(("_T1w.nii", "_T1w.nii.gz")):
        raise InputError(_extension(filename), relative, "Convert it to NIfTI and name it ..._T1w.nii.gz.")
    if not _SAFE.fullmatch(filename):
        raise InputError("the file name is not a BIDS name of letters, digits and entities.", relative, _RENAME)
    entities = dict(pair.split("-") for pair in filename.split("_")[:-1])
    if len(entities) != filename.count("_"):
        raise InputError("an entity occurs twice in the file name.", relative, _RENAME)
    _known(relative, entities)
    _placed(relative, folders, entities)
    return Name(stem(relative), entities)


def _extension(filename: str) -> str:
    found = _T1W.search(filename)
    if not found or filename[: found.start() + 1] != f"{filename[: found.start()]}_":
        return "the file name does not end in _T1w.nii or _T1w.nii.gz."
    extension = found.group("extension") or "no extension"
    if extension.lower() in (".nii", ".nii.gz"):
        return "its suffix or extension is written in the wrong case (T1w.nii.gz is right)."
    return f"its extension ({extension}) is not .nii or .nii.gz."


def _known(relative: str, entities: dict[str, str]) -> None:
    for key, value in entities.items():
        if key not in ENTITIES.values():
            other = "belongs to a derivative or another kind of image"
            kind = other if key in _all_entities() else "is not a BIDS entity"
            remedy = "Move derivatives to derivatives/, or rename the file."
            raise InputError(f"{key}-{value} in its name {kind}.", relative, remedy)
        if key in INDICES and not value.isdigit():
            raise InputError(f"{key}-{value} in its name must be a whole number.", relative, _RENAME)
    if entities.get("part", "mag") != "mag":
        raise InputError(
            f"it is the {entities['part']} part of an image, not its magnitude.", relative, "Leave it out."
        )


@functools.cache
def _all_entities() -> frozenset[str]:
    """Short names of every entity of the BIDS standard."""
    from bidsschematools.schema import load_schema

    return frozenset(str(entity["name"]) for entity in load_schema().objects.entities.values())


def _placed(relative: str, folders: list[str], entities: dict[str, str]) -> None:
    """Compare the entities in the file name with the folders above it."""
    expected = [f"sub-{entities.get('sub', '')}"]
    expected += [f"ses-{entities['ses']}"] if "ses" in entities else []
    if folders[-1:] != ["anat"]:
        raise InputError("it is not in a folder named anat.", relative, "Move it to the anat folder.")
    if folders[:-1] != expected:
        above, named = "/".join(folders[:-1]), "/".join(expected)
        reason = f"its name says {named}, its folder says {above}."
        raise InputError(reason, relative, "Rename the file or the folder, whichever is wrong.")
