"""Tables of regional measures of other programs, with this workflow's column names.

FreeSurfer's ``aparcstats2table`` and ``asegstats2table``, ENIGMA's CSV files, OpenBHB's ROI tables (CSV, or the folder
of its ``_ROI.npy`` files), and any table with a column of identifiers. Columns are told by their names, so that files
that were joined, cut or renamed by hand are read as well.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.pointers import refuse_pointer
from anatcl.base.words import nearest
from anatcl.measures.exports import OPENBHB, SUBCORTICAL
from anatcl.measures.freesurfer import CEREBRAL, GREY, MIDDLE, STRUCTURES, TIV, WHITE
from anatcl.measures.openbhb import roi_table
from anatcl.spec.openbhb import SUFFIX

# First cell of a table by FreeSurfer's programs: hemisphere, parcellation and measure; or the measure alone.
FREESURFER = re.compile(r"([lr]h)\.(.+)\.([a-z]+)|Measure:(\w+)", re.IGNORECASE)
CURVATURES = ("meancurv", "gauscurv", "foldind", "curvind")
CORTEX = re.compile(rf"([lr]h)_(.+)_(thickness|thicknessstd|area|volume|{'|'.join(CURVATURES)})", re.IGNORECASE)
WHOLE = re.compile(r"(MeanThickness|WhiteSurfArea|PialSurfArea|NumVert)", re.IGNORECASE)
ENIGMA = re.compile(r"([LR])_(.+)_(thickavg|surfavg)", re.IGNORECASE)
ENIGMA_DEEP = re.compile(rf"([LR])({'|'.join(SUBCORTICAL)})", re.IGNORECASE)
OPENBHB_COLUMN = re.compile(rf"([lr]h)_(.+)_({'|'.join(OPENBHB.values())})", re.IGNORECASE)
SIDED = re.compile(r"(Left|Right)-(.+)")
OURS = re.compile(r"(thickness|thicknessstd|volume|area|meancurv|gauscurv|curvind)_([lr]h_)?.+|(tiv|gm|wm|csf)_mm3")
IDENTIFIERS = (
    "participantid", "subjid", "subjectid", "subjectkey", "subject", "subjects", "subid", "sub", "fileid", "scanid",
    "eid", "ptid", "oasisid", "id",
)  # fmt: skip
SESSIONS = ("sessionid", "session", "ses", "visit", "timepoint")
MISSING = ("", "n/a", "NA", "N/A", "NaN", "nan", ".", "#N/A", "null")


@dataclasses.dataclass(frozen=True)
class RoiTable:
    """One table of features as it was found.

    Attributes
    ----------
    file : Path
        Where it lies.
    identifiers : ndarray of str, shape (n,)
        Names of its rows as they stand there.
    sessions : ndarray of str, shape (n,)
        Sessions of its rows; empty where it has none.
    values : DataFrame of n rows
        Columns of numbers, under our names where they are known.
    anatomical : bool
        Whether most columns are known regional measures.
    """

    file: Path
    identifiers: np.ndarray
    sessions: np.ndarray
    values: pd.DataFrame
    anatomical: bool


def read_roi_table(path: str | Path, id_column: str = "") -> RoiTable:
    """Read one table of features.

    Parameters
    ----------
    path : path
        File, or the folder of OpenBHB's ``_ROI.npy`` files.
    id_column : str
        Column of identifiers; by default the first cell of FreeSurfer's tables, a usual name, or a nameless column.

    Raises
    ------
    InputError
        No such file, no identifiers, a row that stands there twice, or no numbers.
    """
    path = Path(path)
    table, column = (_openbhb_folder(path), "participant_id") if path.is_dir() else _read(path, id_column)
    session = next((c for c in table.columns if plain(c) in SESSIONS and c != column), None)
    table = table[table[column].notna()].reset_index(drop=True)
    names = table[column].astype(str).str.strip().to_numpy(str)
    sessions = table[session].fillna("").astype(str).to_numpy(str) if session else np.full(len(names), "", dtype="U1")
    _once(names, sessions, path)
    numbers = table.drop(columns=[c for c in (column, session) if c]).apply(pd.to_numeric, errors="coerce")
    text = set(table.columns[table.notna().any()]) - set(numbers.columns[numbers.notna().any()])
    values = numbers.drop(columns=[c for c in numbers if c in text or numbers[c].isna().all()])
    if values.empty or not len(values.columns):
        raise InputError("the table has no numeric column.", path, "Give a table of features, a row per participant.")
    renamed = our_columns(values, path)
    known = sum(bool(OURS.fullmatch(str(c)) or SIDED.fullmatch(str(c))) for c in renamed)
    return RoiTable(path, names, sessions, renamed, 2 * known > len(renamed.columns))


def plain(name: object) -> str:
    """A column's name without case and signs."""
    return re.sub(r"[\W_]", "", str(name)).casefold()


