"""OpenBHB's Desikan measures as this workflow's table: from a file for each participant, from one table, or from rows.

Seven measures of 68 regions, in FreeSurfer's words and order. Volumes of the whole brain are in participants.tsv.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import plural
from anatcl.spec.openbhb import DESIKAN_LABELS, RESOURCE, RESOURCES, VOLUMES, desikan_files, desikan_tables

log = logging.getLogger(__name__)

CHANNELS = ("area", "volume", "thickness", "thicknessstd", "meancurv", "gauscurv", "curvind")
# FreeSurfer's order in aparc.stats; used unless the release's label file is given.
REGIONS = (
    "bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "cuneus", "entorhinal", "fusiform",
    "inferiorparietal", "inferiortemporal", "isthmuscingulate", "lateraloccipital", "lateralorbitofrontal",
    "lingual", "medialorbitofrontal", "middletemporal", "parahippocampal", "paracentral", "parsopercularis",
    "parsorbitalis", "parstriangularis", "pericalcarine", "postcentral", "posteriorcingulate", "precentral",
    "precuneus", "rostralanteriorcingulate", "rostralmiddlefrontal", "superiorfrontal", "superiorparietal",
    "superiortemporal", "supramarginal", "frontalpole", "temporalpole", "transversetemporal", "insula",
)  # fmt: skip
CUBIC_MM = 1e4  # a brain's volumes below it are no mm3


def roi_table(files: Sequence[Path], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Desikan ``_ROI.npy`` files, one per subject, as measures.tsv; see `measures_table`."""
    data = np.stack([_roi(np.load(f, allow_pickle=False), f) for f in files])
    return measures_table([identifier(f) for f in files], data, labels)


def release_measures(root: str | Path) -> pd.DataFrame:
    """Measures of all participants of a release that has them, as `measures_table`; empty where there are none.

    Parameters
    ----------
    root : path
        Folder of the release. Both forms are read: a ``_ROI.npy`` file for each participant, and one table for each
        part.

    Raises
    ------
    InputError
        A file is not what it should be, or the channels are in another order.
    """
    root = Path(root)
    labels = release_labels(root)
    files = desikan_files(root)
    parts = [roi_table(files, labels)] if files else []
    parts += [_table(path, labels) for path in desikan_tables(root)]
    if not parts:
        return pd.DataFrame(columns=["scan", "participant_id", "session_id"])
    return pd.concat(parts, ignore_index=True).drop_duplicates("participant_id").sort_values("scan", ignore_index=True)


def _table(path: Path, labels: Sequence[str] | None) -> pd.DataFrame:
    """The release's table of a part: ``participant_id``, ``session``, then 7 x 68 columns, measure by measure."""
    table = pd.read_csv(path, dtype={"participant_id": str})
    if "participant_id" not in table:
        raise InputError("the table has no column participant_id.", path, "Fetch it again.")
    numbers = table.drop(columns=[c for c in ("participant_id", "session") if c in table])
    if numbers.shape[1] % len(CHANNELS):
        raise InputError(f"the table has {numbers.shape[1]} columns of measures, not 7 for each region.", path)
    data = numbers.to_numpy(dtype=float).reshape(len(table), len(CHANNELS), -1)
    return measures_table(table["participant_id"].str.removeprefix("sub-").tolist(), data, labels)


def release_labels(root: Path) -> list[str] | None:
    """Names of the regions by the release's own file; None where it has none."""
    whole, text = root / RESOURCE / RESOURCES, root / RESOURCE / DESIKAN_LABELS
    if whole.is_file():
        try:
            return [str(name) for name in json.loads(whole.read_text(encoding="utf-8"))["desikan_roi"]["features"]]
        except (ValueError, KeyError, TypeError) as error:
            reason = f"its text is not a list of regions ({error})."
            raise InputError(reason, whole, "Fetch the release's file again.") from error
    return text.read_text(encoding="utf-8").split() if text.is_file() else None


def release_volumes(scans: pd.DataFrame) -> pd.DataFrame:
    """Volumes of the whole brain in mm3 from the columns of participants.tsv (cm3; TIV may be in mm3 already).

    Returns
    -------
    DataFrame
        A row for each of `scans`, columns ``tiv_mm3`` and so on, those that are known.
    """
    found = {}
    for theirs, ours in VOLUMES.items():
        if theirs in scans:
            values = pd.to_numeric(scans[theirs], errors="coerce")
            found[ours] = values * (1000.0 if values.median() < CUBIC_MM else 1.0)
    return pd.DataFrame(found, index=scans.index)


def measures_table(people: Sequence[str], data: np.ndarray, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Arrange OpenBHB's Desikan measures as measures.tsv.

    Parameters
    ----------
    people : sequence of str
        Identifiers without ``sub-``.
    data : ndarray of shape (n, 7, K)
        Channels in the order of `CHANNELS`.
    labels : sequence of K str, optional
        Regions such as ``lh_bankssts`` (``lh-bankssts`` and ``lh.bankssts`` are understood).
    """
    if labels is None:
        labels = [f"{side}_{region}" for side in ("lh", "rh") for region in REGIONS]
        if data.shape[2] == len(labels):
            log.warning("regions are named in FreeSurfer's order; give the release's label file to check this")
    labels = [re.sub(r"^([lr]h)[-._]", r"\1_", str(name)) for name in labels]
    if data.shape[2] != len(labels):
        raise InputError(
            f"there are {plural(data.shape[2], 'region')} and {plural(len(labels), 'name')} for them.",
            remedy="Give the release's label file.",
        )
    thickness = data[:, CHANNELS.index("thickness")]
    middle = float(np.nanmedian(thickness))
    if not 0.5 < middle < 6:
        raise InputError(
            f"the median of the thickness channel is {middle:.3g}, which cannot be a thickness in mm.",
            remedy="The channels or blocks are in another order than the published one.",
        )
    names = [f"sub-{s}" for s in people]
    columns = {f"{kind}_{region}": data[:, c, k] for c, kind in enumerate(CHANNELS) for k, region in enumerate(labels)}
    frame = {"scan": [scan_of(n) for n in names], "participant_id": names, "session_id": "ses-1", **columns}
    return pd.DataFrame(frame).sort_values("scan", ignore_index=True)


def scan_of(participant: str) -> str:
    """Name of the one scan of a participant."""
    return f"{participant}/ses-1/anat/{participant}_ses-1"


def identifier(path: Path) -> str:
    """The number in the name of a participant's file."""
    match = re.match(r"sub-([^_]+)_", path.name)
    assert match is not None  # the glob asks for sub-
    return match.group(1)


def _roi(array: np.ndarray, path: Path) -> np.ndarray:
    """(1, 7, K) or (7, K) to (7, K)."""
    array = array.reshape(array.shape[-2:]) if array.ndim >= 2 else array
    if array.ndim != 2 or array.shape[0] != len(CHANNELS):
        raise InputError(f"the measures have shape {array.shape}, not (1, 7, regions).", file=path)
    return array
