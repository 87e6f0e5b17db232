"""Grey-matter maps that other programs made, found by their names.

CAT12 and brainprep write ``mwp1<name of the scan>.nii``, at any depth (``sub-01/ses-1/anat/mri/``); T1Prep writes these
names, too. BIDS names are ``<name>[_space-...]_label-GM_desc-modulated_probseg.nii.gz``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.spec.layout import LABEL

STEM = rf"sub-{LABEL}(?:_[A-Za-z]+-{LABEL})*?"
CAT12 = re.compile(rf"mwp1[a-z]*(?P<name>{STEM})(?:_T1w)?(?:_desc-[A-Za-z0-9]+)?\.nii(?:\.gz)?")
BIDS = re.compile(rf"(?P<name>{STEM})(?:_space-{LABEL}|_res-{LABEL})*_label-GM_desc-modulated_probseg\.nii(?:\.gz)?")


def find_maps(folder: str | Path, scans: Iterable[str]) -> dict[str, Path]:
    """Map of each scan that has one.

    Parameters
    ----------
    folder : path
        Derivatives of one program.
    scans : iterable of str
        BIDS stems.

    Raises
    ------
    InputError
        There is no such folder, no map in it, or two maps of one scan.
    """
    if not Path(folder).is_dir():
        raise InputError("the folder of maps does not exist.", folder, "Correct its path.")
    found: dict[str, list[Path]] = {}
    for path in _files(Path(folder)):
        match = CAT12.fullmatch(path.name) or BIDS.fullmatch(path.name)
        if match:
            found.setdefault(match["name"], []).append(path)
    if not found:
        remedy = "Give the folder of CAT12's, brainprep's or T1Prep's results."
        raise InputError("it has no modulated grey-matter map (mwp1sub-*.nii).", folder, remedy)
    wanted = {scan.rpartition("/")[2]: scan for scan in scans}
    for name in wanted:
        if len(found.get(name, ())) > 1:
            first, second = found[name][:2]
            raise InputError(f"{name} has two maps, {first} and {second}.", folder, "Keep one of them.")
    maps = {scan: found[name][0] for name, scan in wanted.items() if name in found}
    if not maps:
        example = next(iter(wanted), "")
        reason = f"none of its maps belongs to a scan of the dataset ({len(found)} maps, {example or 'no scan'})."
        raise InputError(reason, folder, nearest(example, found))
    return maps


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        yield from (Path(place) / name for name in sorted(names) if "mwp1" in name or "label-GM" in name)
