"""Benchmark tables: from long scores to tables in the layout of a paper.

A cell reads ``value [low, high]``. A value is bold, or carries a dagger, only where a test says so (`marks`): the
largest of twelve numbers is not a finding.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_text, write_tsv
from anatcl.base.words import does
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.formats import to_csv, to_markdown, to_tex
from anatcl.report.tables.marks import mark
from anatcl.report.tables.table import Cell, Column, Row, Table

REQUIRED = ("method", "task", "metric", "value")
DEFAULTS: dict[str, str | float] = {
    "protocol": "cross-validation",
    "low": float("nan"),
    "high": float("nan"),
    "seed_sd": float("nan"),
    "n": float("nan"),
    "flags": "",
    "marks": "",
    "group": "",
    "kind": "",
}
# Tables that exist in every run, so that a workflow can name them before it knows the tasks.
ALWAYS = ("brain_age", "diagnosis", "clinical_scores", "site", "sex")
SIZES = {
    "n": "scans",
    "n_participants": "participants",
    "n_sites": "sites",
    "folds": "folds",
    "n_dropped": "left out",
}
FORMATS = {"md": to_markdown, "tex": to_tex, "csv": to_csv}


def load_scores(path: str | Path) -> pd.DataFrame:
    """Read a long table of scores and fill in the columns it may lack.

    Parameters
    ----------
    path : str or Path
        ``scores.tsv`` or ``benchmark.tsv``; columns `REQUIRED` must be there.

    Returns
    -------
    DataFrame
        Sorted by group, task, protocol, method and metric.
    """
    table = read_tsv(path)
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise InputError(
            f"The table lacks the {does(len(missing), 'column', 'columns')} {', '.join(missing)}.",
            path,
            "Run `evaluate` again.",
        )
    for name, default in DEFAULTS.items():
        if name not in table:
            table[name] = default
        elif isinstance(default, str):
            table[name] = table[name].fillna(default).astype(str)
    regressions = set(table.loc[table["metric"].str.lower().isin(("mae", "r2", "rmse")), "task"]) | set(
        table.loc[table["kind"] == "regression", "task"]
    )
    kinds = table["task"].map(lambda task: "regression" if task in regressions else "classification")
    empty = ~table["group"].isin(words.GROUPS)
    guessed = [words.group_of(task, kind) for task, kind in zip(table["task"], kinds, strict=True)]
    table["group"] = table["group"].where(~empty, pd.Series(guessed, index=table.index, dtype=object))
    return _sorted(table)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    groups = {name: index for index, name in enumerate(words.GROUPS)}
    methods = {name: index for index, name in enumerate(words.order_methods(table["method"]))}
    metrics = {name: index for index, name in enumerate(words.order_metrics(table["metric"]))}
    keys = pd.DataFrame(
        {
            "group": table["group"].map(groups),
            "task": table["task"],
            # What is named a control comes after what it controls.
            "control": table["protocol"].map(is_control),
            "protocol": table["protocol"],
            "method": table["method"].map(methods),
            "metric": table["metric"].map(metrics),
        }
    )
    return table.loc[keys.sort_values(keys.columns.tolist(), kind="stable").index].reset_index(drop=True)


def is_control(protocol: str) -> bool:
    """Whether a protocol is there to show what chance looks like."""
    return any(word in protocol.lower() for word in ("shuffl", "permut", "control"))


def build_table(scores: pd.DataFrame, group: str, main_only: bool = False) -> Table:
    """Arrange the scores of one group.

    Parameters
    ----------
    scores : DataFrame
        From `load_scores`.
    group : str
        Key of `vocabulary.GROUPS`.
    main_only : bool
        Leave out metrics that are too many for a printed table.
    """
    part = scores[scores["group"] == group]
    if main_only:
        part = part[part["metric"].map(lambda name: words.metric_of(name).main).astype(bool)]
    columns = tuple(
        Column(str(task), metric)
        for task, rows in part.groupby("task", sort=False)
        for metric in words.order_metrics(rows["metric"])
    )
    rows = tuple(_row(method, protocol, rows, columns) for protocol, method, rows in _by_row(part))
    sizes = {str(task): size_text(rows) for task, rows in part.groupby("task", sort=False)}
    flags = {str(task): flag_lines(rows) for task, rows in part.groupby("task", sort=False)}
    return Table(group, words.GROUPS[group], columns, rows, sizes, flags)


def _by_row(part: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    protocols = sorted(part["protocol"].unique(), key=lambda name: (is_control(name), name))
    found = []
    for protocol in protocols:
        inside = part[part["protocol"] == protocol]
        for method in words.order_methods(inside["method"]):
            found.append((protocol, method, inside[inside["method"] == method]))
    return found


def _row(method: str, protocol: str, rows: pd.DataFrame, columns: tuple[Column, ...]) -> Row:
    cells = {Column(row["task"], row["metric"]): _cell(row) for _, row in rows.iterrows()}
    return Row(method, protocol, tuple(cells.get(column) for column in columns))


def _cell(row: pd.Series) -> Cell:
    decimals, marks = words.metric_of(row["metric"]).decimals, str(row["marks"]).split()
    value, low, high, n, spread = (float(row[name]) for name in ("value", "low", "high", "n", "seed_sd"))
    return Cell(value, low, high, n, decimals, best="best" in marks, above="above" in marks, spread=spread)


def flag_lines(rows: pd.DataFrame) -> list[str]:
    """Warnings of the evaluation on one task; those that not all methods share say whose they are."""
    methods: dict[str, list[str]] = {}
    for method, text in rows[["method", "flags"]].drop_duplicates().itertuples(index=False):
        for flag in filter(None, (part.strip() for part in str(text).split(";"))):
            methods.setdefault(flag, []).append(str(method))
    everybody = rows["method"].nunique()
    lines = []
    for flag, named in methods.items():
        whose = ", ".join(words.method_label(name) for name in words.order_methods(named))
        lines.append(flag if len(set(named)) == everybody else f"{flag} ({whose})")
    return lines


def size_text(rows: pd.DataFrame) -> str:
    """Numbers of scans, participants, sites and folds behind some scores; ranges where methods differ."""
    found = []
    for column, noun in SIZES.items():
        values = pd.to_numeric(rows[column], errors="coerce").dropna() if column in rows else pd.Series(dtype=float)
        if len(values) == 0:
            continue
        low, high = int(values.min()), int(values.max())
        count = f"{low}" if low == high else f"{low}–{high}"
        if high > 0 or column == "n":
            found.append(f"{count} {noun[:-1] if low == high == 1 and noun.endswith('s') else noun}")
    return ", ".join(found)


def write_tables(
    scores_path: str | Path, benchmark_path: str | Path, out_dir: str | Path, comparisons: str | Path | None = None
) -> None:
    """Write the long benchmark table and one wide table per group in Markdown, TeX and CSV.

    Parameters
    ----------
    scores_path : str or Path
        ``results/evaluate/scores.tsv``.
    benchmark_path : str or Path
        Where the long table goes.
    out_dir : str or Path
        Folder of ``{group}.{md,tex,csv}``. The groups in `ALWAYS` are written even when no task belongs to them.
    comparisons : path, optional
        Paired tests between methods; without them nothing is marked.
    """
    scores = load_scores(scores_path)
    if comparisons is not None:
        scores["marks"] = mark(scores, read_tsv(comparisons))
    write_tsv(benchmark_path, scores)
    for group in words.GROUPS:
        full, main = build_table(scores, group), build_table(scores, group, main_only=True)
        for suffix, write in FORMATS.items():
            path = Path(out_dir) / f"{group}.{suffix}"
            if full.rows or group in ALWAYS:
                write_text(path, write(full if suffix == "csv" else main))
            else:
                path.unlink(missing_ok=True)  # left by a run that had such tasks
