"""One pass of Snakemake: printing for itself, or behind a display."""

from __future__ import annotations

import ctypes
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from anatcl.run.closing import planned
from anatcl.run.display import PRINTED, Display
from anatcl.run.places import snakefile
from anatcl.run.status import running

PR_SET_PDEATHSIG = 1
TICK_S = 1.0  # what is shown is brought up to date so often
# Options with which Snakemake answers a question on its standard output.
ANSWERS = {
    *("--list", "-l", "--list-rules", "--list-target-rules", "--lt", "--lint", "--dag", "--rulegraph", "--filegraph"),
    *("--d3dag", "--summary", "-S", "--detailed-summary", "-D", "--help", "-h", "--version", "-v", "--report"),
    *("--unlock", "--archive", "--list-changes", "--lc", "--list-input-changes", "--print-compilation"),
    "--containerize",
}


def answers(options: Sequence[str]) -> bool:
    """Whether Snakemake answers a question on its standard output, which is for whoever asked."""
    return bool(ANSWERS & {option.partition("=")[0] for option in options})


def plain(options: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Run one pass that prints for itself; negative when it was stopped by a signal."""
    process = _start(options, environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return -abs(process.wait() or 1)


def _start(
    options: Sequence[str], environment: dict[str, str] | None = None, pipe: int | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), *options]
    if not any(o.startswith(("--cores", "-c", "--jobs", "-j", "--profile", "--workflow-profile")) for o in options):
        command += ["--cores", "all"]
    around = os.environ | (environment or {})
    both = subprocess.STDOUT if pipe else None
    return subprocess.Popen(
        command, env=around, preexec_fn=_die_with_parent, text=True, errors="replace", stdout=pipe, stderr=both
    )


def watched(options: Sequence[str], environment: dict[str, str] | None, folder: Path) -> int:
    """Run one pass behind a display; all that it prints is kept in `PRINTED`. Negative when it was stopped."""
    process = _start(options, environment, subprocess.PIPE)
    display = Display(folder, at_once(options), lambda: running(process.pid), still=dry(options))
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stopped, shown = False, 0.0
    with open(_kept(folder), "a", encoding="utf-8") as kept:
        threading.Thread(target=_read, args=(process, kept, lines), daemon=True).start()
        while True:
            try:
                if (line := _next(lines)) is None:
                    break
                display.feed(line)
                if time.monotonic() - shown > TICK_S:
                    display.tick()
                    shown = time.monotonic()
            except KeyboardInterrupt:
                stopped = True
                process.send_signal(signal.SIGINT)
        status = process.wait()
    display.close()
    _conclude(display, options, folder, status)
    return -abs(status or 1) if stopped else status


def _next(lines: queue.SimpleQueue[str | None]) -> str | None:
    """The next line; an empty one after a second without any, None after the last."""
    try:
        return lines.get(timeout=TICK_S)
    except queue.Empty:
        return ""


def _kept(folder: Path) -> Path:
    path = folder / PRINTED
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _read(process: subprocess.Popen[str], kept: TextIO, lines: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        kept.write(line)
        kept.flush()
        lines.put(line)
    lines.put(None)


def _conclude(display: Display, options: Sequence[str], folder: Path, status: int) -> None:
    """Last words of a pass: the plan of a dry run, what went wrong where no scan is to blame."""
    progress = display.progress
    if progress.nothing:
        display.say("Nothing to be done: all results are up to date.")
    if dry(options) and progress.known:
        display.say(planned(progress, display.cores, folder))
    if status and progress.known and not display.failures:
        display.say("\n".join(progress.complaints))
    if status and progress.known:
        display.say(f"The full output is in {folder / PRINTED}.")


def with_pages(options: Sequence[str]) -> list[str]:
    """The same options; a run until ``measures`` makes the pages of the cohort and of its participants, too.

    The page replaces the measures, which it needs: Snakemake skips what follows a rule named by ``--until``.
    """
    found: list[str] = []
    until = False
    for option in options:
        name, _, value = option.partition("=")
        until = name in ("--until", "-U") if option.startswith("-") else until
        words = [*([name] if value else []), value or option] if until else [option]
        found += ["cohort_page" if until and word == "measures" else word for word in words]
    return found


def dry(options: Sequence[str]) -> bool:
    """Whether these options ask for a plan alone."""
    return any(option in ("-n", "--dry-run", "--dryrun") for option in options)


def at_once(options: Sequence[str]) -> int:
    """How many jobs may run side by side, by ``--cores`` or ``--jobs``."""
    words = " ".join(options)
    found = re.search(r"(?:--cores|--jobs|-c|-j)[ =]?(\d+)", words)
    return int(found[1]) if found else os.cpu_count() or 1


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed, so that a killed run leaves no orphan that goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
