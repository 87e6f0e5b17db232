"""Time and memory per rule, from the benchmark files that Snakemake writes."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from anatcl.base.files import write_tsv

# The data flow; rules that are not named here follow in alphabetical order.
FLOW = (
    "index",
    "bids",
    "template",
    "prepare_template",
    "bias_correct",
    "skullstrip",
    "register",
    "segment",
    "qc",
    "measure",
    "measures",
    "aggregate",
    "folds",
    "pack",
    "pretrain",
    "train",
    "embed",
    "embed_given",
    "finetune",
    "probe",
    "baseline",
    "evaluate",
    "scores",
)
COLUMNS = ["rule", "jobs", "total_s", "median_s", "max_s", "cpu_s", "peak_mb"]


def read_benchmarks(folder: str | Path) -> pd.DataFrame:
    """All jobs under `folder`: columns ``rule``, ``s``, ``cpu_s`` (seconds) and ``peak_mb`` (MiB).

    A file belongs to the rule that its first folder names; other TSV files (no column ``h:m:s``) are passed over.
    """
    folder = Path(folder)
    jobs = []
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            if "h:m:s" in (reader.fieldnames or ()):
                jobs += [
                    (rule, _number(r.get("s")), _number(r.get("cpu_time")), _number(r.get("max_rss"))) for r in reader
                ]
    return pd.DataFrame(jobs, columns=["rule", "s", "cpu_s", "peak_mb"]).astype({"s": float})


def _number(text: str | None) -> float:
    """Number in a benchmark cell; Snakemake writes ``-`` or ``NA`` for jobs that were too short to measure."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def summarise(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row per rule with the columns `COLUMNS`, in the order of the data flow."""
    rank = {rule: index for index, rule in enumerate(FLOW)}
    rows = []
    for rule in sorted(jobs["rule"].unique(), key=lambda name: (rank.get(name, len(rank)), name)):
        part = jobs[jobs["rule"] == rule]
        seconds = part["s"]
        times = (seconds.sum(), seconds.median(), seconds.max(), part["cpu_s"].sum())
        rows.append((rule, len(part), *times, part["peak_mb"].max()))
    return pd.DataFrame(rows, columns=COLUMNS).round(dict.fromkeys(COLUMNS[2:], 1))


def write_runtime(folder: str | Path, out: str | Path) -> None:
    """Write the table of time and memory per rule."""
    write_tsv(out, summarise(read_benchmarks(folder)), float_format="%.1f")
