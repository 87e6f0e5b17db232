"""Reading and writing files so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anatcl.base.errors import InputError

# pandas takes 0.3 s to import, which the command line's --help and the imaging steps need not pay.
if TYPE_CHECKING:
    import pandas as pd


# Temporary names carry the machine: a process number says something of a writer on its own machine only.
HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
DAY = 86_400  # seconds after which no writer of another machine can be at work any more


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` when the block ends without an error.

    The temporary name keeps the suffixes of `path` (``.nii.gz``), since writers choose their format by them. What a
    writer of the same file left behind when it was killed is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{HOST}-{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove the temporary files of killed writers of `path`; those of writers at work stay."""
    for left in path.parent.glob(f".*.tmp.{glob.escape(path.name)}"):
        host, _, number = left.name[1:].partition(".tmp.")[0].partition("-")
        here = host == HOST and number.isdigit()
        with contextlib.suppress(FileNotFoundError):
            if not _at_work(int(number)) if here else time.time() - left.stat().st_mtime > DAY:
                left.unlink()


def _at_work(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented JSON, atomically; keys keep their order."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_tsv(path: str | Path, table: pd.DataFrame, float_format: str | None = "%.6g") -> None:
    """Write a table as tab-separated values with ``n/a`` for what is missing (BIDS), atomically."""
    text = table.to_csv(sep="\t", index=False, na_rep="n/a", float_format=float_format, lineterminator="\n")
    write_text(path, text)


def read_tsv(path: str | Path, **kwargs: Any) -> pd.DataFrame:
    """Read a tab-separated table; ``n/a`` and empty cells are missing, identifiers stay text.

    Columns whose name ends in ``_id`` and the column ``scan`` are never turned into numbers (``sub-01`` of a dataset
    may be just ``01`` elsewhere).
    """
    import pandas as pd

    try:
        header = pd.read_csv(path, sep="\t", nrows=0, encoding="utf-8-sig").columns
    except pd.errors.EmptyDataError:
        raise InputError("the table is empty.", path, "Write a line of column names, separated by tabs.") from None
    text = {name: str for name in header if name == "scan" or str(name).endswith("_id")}
    return pd.read_csv(
        path, sep="\t", na_values=["n/a", ""], keep_default_na=False, dtype=text, encoding="utf-8-sig", **kwargs
    )


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
