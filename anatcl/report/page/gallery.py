"""Quality-control gallery: pictures small enough to travel in the page, numbers, and which of them stand out."""

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
ROBUST_LIMIT = 4.0
FEWEST = 8
# Readable names of the quality step's numbers; others are shown as they are.
LABELS = {
    "brain_ml": "Brain mask (ml)",
    "icv_ml": "Intracranial volume (ml)",
    "csf_ml": "CSF (ml)",
    "gm_ml": "Grey matter (ml)",
    "wm_ml": "White matter (ml)",
    "template_correlation": "Correlation with template",
    "template_dice": "Dice with template mask",
    "cjv": "CJV of GM and WM (low is good)",
    "cnr": "Contrast to noise",
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
        Quality numbers by name.
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


def unusual(quality: dict[str, dict[str, Any]], remarks: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What is remarkable about each scan: remarks of other stages, then numbers that lie far from the cohort.

    A number stands out when it lies more than `ROBUST_LIMIT` robust standard deviations (1.4826 x median absolute
    deviation) from the median of at least `FEWEST` scans. That is a hint where to look, not a verdict.
    """
    found: dict[str, list[str]] = {scan: list(lines) for scan, lines in remarks.items()}
    for scan, numbers in quality.items():
        found.setdefault(scan, []).extend(own_flags(numbers))
    names = sorted({name for numbers in quality.values() for name in flat(numbers)})
    for name in names:
        values = {scan: flat(numbers).get(name, math.nan) for scan, numbers in quality.items()}
        array = np.array([value for value in values.values() if math.isfinite(value)])
        if len(array) < FEWEST:
            continue
        median = float(np.median(array))
        scale = 1.4826 * float(np.median(np.abs(array - median)))
        for scan, value in values.items():
            if scale > 0 and math.isfinite(value) and abs(value - median) > ROBUST_LIMIT * scale:
                found[scan].append(f"{label(name)} {short(value)} (median {short(median)})")
    return found


def label(name: str) -> str:
    """Readable name of a quality number."""
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
    remarks: Mapping[str, Sequence[str]],
) -> list[Item]:
    """Gallery of some scans; those with something unusual come first."""
    odd = unusual(quality, remarks)
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
