"""Run Snakemake in one or two passes, unlocking what a dead process left locked."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from anatcl.base.errors import InputError
from anatcl.plan.cohort import LEAVE_OUT
from anatcl.plan.plan import Plan
from anatcl.run.failed import mark_missing, report_failed
from anatcl.spec.layout import SAVED

log = logging.getLogger(__name__)
LIBRARY = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1


def run(options: Sequence[str]) -> int:
    """Run the workflow with Snakemake's own `options`; return its exit status.

    A pass that ends with failed scans is followed by one without them. Ctrl-C stops both.
    """
    folder = directory(options)
    with alone(folder) as start:
        status = _snakemake(options)
        if status <= 0 or "-n" in options or "--dry-run" in options or not _mark(folder, start):
            return abs(status)
        log.warning("Second pass: the cohort goes on without the scans that failed.")
        status = _snakemake(options, {LEAVE_OUT: "1"})
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


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[float]:
    """Hold a folder for one run, a second one waits; give the time at which it begins, by the folder's own clock.

    The kernel lets go of the lock when this process dies, however it dies. The file system's clock and not this
    machine's, since files that other machines write are compared with it.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    file = folder / ".snakemake" / "anatcl.lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = open(file, "w")  # noqa: SIM115 - closed below
    except OSError as error:
        remedy = "Make it writable, free some space, or work elsewhere with --directory."
        raise InputError(f"the run cannot write into its folder ({error.strerror}).", folder, remedy) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("Another run is at work in %s; waiting for it to end.", folder)
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s cannot be locked (%s); start one run at a time.", folder, error.strerror)
        wait_for_others(folder)
        os.utime(file)
        yield file.stat().st_mtime


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


def _snakemake(options: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Run one pass; negative when it was stopped by a signal."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), *options]
    if not any(o.startswith(("--cores", "-c", "--jobs", "-j", "--profile", "--workflow-profile")) for o in options):
        command += ["--cores", "all"]
    process = subprocess.Popen(command, env=os.environ | (environment or {}), preexec_fn=_die_with_parent)
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
        before = set(plan.cohort.scans)
        mark_missing(plan, start)
        again = Plan.of_job()
        return bool(before) and not again.config.failures.fatal and _some_left(again) and len(again.cohort.failed) > 0


def _some_left(plan: Plan) -> bool:
    try:
        return bool(plan.cohort.scans)
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
