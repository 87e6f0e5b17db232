"""After the first pass: which scans failed, hard kills included, and what to type."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType

from anatcl.base import failures
from anatcl.base.words import plural
from anatcl.plan.plan import Plan
from anatcl.spec.layout import FAILURES, LOGS, OF_PERSONS, STEPS, result

log = logging.getLogger(__name__)
STOPPED = "Stopped. Finished results are kept: the same command continues from here."
ECHO_S = 2.0  # seconds within which a second Ctrl-C is the first one's echo
_asked_to_stop = threading.Event()
_started = time.time()


def mark_missing(plan: Plan, since: float) -> list[str]:
    """Write a marker for every scan whose step began, left no result, and said nothing (a hard kill).

    Parameters
    ----------
    plan : Plan
    since : float
        Only logs written after this time (seconds since the epoch) count as a step that began.

    Returns
    -------
    list of str
        The scans that were marked.
    """
    known = set(failures.failed(FAILURES)["scan"])
    marked = []
    for scan in [*plan.cohort.persons, *plan.cohort.scans]:
        step = "" if scan in known else _unfinished(plan, scan, since)
        if step:
            reason = "the step ended without a result or an error message (killed, or out of memory)."
            failures.mark(FAILURES, scan, f"workflow {step}", reason, str(LOGS / step / f"{scan}.log"))
            marked.append(scan)
    return marked


def _unfinished(plan: Plan, scan: str, since: float) -> str:
    """The first step of a scan that began after `since` and left no result; empty when there is none."""
    for step in _steps(plan, scan):
        record = LOGS / step / f"{scan}.log"
        if not result(step, scan, plan.imaging.template, plan.imaging.atlas).exists():
            return step if record.exists() and record.stat().st_mtime >= since else ""
    return ""


def _steps(plan: Plan, scan: str) -> list[str]:
    """Steps of a scan or of the mean scan of a participant, in order."""
    if scan in plan.cohort.persons:
        return ["person_template", "skullstrip", "register"]
    if not plan.cohort.steps:
        return []
    first, *later = plan.cohort.steps
    return [first, *(["person_align"] if plan.cohort.person(scan) else []), *later]


def watch_for_stop() -> None:
    """Record that Ctrl-C was pressed; what follows stays as it was.

    A terminal sends the signal to this process and to `anatcl run` above it, which hands it on: one of the two counts.
    """
    usual = signal.getsignal(signal.SIGINT)
    last = -ECHO_S

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal last
        _asked_to_stop.set()
        echo, last = time.monotonic() - last < ECHO_S, time.monotonic()
        if callable(usual) and not echo:
            usual(number, frame)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, remember)


def stopped_steps(since: float) -> list[tuple[str, str]]:
    """Rules of the cohort whose last log ends in an error, with its sentence and the log.

    Parameters
    ----------
    since : float
        Only logs written after this time (seconds since the epoch) count.
    """
    found = []
    for file in sorted(LOGS.rglob("*.log")):
        rule = file.relative_to(LOGS).parts[0].removesuffix(".log")
        if rule in STEPS or rule in OF_PERSONS or file.stat().st_mtime < since:
            continue
        ends = [line for line in file.read_text(errors="replace").splitlines() if line.strip()][-60:]
        errors = [line.partition(" ERROR: ")[2] for line in ends if " ERROR: " in line]
        if errors:
            found.append((rule, f"{errors[-1]} (log: {file})"))
    return found


def report_failed(plan: Plan, finished: bool = False) -> str:
    """What to tell the user after a run with failures: how many scans, why, and what to type next.

    Parameters
    ----------
    plan : Plan
    finished : bool
        A second pass has finished the cohort without these scans.
    """
    if _asked_to_stop.is_set():
        return STOPPED
    table = plan.cohort.failed
    means = [
        f"The mean of the scans of {stem.split('/')[0]} could not be made; its scans are processed separately. "
        f"Why: {failures.marker_path(FAILURES, stem)}"
        for stem in plan.cohort.broken
    ]
    if table.empty and means:
        return "\n".join(means)
    if table.empty:
        said = [f"  {rule}: {text}" for rule, text in stopped_steps(_started)]
        first = "A job failed; its log is named above. No scan is to blame: remove the cause and run again."
        return "\n".join([first, *said])
    lines = [f"{plural(len(table), 'scan')} failed:"]
    lines += [
        f"  {row.scan}: {row.stage}: {_first_line(row.reason)} (log: {row.log})" for row in table.head(20).itertuples()
    ]
    if len(table) > 20:
        lines.append(f"  ... and {len(table) - 20} more, in {FAILURES}")
    again = "with --config 'failures={retry: true}' to try them again."
    if finished:
        lines.append(f"The cohort is finished without them. Run the same command {again}")
    else:
        lines.append("Run the same command again to finish the cohort without them (`anatcl run` does so by itself),")
        lines.append(f"or {again}")
    return "\n".join([*means, *lines])


def _first_line(text: object) -> str:
    return str(text).strip().splitlines()[0] if str(text).strip() else ""
