"""A page about one run, for the docs: what ran on whom, tables, small figures, cost, and a plain reading.

Markdown with pictures beside it, made from a results folder alone, so that one command makes it again. No path of a
machine and no picture of a face gets into it: heads are shown inside the brain mask only.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import cohort_figures
import markdown_tables
import pandas as pd
import yaml

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, write_text
from anatcl.report.page.shared import duration
from anatcl.report.records import results
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.headline import Headline, headlines
from anatcl.spec.config import Config
from anatcl.spec.layout import STEPS

ALPHA = 0.05
# Keys that say where and how fast, not what: they differ between machines.
PRIVATE = ("bids_dir",)


@dataclasses.dataclass(frozen=True)
class About:
    """What a results folder does not know.

    Parameters
    ----------
    title : str
    attribution : str
        Whose data these are, under which licence.
    command : str
        What was typed.
    notes : str
        Markdown that stands at the end of the reading.
    machine : str
        Kind of machine, e.g. "two shared x86-64 cores".
    defaults : dict
        The configuration's defaults: only what differs from them is shown.
    """

    title: str
    attribution: str = ""
    command: str = ""
    notes: str = ""
    machine: str = ""
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """The tables of a results folder."""

    folder: Path
    scans: pd.DataFrame
    measures: pd.DataFrame
    quality: pd.DataFrame
    scores: pd.DataFrame
    comparisons: pd.DataFrame
    excluded: pd.DataFrame
    runtime: pd.DataFrame


def read_run(folder: str | Path) -> Run:
    """Read what a run left.

    Raises
    ------
    InputError
        There is no benchmark table: the run did not reach the report.
    """
    folder = Path(folder)
    if not (folder / "report" / "benchmark.tsv").is_file():
        raise InputError("there is no report/benchmark.tsv.", folder, "Give the results folder of a finished run.")
    table = results.table
    return Run(
        folder,
        table(folder / "bids" / "scans.tsv"),
        table(folder / "measures" / "measures.tsv"),
        table(folder / "preprocess" / "qc.tsv"),
        results.scores(folder / "report" / "benchmark.tsv"),
        table(folder / "evaluate" / "comparisons.tsv"),
        table(folder / "report" / "excluded.tsv"),
        table(folder / "report" / "runtime.tsv"),
    )


def write_cohort_page(folder: str | Path, out: str | Path, about: About) -> None:
    """Write the page and, in ``{stem}/`` beside it, its pictures."""
    run, out = read_run(folder), Path(out)
    pictures = out.with_suffix("")
    parts = [
        f"# {about.title}",
        _lede(run, about),
        "## Command, configuration, versions",
        what_ran(run, about),
        "## Results",
        tables(run),
        cohort_figures.results_figures(run.folder, run.scores, pictures),
        "## Interpretation",
        reading(run, about.notes),
        "## Images and measures",
        images(run, pictures),
        "## Cost",
        cost(run, about),
    ]
    write_text(out, "\n\n".join(part for part in parts if part).rstrip() + "\n")


def _lede(run: Run, about: About) -> str:
    people = run.scans["participant_id"].nunique()
    ages = pd.to_numeric(run.scans.get("age", pd.Series(dtype=float)), errors="coerce").dropna()
    lines = [f"{len(run.scans)} scans of {people} participants"]
    if len(ages):
        lines.append(f"{ages.min():.0f} to {ages.max():.0f} years (median {ages.median():.0f})")
    for name in ("sex", "site"):
        if name in run.scans:
            counts = run.scans[name].fillna("unknown").astype(str).value_counts()
            lines.append(f"{name} " + ", ".join(f"{value}: {count}" for value, count in counts.items()))
    return "; ".join(lines) + "." + (f"\n\n*Data: {about.attribution}*" if about.attribution else "")


def what_ran(run: Run, about: About) -> str:
    """Commands, configuration that differs from the default, seeds, versions, exclusions."""
    config = read_json(run.folder / "config.json")
    differs = difference(config, about.defaults)
    text = yaml.safe_dump({k: v for k, v in differs.items() if k not in PRIVATE}, sort_keys=False, allow_unicode=True)
    record = read_json(run.folder / "run.json") if (run.folder / "run.json").is_file() else {}
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    parts = [f"```sh\n{about.command}\n```" if about.command else ""]
    parts.append(f"Configuration, where it differs from the default:\n\n```yaml\n{text.strip() or '{}'}\n```")
    parts.append(f"Seed {config['seed']}, deterministic: {str(config['deterministic']).lower()}.")
    parts.append(f"Versions: {versions}." if versions else "")
    left = run.excluded["reason"].value_counts() if len(run.excluded) else pd.Series(dtype=int)
    named = "; ".join(f"{count} x {reason}" for reason, count in left.items())
    parts.append(f"Left out: {named}." if named else "No scan failed and none was left out.")
    return "\n\n".join(part for part in parts if part)


def difference(values: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Keys of a configuration whose values are not the default's."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        other = default.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            inner = difference(value, other)
            found |= {key: inner} if inner else {}
        elif value != other:
            found[key] = value
    return found


def tables(run: Run) -> str:
    """The benchmark tables of the groups that have rows, headings one level down."""
    found = []
    for group in words.GROUPS:
        file = run.folder / "report" / "tables" / f"{group}.md"
        text = results.text(file)
        if "|" in text:
            found.append(text.strip().replace("# ", "### ", 1))
    return "\n\n".join(found)


def reading(run: Run, notes: str = "") -> str:
    """What the tests say of each task, and what they cannot say."""
    lines = [_verdict(headline, run) for headline in headlines(run.scores)]
    people, sites = run.scans["participant_id"].nunique(), run.scans.get("site", pd.Series(["?"])).nunique()
    lines.append(
        f"- What n = {people} allows: an interval shows how the scores could differ with another {people} "
        "participants. A difference smaller than the intervals' width is not shown by this run, whichever method is "
        "first."
    )
    if sites == 1:
        lines.append("- One site: this run shows nothing about scanners, harmonisation or transfer to another site.")
    return "\n".join(lines) + (f"\n\n{notes.strip()}" if notes.strip() else "")


def _verdict(headline: Headline, run: Run) -> str:
    """One task in words: best trained method, baselines, and which differences survive correction."""
    shown = "; ".join(f"{words.method_label(method)} {cell.text}" for method, cell in headline.rows)
    tests = run.comparisons
    about = f"- **{headline.task}** ({headline.metric.label} {headline.metric.arrow}): {shown}."
    if tests.empty or not {"task", "protocol", "metric", "p_holm"} <= set(tests):
        return about
    mine = tests[(tests["task"] == headline.task) & (tests["protocol"] == headline.protocol)]
    mine = mine[mine["metric"] == headline.metric_name]
    names = set(run.scores.loc[run.scores["task"] == headline.task, "method"])
    trained = [name for name in words.order_methods(names) if name not in words.BASELINES]
    same, said = [], [about]
    for rival in (name for name in words.BASELINES if name in names):
        better, smallest = _different(mine, trained, rival)
        if better:
            said.append(f"Different from {words.method_label(rival).lower()}: {', '.join(better)}.")
        elif smallest is not None:
            same.append(f"{words.method_label(rival).lower()} (p = {smallest:.2g})")
    if same:
        said.append(f"No pretrained method differs from {', '.join(same)}; smallest p after Holm's correction.")
    return " ".join(said)


def _different(tests: pd.DataFrame, trained: list[str], rival: str) -> tuple[list[str], float | None]:
    """Trained methods that differ from one rival after Holm's correction, and the smallest corrected p."""
    forth = tests["method_a"].isin(trained) & (tests["method_b"] == rival)
    back = tests["method_b"].isin(trained) & (tests["method_a"] == rival)
    pairs = tests[forth | back]
    if pairs.empty:
        return [], None
    sure = pairs[pairs["p_holm"] < ALPHA]
    who = {a if b == rival else b for a, b in zip(sure["method_a"], sure["method_b"], strict=True)}
    return [words.method_label(name) for name in words.order_methods(who)], float(pairs["p_holm"].min())


