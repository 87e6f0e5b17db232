"""One self-contained HTML page: everything a lab or a reviewer wants to see of a run."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl import __version__
from anatcl.report.drawing import anatomy, classes, figures, held, interpretation
from anatcl.report.page import cohort, facts, markdown, notes, shared
from anatcl.report.records import checklist, provenance, results
from anatcl.report.records.results import Sources
from anatcl.report.tables import subgroups
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.build import build_table
from anatcl.report.tables.headline import headlines
from anatcl.report.tables.verdict import verdict

# Columns of the scans table that embedding maps are coloured by, where they exist.
COLOURS = ("age", "site", "diagnosis", "sex")
# Files of a table and their types.
KINDS = {"csv": "text/csv", "md": "text/markdown", "tex": "text/x-tex"}
Histories = dict[int, pd.DataFrame]
AGE_COLUMNS = {"scan", "y_true", "y_pred"}


def write_page(
    sources: Sources, out: str | Path, title: str, gallery_limit: int = 200, anonymous: bool = False
) -> None:
    """Write the report and, for a large cohort, gallery pages beside it.

    Parameters
    ----------
    sources : Sources
        Where the parts come from.
    out : path
        The page; gallery pages are named ``{stem}-gallery-001.html`` and so on, unless the cohort has a page of its
        own, which has them.
    title : str
        Title of the page.
    gallery_limit : int
        Largest number of scans whose pictures all stand in the page.
    anonymous : bool
        The sources name nobody (`anatcl.report.records.anonymous`): the page says so, and shows no configuration.
    """
    out = Path(out)
    measures, scans = results.table(sources.measures), results.table(sources.scans)
    excluded = results.table(sources.excluded)
    names = sorted({str(scan) for table in (scans, measures) if "scan" in table for scan in table["scan"]})
    quality, left = shared.quality_context(sources, names, measures, excluded, gallery_limit)
    if left and not sources.cohort_page:
        quality["qc_pages"] = shared.write_gallery_pages(sources, left, measures, excluded, out, title)
    context = {
        "title": title,
        "facts": facts.facts(sources, len(scans), excluded, facts.of_run(sources)),
        "version": __version__,
        **quality,
        "qc_home": link(sources.cohort_page, out),
        **results_context(sources),
        **people_context(sources, scans),
        "interpretations": interpretation.interpretations(sources.interpretation),
        "anatomy": anatomy.maps(measures, scans, results.table(sources.reliability)),
        **record_context(sources),
        "anonymous": anonymous,
    }
    context |= {"config": ""} if anonymous else {}
    shared.render(out, "index.html", context | {"sprite": shared.outlines(context)})


def link(target: results.PathLike, out: Path) -> str:
    """Address of a file relative to a page; empty where there is no such file."""
    there = target is not None and Path(target).is_file()
    return Path(os.path.relpath(str(target), out.parent)).as_posix() if there else ""


def results_context(sources: Sources) -> dict[str, Any]:
    """Tables, forest plots and headlines."""
    scores = results.scores(sources.benchmark)
    groups = []
    for group in words.GROUPS if len(scores) else ():
        table = build_table(scores, group)
        if table.rows:
            groups.append({"table": table, "forests": figures.forests(table), "files": table_files(sources, group)})
    best = headlines(scores)
    run = {method for headline in best for method, _ in headline.rows}
    return {
        "groups": groups,
        "headlines": best,
        "verdict": verdict(best, results.beside(sources.evaluate, "comparisons.tsv")),
        "baselines": [name for name in words.BASELINES if name in run],
        "skipped": results.skipped(sources.evaluate),
        "audit": results.records(alike(results.beside(sources.evaluate, "audit.tsv"))),
        "confounds": results.records(results.beside(sources.evaluate, "confounds.tsv")),
        "added": results.records(results.beside(sources.evaluate, "added.tsv")),
        "decoded": held.decoded(sources.decoded),
        "shaken": held.shaken(sources.perturbed),
        "classes": classes.classes(results.predictions(sources.evaluate)),
        "checklist": checklist.checklist(checklist.run_of(sources)),
        "subgroups": subgroups.tables(results.beside(sources.evaluate, "subgroups.tsv")),
    }


def alike(audit: pd.DataFrame) -> pd.DataFrame:
    """The audit with one row for the encoders of a method that differ in nothing but their number: ``0, 1, 2``."""
    if "encoder" not in audit:
        return audit
    same = [column for column in audit if column != "encoder"]
    groups = audit.astype({"encoder": str}).groupby(same, sort=False, dropna=False)
    return groups["encoder"].agg(", ".join).reset_index()


def table_files(sources: Sources, group: str) -> dict[str, str]:
    """A table's files as data URIs by name, so that they travel with the page."""
    if sources.tables is None:
        return {}
    files = [Path(sources.tables) / f"{group}.{kind}" for kind in KINDS]
    return {path.name: embedded(path) for path in files if path.is_file()}


