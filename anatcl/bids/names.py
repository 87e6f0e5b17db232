"""Names of scans: from a path in the dataset to its stem and entities, or to the reason why it has none."""

from __future__ import annotations

import dataclasses
import re

from anatcl.base.errors import InputError
from anatcl.spec.layout import ENTITIES, INDICES, LABEL

_T1W = re.compile(r"_t1w(?P<extension>\.[^/]*)?$", re.IGNORECASE)
_SAFE = re.compile(rf"(?:{LABEL}-{LABEL}_)+T1w\.nii(?:\.gz)?")
_RENAME = "Rename it as BIDS asks: sub-<label>[/ses-<label>]/anat/sub-<label>[_ses-<label>][_acq-<label>]_T1w.nii.gz."


@dataclasses.dataclass(frozen=True)
class Name:
    """A scan's name: its stem (``sub-01/anat/sub-01``) and its entities by their short keys."""

    scan: str
    entities: dict[str, str]


def is_t1w(filename: str) -> bool:
    """Say whether a file name claims to be a T1w image (or is so near to it that its owner thinks it is one)."""
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
    import bids2table

    *folders, filename = relative.split("/")
    if not filename.endswith(("_T1w.nii", "_T1w.nii.gz")):
        raise InputError(_extension(filename), relative, "Convert it to NIfTI and name it ..._T1w.nii.gz.")
    if not _SAFE.fullmatch(filename):
        raise InputError("the file name is not a BIDS name of letters, digits and entities.", relative, _RENAME)
    parsed = bids2table.parse_bids_entities(relative)
    entities = {key: value for key, value in parsed.items() if key not in ("datatype", "suffix", "ext")}
    if len(entities) != filename.count("_"):
        raise InputError("an entity stands twice in the file name.", relative, _RENAME)
    _known(relative, entities, bids2table.validate_bids_entities(parsed)[1])
    _placed(relative, folders, entities)
    return Name(stem(relative), entities)


def _extension(filename: str) -> str:
    found = _T1W.search(filename)
    extension = (found.group("extension") if found else "") or "no extension"
    if extension.lower() in (".nii", ".nii.gz"):
        return "its suffix or extension is written in the wrong case (T1w.nii.gz is right)."
    return f"its extension ({extension}) is not .nii or .nii.gz."


def _known(relative: str, entities: dict[str, str], extra: dict[str, str]) -> None:
    for key, value in entities.items():
        if key not in ENTITIES.values():
            kind = "is not a BIDS entity" if key in extra else "belongs to a derivative or another kind of image"
            remedy = "Move derivatives to derivatives/, or rename the file."
            raise InputError(f"{key}-{value} in its name {kind}.", relative, remedy)
        if key in INDICES and not value.isdigit():
            raise InputError(f"{key}-{value} in its name must be a whole number.", relative, _RENAME)
    if entities.get("part", "mag") != "mag":
        raise InputError(
            f"it is the {entities['part']} part of an image, not its magnitude.", relative, "Leave it out."
        )


def _placed(relative: str, folders: list[str], entities: dict[str, str]) -> None:
    """Compare the entities in the file name with the folders above it."""
    expected = [f"sub-{entities.get('sub', '')}"]
    expected += [f"ses-{entities['ses']}"] if "ses" in entities else []
    if folders[-1:] != ["anat"]:
        raise InputError("it does not lie in a folder named anat.", relative, "Move it to the anat folder.")
    if folders[:-1] != expected:
        above, named = "/".join(folders[:-1]), "/".join(expected)
        reason = f"its name says {named}, its folder says {above}."
        raise InputError(reason, relative, "Rename the file or the folder, whichever is wrong.")