def _read(path: Path, id_column: str) -> tuple[pd.DataFrame, str]:
    """The table with its identifiers as text, and their column."""
    table = read_text_table(path)
    if _lies_across(table):
        table = table.set_index(table.columns[0]).T.reset_index(names=table.columns[0])
    first = FREESURFER.fullmatch(str(table.columns[0]))
    if first and first[4] and first[4].lower() != "volume":  # asegstats2table --meas mean and the like
        table = table.set_axis([table.columns[0], *(f"{first[4]}_{c}" for c in table.columns[1:])], axis=1)
    return table, identifier_column(table, path, id_column)


def read_text_table(path: str | Path) -> pd.DataFrame:
    """Read a table of text whose columns are parted by tabs, commas, semicolons or blanks; what is missing is NaN."""
    path = Path(path)
    if not path.is_file():
        raise InputError("there is no such file.", path, "Correct the path.")
    raw = path.read_bytes()
    refuse_pointer(path, raw[:512], len(raw))
    text = raw.decode("utf-8-sig", "replace")
    first = text.split("\n", 1)[0].strip()
    if not first:
        raise InputError("the table is empty.", path, "Give a table with a line of column names.")
    counts = {mark: len(next(csv.reader([first], delimiter=mark))) for mark in "\t,; "}
    separator = max(counts, key=lambda mark: counts[mark])
    try:
        return pd.read_csv(
            path, sep=r"\s+" if separator == " " else separator, dtype=str, encoding="utf-8-sig",
            na_values=list(MISSING), keep_default_na=False, skipinitialspace=True, index_col=False,
        )  # fmt: skip
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = f"the table cannot be read ({' '.join(str(error).split())})."
        raise InputError(reason, path, "Save it as UTF-8, with as many cells in each row as columns.") from error


def _lies_across(table: pd.DataFrame) -> bool:
    """Whether people stand in columns, as with FreeSurfer's option --transpose."""
    if not FREESURFER.fullmatch(str(table.columns[0])):
        return False
    of_rows = sum(_is_measure(str(v)) for v in table.iloc[:, 0])
    return of_rows > sum(_is_measure(str(c)) for c in table.columns[1:])


def _is_measure(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (CORTEX, SIDED)) or name in TIV


def identifier_column(table: pd.DataFrame, path: str | Path, wanted: str = "") -> str:
    """The column that names the rows; see `read_roi_table`."""
    columns = [str(c) for c in table.columns]
    if wanted:
        if wanted not in columns:
            raise InputError(f"there is no column {wanted!r}.", path, nearest(wanted, columns))
        return wanted
    if FREESURFER.fullmatch(columns[0]) or columns[0].startswith("Unnamed:"):
        return columns[0]
    by_name = {plain(c): c for c in reversed(columns)}
    found = next((by_name[name] for name in IDENTIFIERS if name in by_name), "")
    if not found:
        listed = ", ".join(columns[:8]) + (" ..." if len(columns) > 8 else "")
        raise InputError(
            f"no column of participants' identifiers was found (there: {listed}).",
            path,
            "Name it with --id-column, or call it id.",
        )
    return found


