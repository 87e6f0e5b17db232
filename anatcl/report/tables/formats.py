"""The same wide table as Markdown, TeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anatcl.report.tables.table import Cell, Table

EMPTY = "No task of this group was evaluated in this run."
LEGEND = (
    "Cells: value [95 % interval]. Bold: best, and better than every other method; †: better than every baseline "
    "(paired test over participants, Holm-corrected p < .05). {sizes}"
)
SPREAD = "SD: over a method's encoders (seeds, or folds of others), whose scores are averaged. "
TEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→0": r"$\to 0$",
    "²": "$^2$",
    "†": r"$^\dagger$",
}


def tex(text: str) -> str:
    """Text with every character that TeX would read as a command made plain."""
    text = text.replace("→0", "→")
    return "".join(r"$\to 0$" if sign == "→" else TEX_SIGNS.get(sign, sign) for sign in text)


def markdown(text: str) -> str:
    """Text that cannot break a Markdown table or start emphasis."""
    return "".join("\\" + sign if sign in r"\|*_`<>" else sign for sign in text)


def _heads(table: Table) -> list[str]:
    """Column heads: the task is named only where a table holds more than one."""
    several = len(table.tasks) > 1
    return [
        f"{f'{column.task}: ' if several else ''}{column.shown.label} {column.shown.arrow}".strip()
        for column in table.columns
    ]


def _legend(table: Table) -> str:
    sizes = [f"{task}: {size}." for task, size in table.sizes.items() if size]
    warnings = [f"{task}: {line}." for task, lines in table.flags.items() for line in lines]
    several = any(cell.spread_text for row in table.rows for cell in row.cells if cell)
    return LEGEND.format(sizes=(SPREAD if several else "") + " ".join(sizes + warnings)).strip()


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = f"**{markdown(cell.text)}**" if cell.best else markdown(cell.text)
    return " ".join(filter(None, (text, "†" if cell.above else "", cell.spread_text)))


def to_markdown(table: Table) -> str:
    """One Markdown table per protocol under one heading."""
    lines = [f"# {table.title}", ""]
    if not table.rows:
        return "\n".join([*lines, EMPTY, ""])
    for protocol in table.protocols:
        lines += [f"Protocol: {markdown(protocol)}", ""]
        lines.append("| Method | " + " | ".join(markdown(head) for head in _heads(table)) + " |")
        lines.append("|:--|" + "--:|" * len(table.columns))
        for row in table.rows:
            if row.protocol == protocol:
                cells = " | ".join(_markdown_cell(cell) for cell in row.cells)
                lines.append(f"| {markdown(row.label)} | {cells} |")
        lines.append("")
    return "\n".join([*lines, _legend(table), ""])


def _tex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = rf"\textbf{{{tex(cell.text)}}}" if cell.best else tex(cell.text)
    return (f"{text}{tex('†')}" if cell.above else text) + (f" {cell.spread_text}" if cell.spread_text else "")


def _tex_rows(table: Table) -> Iterator[str]:
    for protocol in table.protocols:
        yield r"\midrule"
        if len(table.protocols) > 1:
            yield rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\emph{{{tex(protocol)}}}}} \\"
        below = False
        for row in (row for row in table.rows if row.protocol == protocol):
            if row.is_baseline and not below:
                yield r"\addlinespace"
                below = True
            yield f"{tex(row.label)} & " + " & ".join(_tex_cell(cell) for cell in row.cells) + r" \\"


def _tex_task_line(table: Table) -> Iterator[str]:
    """A head of task names over their metrics, with a rule under each."""
    start, spans, rules = 2, [], []
    for task in table.tasks:
        width = sum(column.task == task for column in table.columns)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{tex(task)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    yield " & " + " & ".join(spans) + r" \\"
    yield " ".join(rules)


def to_tex(table: Table) -> str:
    """A ``table`` environment that needs only the package booktabs."""
    if not table.rows:
        return f"% {table.title}: {EMPTY}\n"
    lines = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", r"\small"]
    lines.append(rf"\caption{{{tex(table.title)}. {tex(_legend(table))}}}")
    lines.append(rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}")
    lines.append(r"\toprule")
    lines += _tex_task_line(table)
    heads = [tex(f"{column.shown.label} {column.shown.arrow}".strip()) for column in table.columns]
    lines.append("Method & " + " & ".join(heads) + r" \\")
    lines += _tex_rows(table)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def to_csv(table: Table) -> str:
    """Plain numbers, one column each for value, interval, number of scans and SD over the method's encoders."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("value", "low", "high", "n", "seed_sd")
    heads = [f"{column.task}.{column.metric}.{part}" for column in table.columns for part in parts]
    writer.writerow(["protocol", "method", *heads])
    for row in table.rows:
        writer.writerow([row.protocol, row.method, *(number for cell in row.cells for number in _csv_cell(cell))])
    return text.getvalue()


def _csv_cell(cell: Cell | None) -> list[str]:
    if cell is None:
        return [""] * 5
    numbers = (cell.value, cell.low, cell.high, cell.n, cell.spread)
    return ["" if value != value else f"{value:.6g}" for value in numbers]
