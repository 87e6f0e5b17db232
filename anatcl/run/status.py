"""How far a run is: what is done, running, failed, excluded."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pandas as pd
import psutil

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.base.words import plural
from anatcl.plan.plan import Plan
from anatcl.run.costs import durations, expected, in_words, left_in_words
from anatcl.run.failed import stopped_steps
from anatcl.run.places import LOCK, Inside, at_work
from anatcl.run.progress import bar
from anatcl.spec.layout import (
    COHORT_PAGE,
    EVALUATE,
    INDEX,
    MEASURES,
    PAGE,
    PARTICIPANTS,
    PREPROCESS,
    PRETRAIN,
    REPORT,
    SAVED,
    result,
)

TABLES = tuple(folder / "excluded.tsv" for folder in (REPORT, PREPROCESS, INDEX))  # the first one that is there


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of a folder in which the workflow runs.

    Parameters
    ----------
    process : int or None
        The Snakemake at work here.
    locked : bool
        A run that is dead left its lock; the next `anatcl run` removes it.
    steps : list of (rule, done, of)
        Jobs by rule, in the order of the data.
    running : list of str
        Steps at work now, with their scan.
    failed, excluded : DataFrame
        Markers of failed scans; rows of the latest table of exclusions.
    report : Path or None
        The page, when it is written.
    stopped : list of (rule, sentence)
        Steps of the cohort whose last log ends in an error.
    notes : list of str
        What the index says of the dataset's tables and headers.
    times : str
        Of a run at work: time so far, scans an hour, time left.
    scans : int
        Scans in the index.
    pages : str
        Pages that are there before the report: of participants, of the cohort; empty where there are none.
    """

    process: int | None
    locked: bool
    steps: list[tuple[str, int, int]]
    running: list[str]
    failed: pd.DataFrame
    excluded: pd.DataFrame
    report: Path | None
    stopped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    times: str = ""
    scans: int = 0
    pages: str = ""


def status(folder: str | Path = ".") -> Status:
    """The state of `folder`, read from its files and from the processes of this machine.

    Raises
    ------
    InputError
        No run was started there.
    """
    folder = Path(folder).resolve()
    if not (folder / SAVED).is_file():
        raise InputError(f"no run was started here: there is no {SAVED}.", folder, "Give the folder of the run.")
    with Inside(folder):
        plan = Plan.of_job()
        failed = plan.cohort.failed
        steps = [*_per_scan(plan), *_per_method(plan)]
        tables = [path for path in TABLES if path.is_file()]
        excluded = read_tsv(tables[0]) if tables else pd.DataFrame()
        stopped, notes, scans = stopped_steps(0.0), _notes(), len(plan.cohort.index)
        times = _times(steps)
    process = at_work(folder)
    locked = process is None and any((folder / ".snakemake" / "locks").glob("*"))
    page = folder / PAGE
    return Status(
        process,
        locked,
        steps,
        running=running(process),
        failed=failed,
        excluded=excluded,
        report=page if page.is_file() else None,
        stopped=stopped,
        notes=notes,
        times=times if process else "",
        scans=scans,
        pages=_pages(folder),
    )


def _times(steps: list[tuple[str, int, int]]) -> str:
    """Time so far, scans an hour since the run began, time left by the recorded times."""
    begun = LOCK.stat().st_mtime if LOCK.is_file() else time.time()
    so_far = max(1.0, time.time() - begun)
    made = [path for path in MEASURES.rglob("*_measures.tsv") if path.stat().st_mtime >= begun]
    rate = f", {3600 * len(made) / so_far:.1f} scans an hour" if made else ""
    recorded = durations()
    work = float((recorded["mean"] * recorded["count"]).sum())
    left = expected({rule: of - done for rule, done, of in steps if done < of}, recorded)
    words = f", {left_in_words(left, max(1.0, work / so_far))}" if left.seconds or left.unknown else ""
    return f"{in_words(so_far)} so far{rate}{words}"