def images(run: Run, pictures: Path) -> str:
    """Quality numbers over the cohort, effects of age, brain-masked pictures."""
    numbers = run.quality.select_dtypes("number").drop(columns="failed", errors="ignore")
    rows = [(str(name), *(f"{q:.4g}" for q in numbers[name].quantile([0.5, 0, 1]))) for name in numbers]
    table = markdown_tables.table(("number", "median", "lowest", "highest"), rows) if rows else ""
    head = "Image-quality metrics over the cohort ([what they mean](../stages/preprocess.md#quality-control)):"
    parts = [cohort_figures.brains(run.folder, run.scans, pictures), f"{head}\n\n{table}" if table else ""]
    parts.append(markdown_tables.age_effects(run.measures, run.scans))
    parts.append(cohort_figures.attributions(run.folder, pictures))
    return "\n\n".join(part for part in parts if part)


def cost(run: Run, about: About) -> str:
    """Time and memory by rule, and per scan."""
    if run.runtime.empty:
        return ""
    rows = [
        (r["rule"], str(int(r["jobs"])), duration(r["total_s"]), duration(r["median_s"]), duration(r["cpu_s"]), _mib(r))
        for r in run.runtime.to_dict("records")
    ]
    table = markdown_tables.table(("rule", "jobs", "total", "median", "processor time", "peak MiB"), rows)
    imaging = run.runtime[run.runtime["rule"].isin(list(STEPS))]
    scans = max(1, int(imaging["jobs"].max())) if len(imaging) else 1
    line = (
        f"Imaging and measures: {duration(imaging['cpu_s'].sum() / scans)} of processor time per scan. "
        f"Largest job: {run.runtime['peak_mb'].max():.0f} MiB. Totals are sums over jobs, as if they "
        "had run one after another."
    )
    return f"{table}\n\n{line}" + (f" Machine: {about.machine}." if about.machine else "")


def _mib(row: dict[Any, Any]) -> str:
    return f"{row['peak_mb']:.0f}" if row["peak_mb"] == row["peak_mb"] else "–"


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", required=True, metavar="DIR", help="results folder of a finished run")
    parser.add_argument("--title", default="Results", help="heading of the page")
    parser.add_argument("--attribution", default="", metavar="TEXT", help="whose data these are, under which licence")
    parser.add_argument("--command", default="", metavar="TEXT", help="what was typed to make the results")
    parser.add_argument("--machine", default="", metavar="TEXT", help="kind of machine, e.g. two shared cores")
    parser.add_argument("--notes", metavar="MD", help="Markdown to stand at the end of the reading")
    parser.add_argument("--out", required=True, metavar="MD", help="the page; its pictures go into a folder beside it")
    args = parser.parse_args()
    defaults = Config().model_dump(mode="json", by_alias=True)
    about = About(args.title, args.attribution, args.command, results.text(args.notes), args.machine, defaults)
    write_cohort_page(args.results, args.out, about)


if __name__ == "__main__":
    main()
