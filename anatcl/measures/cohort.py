"""The cohort table and everything that is made from it."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.measures import exports, tables
from anatcl.measures.dictionary import describe
from anatcl.measures.outliers import outliers
from anatcl.measures.reliability import reliability

log = logging.getLogger(__name__)


def build(
    chunks: list[Path],
    scans: Path,
    outputs: dict[str, Path],
    qc: Path | None = None,
    query: str = "",
    freesurfer: Path | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Write the cohort table and its companions.

    Parameters
    ----------
    chunks : list of path
        Chunk tables.
    scans : path
        Index of scans.
    outputs : dict
        ``table``, and any of ``dictionary``, ``excluded``, ``openbhb``, ``enigma`` (a folder), ``reliability``,
        ``adjusted``, ``outliers``.
    qc : path, optional
        Image-quality metrics of the scans; who has a reason in its column ``failed`` is left out without a row in
        ``excluded``, since the stage that found it has written one.
    query : str
        Limits on them, a pandas query.
    freesurfer : path, optional
        FreeSurfer or FastSurfer derivatives folder: scans found there take their rows from it.

    Returns
    -------
    DataFrame
        The cohort table as written.
    """
    index = read_tsv(scans)
    parts = [read_tsv(path) for path in chunks]
    unusable = pd.DataFrame(columns=tables.EXCLUDED)
    if freesurfer is not None:
        from anatcl.measures.freesurfer import replace_rows

        table, unusable = replace_rows(pd.concat(parts, ignore_index=True), index, freesurfer)
        parts = [table]
    quality = None if qc is None else read_tsv(qc)
    table, excluded = tables.gate(_passed(tables.join(parts, index), quality), quality, query)
    excluded = pd.concat([part for part in (excluded, unusable) if len(part)] or [excluded], ignore_index=True)
    if table.empty:
        raise InputError(
            "no scan passed the quality limits.", qc, "Read excluded.tsv beside it, and change the limits."
        )
    listed = outliers(table, _site(table, index))
    table = _mark(table, listed)
    for row in excluded.itertuples():
        log.warning("%s left out: %s", row.scan, row.reason)
    write_tsv(outputs["table"], table)
    _companions(table, excluded, listed, outputs, seed)
    return table


def _passed(table: pd.DataFrame, quality: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of scans that the quality gate let through."""
    if quality is None or "failed" not in quality:
        return table
    return table[~table["scan"].isin(quality.loc[quality["failed"].notna(), "scan"])]


def _companions(
    table: pd.DataFrame, excluded: pd.DataFrame, listed: pd.DataFrame, outputs: dict[str, Path], seed: int
) -> None:
    if "dictionary" in outputs:
        columns = [*table.columns, *(tables.adjusted(table).columns if "adjusted" in outputs else [])]
        write_json(outputs["dictionary"], describe(list(dict.fromkeys(map(str, columns)))))
    if "excluded" in outputs:
        write_tsv(outputs["excluded"], excluded)
    if "outliers" in outputs:
        write_tsv(outputs["outliers"], listed)
    if "openbhb" in outputs:
        exports.write_csv(outputs["openbhb"], exports.openbhb(table))
    if "enigma" in outputs:
        for name, data in exports.enigma(table).items():
            exports.write_csv(outputs["enigma"] / f"{name}.csv", data)
    if "reliability" in outputs:
        write_tsv(outputs["reliability"], reliability(table, seed), "%.5g")
    if "adjusted" in outputs:
        write_tsv(outputs["adjusted"], tables.adjusted(table))


def _site(table: pd.DataFrame, index: pd.DataFrame) -> pd.Series | None:
    """Site of each row of `table`, if the index has a column ``site``."""
    if "site" not in index:
        return None
    return table["scan"].map(index.drop_duplicates("scan").set_index("scan")["site"])


def _mark(table: pd.DataFrame, listed: pd.DataFrame) -> pd.DataFrame:
    """Put the outlying measures into ``flags`` and their number into ``n_outliers``."""
    counts = listed.groupby("scan").size()
    names = listed.groupby("scan")["measure"].agg(lambda m: ";".join("outlier:" + m))
    flags = table["flags"].fillna("").astype(str)
    more = table["scan"].map(names).fillna("").astype(str)
    both = flags.where((flags == "") | (more == ""), flags + ";") + more
    return table.drop(columns="flags").assign(n_outliers=table["scan"].map(counts).fillna(0).astype(int), flags=both)
