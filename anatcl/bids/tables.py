"""Tables of users, in any encoding, line ending and delimiter that can be recognised; and the workflow's own."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import re
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.pointers import refuse_pointer
from anatcl.base.words import plural

MISSING = frozenset({"", "n/a", "N/A", "NA", "#N/A", "NaN", "nan", "NAN", "null", "NULL"})
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
SAVE = "Save it as a UTF-8 text file with columns separated by tabs."


@dataclasses.dataclass
class Table:
    """A table as text: missing cells are empty, and every row has every column."""

    file: Path
    columns: list[str]
    rows: list[dict[str, str]]
    warnings: list[str] = dataclasses.field(default_factory=list)


def read_table(path: Path) -> Table:
    """Read a table of participants or sessions.

    Raises
    ------
    InputError
        It is not a text table, a column name occurs twice, or a row has more cells than the header.
    """
    warnings: list[str] = []
    text = _text(path, warnings)
    lines = re.split(r"\r\n|\n|\r", text)  # not splitlines(): a stray form feed is no line end
    head = next((line for line in lines if line.strip()), "")
    if not head:
        raise InputError("the table is empty.", path, "Remove it, or write a header line and one row per participant.")
    delimiter = max(DELIMITERS, key=head.count) if "\t" not in head else "\t"
    if delimiter != "\t" and delimiter in head:
        warnings.append(f"its columns are separated by {DELIMITERS[delimiter]}, not tabs; it was read anyway.")
    rows = _rows(path, lines, delimiter)
    columns = _columns(path, [" ".join(name.split()) for name in rows[0][1]])
    table = Table(path, [name for name in columns if name], [], warnings)
    for number, cells in rows[1:]:
        if delimiter == ";":  # written where the comma marks decimals
            cells = [re.sub(r"^(-?\d+),(\d+)$", r"\1.\2", cell) for cell in cells]
        table.rows.append(_row(path, number, columns, cells))
    return table


def _text(path: Path, warnings: list[str]) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"the table cannot be read ({error.strerror}).", path, "Give read permission.") from error
    refuse_pointer(path, raw[:512], len(raw))
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        encoding = "latin-1"
    if encoding != "utf-8-sig":
        warnings.append(f"it is not UTF-8; it was read as {encoding}.")
    if "\0" in text:
        raise InputError("the table is not a text file (it has NUL bytes).", path, SAVE)
    return text


def _rows(path: Path, lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Split lines into stripped cells, with the number of each line; quotes count only where they are balanced."""
    try:
        found = _split(lines, delimiter, csv.QUOTE_MINIMAL)
        if any("\n" in cell for _, cells in found for cell in cells):  # a stray quote swallowed some lines
            raise csv.Error
    except csv.Error:
        try:
            found = _split(lines, delimiter, csv.QUOTE_NONE)
        except csv.Error as error:
            raise InputError(f"the table cannot be read ({error}).", path, SAVE) from error
    return [(number, cells) for number, cells in found if any(cells)]


def _split(lines: list[str], delimiter: str, quoting: int) -> list[tuple[int, list[str]]]:
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]


def _columns(path: Path, names: list[str]) -> list[str]:
    while names and not names[-1]:
        names = names[:-1]
    if not all(names):
        raise InputError(f"column {names.index('') + 1} of the table has no name.", path, "Name it or remove it.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"column {', '.join(twice)} occurs twice in the table.", path, "Rename or remove one.")
    return names


def _row(path: Path, number: int, columns: list[str], cells: list[str]) -> dict[str, str]:
    if any(cells[len(columns) :]):
        reason = f"line {number} has {plural(len(cells), 'cell')} where the header has {len(columns)}."
        raise InputError(reason, path, "Correct that line: is there a tab inside a text, or is a column name missing?")
    cells = cells + [""] * (len(columns) - len(cells))
    pairs = zip(columns, cells[: len(columns)], strict=True)
    return {name: "" if cell in MISSING else " ".join(cell.split()) for name, cell in pairs}


def from_texts(rows: list[dict[str, str]], columns: list[str]) -> pd.DataFrame:
    """Make a table of texts in which what is missing is None."""
    cells = {name: [row.get(name) or None for row in rows] for name in columns}
    return pd.DataFrame(cells, columns=columns, dtype=object)


def as_text(table: pd.DataFrame) -> str:
    """Return a table of texts as BIDS writes it."""
    return table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of texts with numbers as numbers, as `anatcl.base.files.read_tsv` would read it."""
    texts = {name: str for name in table.columns if name == "scan" or name.endswith("_id")}
    stream = io.StringIO(as_text(table))
    return pd.read_csv(stream, sep="\t", na_values=["n/a", ""], keep_default_na=False, dtype=texts)
