"""Run Snakemake in one or two passes, unlocking what a dead process left locked."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from anatcl.plan.failed import mark_missing, report_failed
from anatcl.plan.plan import SAVED, Plan

log = logging.getLogger(__name__)
LIBRARY = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1


def run(options: Sequence[str]) -> int:
    """Run the workflow with Snakemake's own `options`; return its exit status.

    A pass that ends with failed scans is followed by one without them. Ctrl-C stops both.
    """
    folder = directory(options)
    wait_for_others(folder)
    start = time.time()
    status = _snakemake(options, folder)
    if status <= 0 or "-n" in options or "--dry-run" in options or not _mark(folder, start):
        return abs(status)
    log.warning("Second pass: the cohort goes on without the scans that failed.")
    status = _snakemake(options, folder)
    with Inside(folder):
        log.warning("%s", report_failed(Plan.of_job()))
    return abs(status)


def snakefile() -> Path:
    """The Snakefile of this clone; that of an installed copy is inside the package."""
    clone = LIBRARY.parent / "workflow" / "Snakefile"
    return clone if clone.is_file() else LIBRARY / "shipped" / "workflow" / "Snakefile"


def directory(options: Sequence[str]) -> Path:
    """The folder in which Snakemake will work: ``--directory``, or this one."""
    for flag, value in zip(options, [*options[1:], ""], strict=True):
        if flag in ("--directory", "-d"):
            return Path(value).resolve()
        if flag.startswith("--directory="):
            return Path(flag.partition("=")[2]).resolve()
    return Path.cwd()


def wait_for_others(folder: Path) -> None:
    """Wait while another Snakemake works in `folder`; unlock it when the one that locked it is dead."""
    told = False
    while other := at_work(folder):
        if not told:
            log.warning("Another run (process %d) is at work in %s; waiting for it to end.", other, folder)
            told = True
        time.sleep(2)
    if any((folder / ".snakemake" / "locks").glob("*")):
        log.warning("The run that locked %s is dead; unlocking.", folder)
        for lock in (folder / ".snakemake" / "locks").glob("*.lock"):
            lock.unlink(missing_ok=True)


def at_work(folder: Path) -> int | None:
    """Process id of a live Snakemake whose working directory is `folder`."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid == os.getpid() or not any(Path(w).name == "snakemake" for w in words[:4]):
            continue
        try:
            if Path(process.cwd()) == folder.resolve() and process.status() != psutil.STATUS_ZOMBIE:
                return int(process.pid)
        except (psutil.Error, OSError):
            continue
    return None


def _snakemake(options: Sequence[str], folder: Path) -> int:
    """Run one pass; negative when it was stopped by a signal."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), *options]
    if not any(o.startswith(("--cores", "-c", "--jobs", "-j", "--profile", "--workflow-profile")) for o in options):
        command += ["--cores", "all"]
    process = subprocess.Popen(command, preexec_fn=_die_with_parent)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return -abs(process.wait() or 1)


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed, so that a killed run leaves no orphan that goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _mark(folder: Path, start: float) -> bool:
    """Mark scans that were killed without a word; tell whether a second pass has anything to leave out."""
    with Inside(folder):
        if not SAVED.exists():
            return False
        plan = Plan.of_job()
        before = set(plan.scans)
        mark_missing(plan, start)
        again = Plan.of_job()
        return bool(before) and not again.config.failures.fatal and _some_left(again) and len(again.failed) > 0


def _some_left(plan: Plan) -> bool:
    from anatcl.base.errors import InputError

    try:
        return bool(plan.scans)
    except InputError:
        return False


class Inside:
    """Work inside a folder for a while (the paths of a plan are relative to it)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = Path.cwd()
        os.chdir(self.folder)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)
