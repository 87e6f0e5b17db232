"""Quality-control gallery: small pictures embedded in the page, metrics, and which of them are unusual."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.report.drawing.svg import short

# All pictures of one page together; base64 adds a third, so that a page stays under 15 MB.
BUDGET_BYTES = 9_000_000
LARGEST_BYTES = 140_000
# Widths (pixels) and WebP qualities that are tried in turn until a picture fits.
TRIALS = ((1400, 80), (1200, 72), (1000, 66), (850, 60), (700, 55), (560, 50), (420, 45), (320, 40))
# A number this many robust deviations from the median may be marked, one at the second is marked in any case; of all
# others no more than this share of the scans is.
ROBUST_LIMIT, EXTREME, SHARE = 4.0, 12.0, 0.05
FEWEST = 8
# Readable names of the quality step's numbers; others are shown as they are.
LABELS = {
    "brain_ml": "Brain mask (ml)",
    "icv_ml": "Intracranial volume (ml)",
    "csf_ml": "CSF, whole voxels (ml)",
    "gm_ml": "Grey matter, whole voxels (ml)",
    "wm_ml": "White matter, whole voxels (ml)",
    "template_correlation": "Correlation with template",
    "template_dice": "Dice with template mask",
    "cjv": "CJV of GM and WM (lower is better)",
    "cnr": "Contrast-to-noise ratio",
    "jacobian_min": "Smallest Jacobian",
    "jacobian_max": "Largest Jacobian",
    "jacobian_nonpositive_share": "Folded voxels (share)",
    "modulation_ratio": "VBM sum / native GM",
    "cut_cm2": "Brain on the edge of the scan (cm²)",
}


@dataclasses.dataclass(frozen=True)
class Item:
    """One scan of the gallery.

    Parameters
    ----------
    scan : str
        BIDS path stem.
    anchor : str
        Name of the place in the page.
    picture : str
        Data URI; empty when the scan has no picture.
    width, height : int
        Size of the picture in pixels.
    numbers : dict
        Image-quality metrics by name.
    unusual : list of str
        Sentences on numbers that stand out, or that the quality step itself flagged.
    """

    scan: str
    anchor: str
    picture: str
    width: int
    height: int
    numbers: dict[str, str]
    unusual: list[str]


def flat(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers among the values, true and false left out."""
    kept = {k: v for k, v in numbers.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return {key: float(value) for key, value in kept.items()}


def shortened(flags: Sequence[str], most: int = 4) -> list[str]:
    """The first few of a list of flags and the number of the others."""
    more = [f"and {len(flags) - most} more"] if len(flags) > most else []
    return [*flags[:most], *more]


def unusual(
    quality: dict[str, dict[str, Any]],
    remarks: Mapping[str, Sequence[str]],
    outliers: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """What is remarkable about each scan: remarks of other stages, then what lies far from the cohort.

    Of a cohort of normal scans at most `SHARE` is marked for lying far from it: every cohort has a scan that is
    farthest. Remarks, and numbers beyond `EXTREME` deviations, are marked whatever their number.

    Parameters
    ----------
    quality : dict
        Image-quality metrics by scan.
    remarks : mapping
        Sentences by scan that are always said.
    outliers : mapping, optional
        Measures that stand out, in words, by scan.
    """
    found: dict[str, list[str]] = {scan: list(lines) for scan, lines in remarks.items()}
    for scan, numbers in quality.items():
        found.setdefault(scan, []).extend(own_flags(numbers))
    for hints in (_far(quality), _many(outliers or {}, max(len(quality), len(outliers or {})))):
        for scan, lines in hints.items():
            found.setdefault(scan, []).extend(lines)
    return found


def budget(count: int) -> int:
    """How many of `count` scans may be marked for lying far from the others."""
    return max(1, int(SHARE / 2 * count))  # two kinds of marks share it


def _far(quality: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Numbers that lie far from the cohort's median, of the scans that have the farthest ones."""
    far: dict[str, list[tuple[float, str]]] = {}
    for name in sorted({name for numbers in quality.values() for name in flat(numbers)}):
        values = {scan: flat(numbers).get(name, math.nan) for scan, numbers in quality.items()}
        distances, median = distance(np.array(list(values.values())))
        for (scan, value), far_off in zip(values.items(), distances, strict=True):
            if far_off > ROBUST_LIMIT:
                text = f"{label(name)} {short(value)} (median {short(median)})"
                far.setdefault(scan, []).append((float(far_off), text))
    farthest = {scan: max(found)[0] for scan, found in far.items()}
    kept = sorted(farthest, key=lambda scan: (-farthest[scan], scan))[: budget(len(quality))]
    marked = [scan for scan in far if scan in kept or farthest[scan] > EXTREME]
    return {scan: [text for _, text in far[scan]] for scan in marked}


def distance(values: np.ndarray) -> tuple[np.ndarray, float]:
    """How far values lie from their median, in robust deviations of their own side, shape (n,); and the median.

    The deviation of each side is 1.4826 x the median distance of the values on it: a skewed number has a long tail on
    one side, which is not unusual there. Zero where fewer than `FEWEST` values are known.
    """
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.zeros(len(values)), math.nan
    median = float(np.median(known))
    away = np.nan_to_num(values - median)
    found = np.zeros(len(values))
    for side in (away > 0, away < 0):
        scale = 1.4826 * float(np.median(np.abs(away[side]))) if side.any() else 0.0
        if scale > 0:
            found[side] = np.abs(away[side]) / scale
    return found, median


def _many(outliers: Mapping[str, Sequence[str]], count: int) -> dict[str, list[str]]:
    """Measures that stand out, of the scans with most of them."""
    ordered = sorted((scan for scan in outliers if outliers[scan]), key=lambda scan: (-len(outliers[scan]), scan))
    return {scan: shortened(list(outliers[scan])) for scan in ordered[: budget(count)]}


def label(name: str) -> str:
    """Readable name of an image-quality metric."""
    return LABELS.get(name, name)


def own_flags(numbers: dict[str, Any]) -> list[str]:
    """Flags that the quality step wrote itself (a list, or text parted by semicolons)."""
    flags = numbers.get("flags") or []
    if isinstance(flags, str):
        flags = [flag.strip() for flag in flags.split(";")]
    return [str(flag) for flag in flags if str(flag)]


def items(
    preprocess: str | Path,
    scans: Sequence[str],
    quality: dict[str, dict[str, Any]],
    odd: Mapping[str, list[str]],
) -> list[Item]:
    """Gallery of some scans; those with something unusual (of :func:`unusual`) come first."""
    limit = min(LARGEST_BYTES, BUDGET_BYTES // max(len(scans), 1))
    ordered = sorted(scans, key=lambda scan: (-len(odd.get(scan, [])), scan))
    return [_item(Path(preprocess), scan, quality.get(scan, {}), odd.get(scan, []), limit) for scan in ordered]


def _item(folder: Path, scan: str, numbers: dict[str, Any], odd: list[str], limit: int) -> Item:
    anchor = "qc-" + scan.rpartition("/")[2].replace("_", "-")
    path = folder / f"{scan}_desc-qc.png"
    uri, width, height = picture(path, limit) if path.is_file() else ("", 0, 0)
    shown = {label(name): short(value) for name, value in flat(numbers).items()}
    return Item(scan, anchor, uri, width, height, shown, odd)


def picture(path: Path, limit: int) -> tuple[str, int, int]:
    """A picture as a data URI of at most `limit` bytes: the file itself, else WebP (the smallest trial if none fits).

    Returns
    -------
    uri : str
    width, height : int
        Pixels.
    """
    from PIL import Image

    with Image.open(path) as opened:
        if path.stat().st_size <= limit and opened.format == "PNG":
            return _uri("png", path.read_bytes()), *opened.size
        image = opened.convert("RGB")
    data, size = b"", image.size
    for width, quality in TRIALS:
        small = image if image.width <= width else image.resize((width, round(image.height * width / image.width)))
        stream = io.BytesIO()
        small.save(stream, "WEBP", quality=quality, method=4)
        data, size = stream.getvalue(), small.size
        if len(data) <= limit:
            break
    return _uri("webp", data), *size


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