def _once(names: np.ndarray, sessions: np.ndarray, path: Path) -> None:
    twice = pd.DataFrame({"name": names, "session": sessions}).duplicated()
    if twice.any():
        raise InputError(
            f"{names[twice.to_numpy().argmax()]} occurs in the table more than once.",
            path,
            "Keep one row of each, or add a column session_id that tells them apart.",
        )


def _openbhb_folder(folder: Path) -> pd.DataFrame:
    """OpenBHB's desikan ``_ROI.npy`` files, any depth."""
    files = sorted(folder.rglob(f"sub-*{SUFFIX['desikan']}"))
    if not files:
        raise InputError(f"no sub-*{SUFFIX['desikan']} below the folder.", folder, "Give a table instead.")
    return roi_table(files).drop(columns=["scan", "session_id"])


def our_columns(values: pd.DataFrame, path: str | Path = "") -> pd.DataFrame:
    """The table with our names of columns, and grey and white matter of the whole brain where the parts are there.

    Raises
    ------
    InputError
        Two columns are the same measure.
    """
    names = [our_name(str(c)) for c in values.columns]
    twice = sorted({n for n in names if names.count(n) > 1 and n not in TIV and n != "tiv_mm3"})
    if twice:
        same = [str(c) for c, n in zip(values.columns, names, strict=True) if n == twice[0]]
        raise InputError(f"the columns {' and '.join(same)} are the same measure.", path, "Keep one of them.")
    made = values.set_axis(names, axis=1)
    made = made.loc[:, ~made.columns.duplicated()]
    for name, parts in (("gm_mm3", GREY), ("wm_mm3", CEREBRAL)):
        total = _total(values, parts)
        if name == "wm_mm3" and set(WHITE) <= set(values.columns):
            total = None if total is None else total + values[list(WHITE)].sum(axis=1, skipna=False)
        elif name == "wm_mm3":
            total = None
        if total is not None and name not in made:
            made[name] = total
    return made.copy()


def _total(values: pd.DataFrame, names: Sequence[str]) -> pd.Series | None:
    """A measure of the whole brain by the first of its names that is there, or the sum of both sides'."""
    for name in names:
        if name in values:
            return values[name]
        if {f"lh{name}", f"rh{name}"} <= set(values.columns):
            return values[f"lh{name}"] + values[f"rh{name}"]
    return None


def our_name(column: str) -> str:
    """Our name of a column: ``thickness_lh_bankssts``, ``volume_lh_hippocampus``, ``tiv_mm3``; its own if unknown."""
    if column in TIV:
        return "tiv_mm3"
    for pattern, name in PATTERNS:
        if match := pattern.fullmatch(column):
            return name(match) or column
    return f"volume_{MIDDLE[column]}" if column in MIDDLE else column


def _cortical(match: re.Match[str]) -> str:
    side, region, measure = match[1].lower(), match[2], match[3].lower()
    if WHOLE.fullmatch(region):
        return f"{region.lower()}_{side}"
    return f"{measure}_{side}_{region}"


def _structure(match: re.Match[str]) -> str:
    name = STRUCTURES.get(match[2])
    return f"volume_{match[1][0].lower()}h_{name}" if name else ""


FROM_ENIGMA = {"thickavg": "thickness", "surfavg": "area"}
FROM_OPENBHB = {word: measure for measure, word in OPENBHB.items()}
DEEP = {word.casefold(): name for word, name in SUBCORTICAL.items()}
PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (CORTEX, _cortical),
    (OPENBHB_COLUMN, lambda m: f"{FROM_OPENBHB[m[3].lower()]}_{m[1].lower()}_{m[2]}"),
    (ENIGMA, lambda m: f"{FROM_ENIGMA[m[3].lower()]}_{m[1].lower()}h_{m[2]}"),
    (ENIGMA_DEEP, lambda m: f"volume_{m[1].lower()}h_{DEEP[m[2].casefold()]}"),
    (SIDED, _structure),
)
