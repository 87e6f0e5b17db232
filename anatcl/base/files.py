"""Reading and writing files so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# pandas takes 0.3 s to import, which the command line's --help and the imaging steps need not pay.
if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` when the block ends without an error.

    The temporary name keeps the suffixes of `path` (``.nii.gz``), since writers choose their format by them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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

    header = pd.read_csv(path, sep="\t", nrows=0, encoding="utf-8-sig").columns
    text = {name: str for name in header if name == "scan" or str(name).endswith("_id")}
    return pd.read_csv(
        path, sep="\t", na_values=["n/a", ""], keep_default_na=False, dtype=text, encoding="utf-8-sig", **kwargs
    )


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
