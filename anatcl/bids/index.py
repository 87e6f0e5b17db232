"""The index of a dataset: usable scans with their phenotypes, and what is left out with the reason.

:func:`build_index` makes it in memory; :func:`refresh` keeps it in ``results/bids`` and is what the main Snakemake
process calls when it starts.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base import provenance
from anatcl.base.closure import code_digest
from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_json, write_json
from anatcl.base.pointers import printable
from anatcl.bids.builder import GIVE, Builder, Index
from anatcl.bids.packed import packed_index
from anatcl.bids.tables import as_text, typed
from anatcl.spec.bids import PACKED, Options

__all__ = ["Index", "build_index", "refresh"]

TABLES = ("scans", "excluded", "participants", "notes")
log = logging.getLogger(__name__)


def build_index(bids_dir: str | Path, options: Options | None = None, cache_file: Path | None = None) -> Index:
    """Index a dataset.

    Parameters
    ----------
    bids_dir : path
        Folder of the dataset, or of packed arrays.
    options : Options, optional
    cache_file : Path, optional
        Where verdicts over single files are kept between calls.

    Raises
    ------
    InputError
        There is no dataset, one of its tables is unusable, or an option does not fit it.
    """
    options = options or Options()
    if options.maps == PACKED:
        return packed_index(_root(bids_dir), options)
    return Builder(_root(bids_dir), options, cache_file).build()


def refresh(bids_dir: str | Path, out_dir: str | Path, options: Options | None = None) -> pd.DataFrame:
    """Bring the tables of the index (`TABLES`) and ``run.json`` up to date; return the scans.

    A file is written only when its content changes, so that nothing downstream is rerun without need.

    Raises
    ------
    InputError
        As `build_index`; or no scan is usable (the tables are written before, so that they say why); or `out_dir`
        cannot be written.
    """
    start = time.monotonic()
    options = options or Options()
    out = Path(out_dir)
    index = build_index(bids_dir, options, out / ".cache.json")
    parameters = {"bids_dir": str(bids_dir), "options": options.plain(), "code": code_digest(__name__)}
    try:
        changed = [write_if_changed(out / f"{name}.tsv", getattr(index, name)) for name in TABLES]
        _record(out / "run.json", parameters, index, start, any(changed))
    except OSError as error:
        remedy = "Make the folder writable, or choose another with --directory."
        raise InputError(f"the index cannot be written ({error.strerror}).", out, remedy) from error
    if index.scans.empty:
        remedy = f"See {out / 'excluded.tsv'} for the reason of each, and the filters in config (participants, bids)."
        what = "map" if options.maps else "T1w scan"
        raise InputError(f"no usable {what} was found{_counts(index)}", bids_dir, remedy)
    return typed(index.scans)


def _counts(index: Index) -> str:
    """How many images were found, not asked for, excluded: which of the filters left nothing."""
    told = ", ".join(f"{what}: {number}" for what, number in index.counts.items() if number)
    return f" ({told})." if told else "."


def write_if_changed(path: Path, table: pd.DataFrame) -> bool:
    """Write a table unless the file holds it already; say whether it was written."""
    content = as_text(table).encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return True


def _record(path: Path, parameters: dict[str, Any], index: Index, start: float, changed: bool) -> None:
    """Write ``run.json`` when a table, an option or a warning is new; speak of the index then, too."""
    lasting: dict[str, Any] = {"parameters": parameters, "counts": index.counts, "warnings": index.warnings}
    if not changed and _kept(path, lasting):
        return
    for item in index.warnings:
        log.warning("%s: %s %s", item["about"], item["warning"], item["remedy"])
    log.info("%s", ", ".join(f"{what}: {number}" for what, number in index.counts.items()))
    measured = {"seconds": round(time.monotonic() - start, 2), "peak_memory_mb": provenance.peak_memory_mb()}
    about = {"versions": provenance.versions(), "hardware": provenance.hardware()}
    write_json(path, lasting | measured | about)


def _kept(path: Path, lasting: dict[str, Any]) -> bool:
    try:
        kept = read_json(path)
        plain = json.loads(json.dumps(lasting, default=str))  # tuples become lists
        return all(kept.get(key) == value for key, value in plain.items())
    except (OSError, ValueError, AttributeError):
        return False


def _root(bids_dir: str | Path) -> Path:
    root = Path(os.path.abspath(Path(bids_dir).expanduser()))  # noqa: PTH100 - keeps symlinks as the user wrote them
    if any(c == "\r" or "\ud800" <= c <= "\udfff" for c in str(root)):  # bytes that are not UTF-8 become surrogates
        reason = "the name of the folder cannot be written in a table (it has a carriage return or is not UTF-8)."
        raise InputError(reason, printable(str(root)), "Rename it, or give a symlink to it.")
    if not root.is_dir():
        raise InputError("there is no such folder.", root, GIVE)
    return root