def embedded(path: Path) -> str:
    """A text file as a data URI."""
    kind = KINDS.get(path.suffix.removeprefix("."), "text/plain")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def people_context(sources: Sources, scans: pd.DataFrame) -> dict[str, Any]:
    """Cohort, brain age, embedding maps."""
    scores = results.scores(sources.benchmark)
    return {
        "cohort": cohort.describe(scans),
        "brain_age": brain_age_figures(scores, results.predictions(sources.evaluate)),
        "maps": embedding_figures(results.embeddings(sources.evaluate), scans),
    }


def brain_age_figures(scores: pd.DataFrame, predictions: dict[tuple[str, str], pd.DataFrame]) -> list[figures.Drawn]:
    """One scatter per method for each brain-age task with predictions, all on the same axes."""
    table = build_table(scores, "brain_age") if len(scores) else None
    if table is None or not table.rows:
        return []
    rows = [row for row in table.rows if row.protocol == table.protocols[0]]
    pairs = [(row, task) for task in table.tasks for row in rows]
    points = {(row.method, task): predictions.get((row.method, task), pd.DataFrame()) for row, task in pairs}
    points = {pair: results.by_scan(found) for pair, found in points.items() if set(found) >= AGE_COLUMNS}
    bounds, drawn = figures.age_bounds(points.values()), []
    for row, task in pairs:
        if (row.method, task) in points:
            title = row.label if len(table.tasks) == 1 else f"{row.label}, {task}"
            errors = [
                c for at, c in zip(table.columns, row.cells, strict=True) if (at.task, at.metric) == (task, "mae")
            ]
            note = f"MAE {errors[0].text} years" if errors and errors[0] else ""
            drawn.append(figures.brain_age(points[row.method, task], bounds, title, note))
    return drawn


def embedding_figures(embeddings: dict[str, results.Embedding], scans: pd.DataFrame) -> list[dict[str, Any]]:
    """For each colouring: its legend and one map per method."""
    planes = {name: figures.embedding_plane(embeddings[name]) for name in words.order_methods(embeddings)}
    found = []
    for column in (name for name in COLOURS if name in scans and scans[name].notna().any()):
        colours = figures.colouring(scans.set_index("scan")[column])
        drawn = [figures.embedding_map(plane, colours, words.method_label(name)) for name, plane in planes.items()]
        if drawn:
            found.append({"column": column, "legend": colours.legend, "drawn": drawn})
    return found


def drawn_of(
    draw: Callable[[Histories, str], figures.Drawn | None], histories: Mapping[str, Histories]
) -> list[figures.Drawn]:
    """A drawing for each method by label whose histories have what it shows."""
    drawn = (draw(folds, label) for label, folds in histories.items())
    return [one for one in drawn if one]


def record_context(sources: Sources) -> dict[str, Any]:
    """Training, exclusions, runtime, provenance, methods."""
    histories = results.histories(sources.pretrain)
    ordered = {words.method_label(m): histories[m] for m in words.order_methods(histories)}
    records = results.run_records(sources.pretrain, sources.evaluate)
    return {
        "perplexities": results.perplexities(sources.pretrain).to_dict("records"),
        "curves": drawn_of(figures.learning_curves, ordered),
        "probes": drawn_of(figures.probe_curves, ordered),
        "excluded": results.records(results.table(sources.excluded)),
        "notes": notes.grouped(results.table(sources.notes)),
        "runtime": results.table(sources.runtime).to_dict("records"),
        "methods": markdown.to_html(results.text(sources.methods)),
        "config": results.text(sources.config),
        "provenance": provenance.describe(records),
    }
