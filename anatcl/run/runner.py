"""Run Snakemake in one or two passes, unlocking what a dead process left locked."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.plan.cohort import LEAVE_OUT
from anatcl.plan.methods import WITHOUT_TRAINING
from anatcl.plan.plan import Plan
from anatcl.run.closing import closing
from anatcl.run.failed import STOPPED, mark_missing, report_failed, stopped_steps
from anatcl.run.passes import answers, dry, plain, watched, with_pages
from anatcl.run.places import LOCK, Inside, at_work, directory
from anatcl.run.profiles import check
from anatcl.run.surroundings import surroundings
from anatcl.spec.layout import FAILURES, SAVED

log = logging.getLogger(__name__)
TRAINING = (
    "folds",
    "pack",
    "take_arrays",
    "train",
    "train_final",
    "embed",
)  # rules without which the page can be made, but for trained methods


def run(options: Sequence[str], temporary: str | None = None, show_all: bool = False) -> int:
    """Run the workflow with Snakemake's own `options`; return its exit status.

    A pass that ends with failed scans is followed by one without them. Ctrl-C stops both. ``--until measures`` makes
    the pages of the scans, too (`with_pages`).

    Parameters
    ----------
    options : sequence of str
    temporary : path, optional
        Folder for temporary files of all jobs; made where it is absent.
    show_all : bool
        Show what Snakemake prints, and no display of our own.
    """
    check(options)
    options = with_pages(options)
    folder = directory(options)
    with alone(folder) as start:
        around = surroundings(folder.resolve() / ".snakemake", temporary)
        shown = not show_all and not answers(options)
        one_pass = functools.partial(watched, folder=folder) if shown else plain
        status = one_pass(options, around)
        if status < 0:
            log.warning("%s", STOPPED)
        if dry(options):
            return abs(status)
        if status <= 0:
            if shown and not status:
                sys.stdout.write(closing(folder, start))
            return abs(status)
        left_out: dict[str, str] = {}
        if _mark(folder, start):
            log.warning("Second pass: the run continues without the scans that failed.")
            left_out = {LEAVE_OUT: "1"}
            status = one_pass(options, around | left_out)
        if status > 0 and (reason := _training_failed(folder, start)):
            log.warning("Last pass: the page is made without trained methods. Training failed: %s", reason)
            made = one_pass(options, around | left_out | {WITHOUT_TRAINING: "1"})
            log.warning("Trained methods are missing from the page. %s", reason)
            status = status if made >= 0 else made
        if left_out or (shown and _scans_failed(folder, start)):
            with Inside(folder):
                log.warning("%s", report_failed(Plan.of_job(), bool(left_out) and not status))
        if shown and not status:
            sys.stdout.write(closing(folder, start))
        return abs(status)


def _scans_failed(folder: Path, since: float) -> bool:
    """Whether a scan has failed since a time; a display has shown each, but not what to type next."""
    return any(marker.stat().st_mtime >= since for marker in (folder / FAILURES).rglob("*.json"))


def _training_failed(folder: Path, since: float) -> str:
    """What a training, or the step that packs its data, said when it failed; empty when none did."""
    with Inside(folder):
        return next((text for rule, text in stopped_steps(since) if rule in TRAINING), "")


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
    file = folder / LOCK
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
            log.warning("Another run is active in %s; waiting for it to end.", folder)
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
            log.warning("Another run (process %d) is active in %s; waiting for it to end.", other, folder)
            told = True
        time.sleep(2)
    if any((folder / ".snakemake" / "locks").glob("*")):
        log.warning("The run that locked %s has ended; unlocking.", folder)
        for lock in (folder / ".snakemake" / "locks").glob("*.lock"):
            lock.unlink(missing_ok=True)


def _mark(folder: Path, start: float) -> bool:
    """Mark scans that were killed without a word; tell whether a second pass has anything to leave out."""
    with Inside(folder):
        if not SAVED.exists():
            return False
        plan = Plan.of_job()
        before = set(plan.cohort.scans)
        mark_missing(plan, start)
        again = Plan.of_job()
        goes_on = bool(before) and not again.config.failures.fatal and _some_left(again)
        return goes_on and (len(again.cohort.failed) > 0 or bool(again.cohort.broken))


def _some_left(plan: Plan) -> bool:
    try:
        return bool(plan.cohort.scans)
    except InputError:
        return False
