"""Markers of scans that failed: one small JSON file per scan, read by the next pass.

A marker lies in ``results/failures/<scan>.json`` and says which stage failed, why, where the log is and what the user
can do. A step that succeeds removes the marker that it had left itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["scan", "stage", "reason", "file", "log", "remedy"]
AGAIN = "run again with --config 'failures={retry: true}'."
RETRY = f"Read the log. When the cause is removed, {AGAIN}"
ENDS = (".", "!", "?")  # of a sentence


def marker_path(folder: str | Path, scan: str) -> Path:
    """Path of the marker of `scan`."""
    return Path(folder) / f"{scan}.json"


def mark(folder: str | Path, scan: str, stage: str, error: BaseException | str, log: str = "") -> None:
    """Write down that `scan` failed in `stage`."""
    file = remedy = ""
    if isinstance(error, InputError):
        reason, file, remedy = error.reason, error.file, error.remedy
    else:
        reason = _sentence(error if isinstance(error, str) else f"{type(error).__name__}: {error}")
    entry = {"scan": scan, "stage": stage, "reason": reason, "file": file, "log": log, "remedy": remedy or RETRY}
    write_json(marker_path(folder, scan), entry)


def _sentence(text: str) -> str:
    """What a program said, with a full stop at its end: a remedy follows."""
    return text if text.rstrip().endswith(ENDS) else f"{text.rstrip()}."


def clear(folder: str | Path, scan: str, stage: str) -> None:
    """Remove the marker of `scan` if `stage` left it."""
    path = marker_path(folder, scan)
    if path.exists() and _entry(Path(folder), path)["stage"] in (stage, "workflow"):
        path.unlink()


def failed(folder: str | Path) -> pd.DataFrame:
    """All markers as a table (columns `COLUMNS`), sorted by scan."""
    import pandas as pd

    rows = [_entry(Path(folder), path) for path in sorted(Path(folder).rglob("*.json"))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    """One marker; one that cannot be read still says which scan it is of."""
    try:
        entry = read_json(path)
        if isinstance(entry, dict) and isinstance(entry.get("scan"), str):
            return entry
        reason = "its failure marker does not have the form that a step writes."
    except (OSError, ValueError) as error:
        reason = f"its failure marker cannot be read ({error})."
    scan = path.relative_to(folder).with_suffix("").as_posix()
    return {"scan": scan, "stage": "workflow", "reason": reason, "file": str(path), "log": "", "remedy": RETRY}
