"""The JSON file beside each image: sources, parameters, versions, cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anatcl.base.files import sha256, write_json
from anatcl.base.provenance import peak_memory_mb, versions
from anatcl.preprocess.ants import engine_version

SUFFIXES = (".nii.gz", ".nii", ".h5", ".mat", ".txt", ".tsv", ".png")


def sidecar_path(path: str | Path) -> Path:
    """Path of the sidecar: the image's name with ``.json``."""
    name = str(path)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return Path(f"{name}.json")


@contextlib.contextmanager
def described(outputs: list[Path], sources: list[Path], **facts: Any) -> Iterator[dict[str, Any]]:
    """Write one sidecar per output when the block ends without error.

    The block adds facts to the dictionary it is given; a key equal to an output's file name holds facts of that output
    alone.
    """
    start = time.monotonic()
    record: dict[str, Any] = {}
    yield record
    own = {path.name: record.pop(path.name, {}) for path in outputs}
    common = {
        "Sources": {path.name: sha256(path) for path in sources},
        **facts,
        **record,
        "Engine": engine_version(),
        "Versions": versions(),
        "Seconds": round(time.monotonic() - start, 2),
        "PeakMemoryMb": peak_memory_mb(),
    }
    for path in outputs:
        write_json(sidecar_path(path), common | own[path.name])