def _pages(folder: Path) -> str:
    """Which pages of scans are there, and where: ``12 participants in ..., cohort in ...``."""
    people = sum(1 for _ in (folder / PARTICIPANTS).glob("sub-*.html"))
    words = [f"{plural(people, 'participant')} in {folder / PARTICIPANTS}"] if people else []
    words += [f"cohort in {folder / COHORT_PAGE}"] if (folder / COHORT_PAGE).is_file() else []
    return ", ".join(words)


def _notes() -> list[str]:
    """Warnings of the index, as sentences."""
    record = INDEX / "run.json"
    warnings = read_json(record).get("warnings", []) if record.is_file() else []
    return [f"{item['about']}: {item['warning']} {item['remedy']}".strip() for item in warnings]


def _per_scan(plan: Plan) -> list[tuple[str, int, int]]:
    """Finished scans of each rule that works on scans."""
    scans = plan.cohort.index["scan"].tolist()
    found = []
    for step in plan.cohort.steps:
        paths = [result(step, scan, plan.imaging.template, plan.imaging.atlas) for scan in scans]
        found.append((step, sum(path.exists() for path in paths), len(scans)))
    return found


def _per_method(plan: Plan) -> list[tuple[str, int, int]]:
    """Finished jobs of the rules that work on methods, folds and tasks."""
    pairs = [pair for method in plan.methods.encoders for pair in plan.methods.folds(method)]
    scored = [f"{method}/{task}_scores.tsv" for method in plan.methods.all for task in plan.tasks.names]
    final = [Path(file) for file in plan.methods.final]
    wanted = {
        "train": [PRETRAIN / pair / "encoder.safetensors" for pair in pairs],
        "train_final": final,
        "embed": [EVALUATE / pair / "embeddings.npz" for pair in pairs],
        "embed_given": [Path(file) for name in plan.methods.brought for file in plan.methods.embeddings(name)],
        "probe": [EVALUATE / name for name in scored],
        "interpret": [Path(name) for name in plan.tasks.maps],
        "report": [PAGE],
    }
    return [(rule, sum(path.exists() for path in paths), len(paths)) for rule, paths in wanted.items() if paths]


def running(process: int | None) -> list[str]:
    """Steps that a Snakemake on this machine has at work: ``preprocess register sub-01/anat/sub-01``."""
    if process is None:
        return []
    found = set()
    for child in psutil.Process(process).children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if words[1:3] == ["-m", "anatcl"]:
            scan = words[words.index("--scan") + 1] if "--scan" in words else ""
            found.add(" ".join([*words[3:5], scan]).strip())
    return sorted(found)


def text(found: Status) -> str:
    """The state in words."""
    now = f"running (process {found.process})" if found.process else "no run is active"
    lines = [now + ("; a dead run left its lock, `anatcl run` removes it" if found.locked else "")]
    lines += [f"  {rule:<14}{done:>6} of {of}  {bar(done, of)}" for rule, done, of in found.steps]
    lines += [f"time: {found.times}"] if found.times else []
    if found.running:
        lines += ["now:", *(f"  {name}" for name in found.running[:20])]
    lines.append(f"failed: {len(found.failed)}")
    lines += [f"  {row.scan}: {row.stage}: {row.reason}" for row in found.failed.head(20).itertuples()]
    lines += [f"stopped: {rule}: {said}" for rule, said in found.stopped]
    lines.append(f"excluded: {len(found.excluded)}")
    if len(found.excluded):
        counts = found.excluded["reason"].astype(str).value_counts().head(10)
        lines += [f"  {number} x {reason}" for reason, number in counts.items()]
    lines += [f"note: {note}" for note in found.notes[:20]]
    lines += [f"pages: {found.pages}"] if found.pages else []
    lines.append(f"report: {found.report or 'not written yet'}")
    return "\n".join(lines) + "\n"
