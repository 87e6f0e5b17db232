"""Measures for runs that measure nothing: those of a release or of a folder of packed arrays."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.base.provenance import recorded
from anatcl.base.words import plural
from anatcl.measures.dictionary import describe
from anatcl.measures.openbhb import release_measures, release_volumes
from anatcl.measures.reliability import reliability
from anatcl.spec.openbhb import MAPS, RELEASE

log = logging.getLogger(__name__)
KEYS = ["scan", "participant_id", "session_id"]


def take_measures(
    scans: str | Path,
    root: str | Path,
    source: str,
    out: str | Path,
    *,
    out_dictionary: str | Path,
    out_reliability: str | Path,
    out_quality: str | Path,
    freesurfer: str | Path | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Write the table of measures of a cohort, and what else is made from it; every scan has a row.

    Parameters
    ----------
    scans : path
        Index of scans.
    root : path
        The release, or the folder of packed arrays (``measures.tsv`` in it, if there is one).
    source : {"release", "maps", "packed"}
        With ``maps`` there are no measures but those of `freesurfer`.
    out : path
        Table as ``measures cohort`` writes it; what is unknown is empty.
    out_dictionary, out_reliability : path
        What its columns mean; differences within participants.
    out_quality : path
        Table of image-quality metrics, of which nothing is known: a row for each scan.
    freesurfer : path, optional
        FreeSurfer or FastSurfer derivatives: scans found there take their rows from it.
    seed : int
        Of the bootstrap of the reliability.
    """
    with recorded(Path(out).parent, {"taken": source}) as record:
        table = _table(scans, root, source, freesurfer)
        record["scans"] = len(table)
        write_tsv(out, table)
        write_json(out_dictionary, describe([str(name) for name in table.columns]))
        write_tsv(out_reliability, reliability(table, seed), "%.5g")
        write_tsv(out_quality, table[["scan"]].assign(failed=None))
    return table


def _table(scans: str | Path, root: str | Path, source: str, freesurfer: str | Path | None) -> pd.DataFrame:
    index = read_tsv(scans)
    index = index.reindex(columns=list(dict.fromkeys([*KEYS, *index.columns])))
    if source == MAPS:
        table = index[KEYS].sort_values("scan", ignore_index=True)
    else:
        table = _release(index, root) if source == RELEASE else _packed(index, Path(root))
    if freesurfer is not None:
        table = _with_freesurfer(table, index, freesurfer)
    known = table.drop(columns=KEYS)
    there, measured = plural(len(table), "scan"), int(known.notna().any(axis=1).sum())
    log.info("measures of %d of %s, %d columns", measured, there, known.shape[1])
    return table


def _with_freesurfer(table: pd.DataFrame, index: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """The table with FreeSurfer's rows; who is unusable there keeps a row without measures."""
    from anatcl.measures.freesurfer import replace_rows

    found, lost = replace_rows(table, index, folder)
    bare = table.loc[table["scan"].isin(lost["scan"]), KEYS]
    both = pd.concat([found, bare], ignore_index=True) if len(bare) else found
    return both[[*KEYS, *(c for c in both if c not in KEYS)]].sort_values("scan", ignore_index=True)


def _release(index: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    found = release_measures(root).drop(columns=["scan", "session_id"])
    table = index[KEYS].merge(found, on="participant_id", how="left", validate="many_to_one")
    volumes = release_volumes(index).set_axis(table.index)
    return pd.concat([table, volumes], axis=1).sort_values("scan", ignore_index=True)


def _packed(index: pd.DataFrame, folder: Path) -> pd.DataFrame:
    file = folder / "measures.tsv"
    if not file.is_file():
        log.warning("%s is not there: there are no regional measures", file)
        return index[KEYS].sort_values("scan", ignore_index=True)
    found = read_tsv(file)
    if "scan" not in found or found["scan"].duplicated().any():
        raise InputError("it needs a column scan, with one row for each.", file, "Pack the arrays again.")
    more = [name for name in found.columns if name not in KEYS]
    table = index[KEYS].merge(found[["scan", *more]], on="scan", how="left", validate="one_to_one")
    return table.sort_values("scan", ignore_index=True)
