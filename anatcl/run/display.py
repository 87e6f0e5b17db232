"""What `anatcl run` shows: on a terminal a picture that changes, elsewhere some lines. The rest is in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from anatcl.run.costs import Expected, durations, expected, in_words, left_in_words
from anatcl.run.progress import Progress, bar
from anatcl.spec.layout import BENCHMARKS, FAILURES, OF_PERSONS

PRINTED = Path("logs") / "run.txt"
SILENCE_S = 120.0  # without a terminal: a line at least so often while something moves
PARTS = 5  # and at each fifth of the jobs
STAGES = {  # bars: rules by stage
    "index": ("bids", "template"),
    "preprocess": (
        *("bias_correct", *OF_PERSONS, "skullstrip", "register", "segment", "qc", "preprocess_chunk", "preprocess"),
    ),
    "measures": ("surfaces", "measure", "measures_chunk", "measures"),
    "pretrain": ("folds", "pack", "train"),
    "evaluate": (),  # every other rule but those of the report
    "report": ("participant_pages", "cohort_page", "tables", "report", "all"),
}


class Display:
    """Shows one pass of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    cores : int
        Jobs that may run side by side.
    running : callable
        Gives the steps at work now, with their scans.
    out : stream
        Where to write; a terminal gets the changing picture.
    still : bool
        Show nothing of the jobs (a dry run has none at work).
    """

    def __init__(
        self, folder: Path, cores: int, running: Callable[[], list[str]], out: TextIO | None = None, still: bool = False
    ) -> None:
        self.folder, self.cores, self.running = folder, cores, running
        self.out = out or sys.stderr
        self.progress = Progress()
        self.start = self.spoke = time.monotonic()
        self.said_failures = self._markers()
        self.part = self.failures = 0
        self.ended = False  # that all jobs are done was said
        self.recorded = pd.DataFrame()
        self.look_again = 0.0
        self.still = still
        self.live = self._live() if self.out.isatty() and not still else None

    def feed(self, line: str) -> None:
        """Take in one line of Snakemake's."""
        known = self.progress.known
        if said := self.progress.feed(line):
            self.say(said)
        if self.progress.known and not known:
            self.start = time.monotonic()

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self.live:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.out, flush=True)

    def tick(self) -> None:
        """Bring what is shown up to date; call it every second or so."""
        if self.still or not self.progress.known:
            return
        for failure in self._new_failures():
            self.say(failure)
        if self.live:
            self.live.update(self.picture(), refresh=True)
        elif self._due():
            self.say(self.line())

    def close(self) -> None:
        """Take the picture away, and leave the last failures and the last state as lines."""
        for failure in self._new_failures():
            self.say(failure)
        if self.live:
            self.live.stop()
            self.live = None
        if self.progress.known and self.progress.finished and not self.ended:
            self.say(self.line())

    # -- what is shown --------------------------------------------------------------------------------------------

    def line(self) -> str:
        """The state in one line: ``21:16  preprocess 12 of 60, measures 1 of 10; 3 min so far, 8 to 10 min left``."""
        stages = self.stages()
        if all(done >= of for _, done, of in stages):
            self.ended = True
            how_far = f"all {sum(of for _, _, of in stages)} jobs are done"
        else:
            how_far = ", ".join(f"{stage} {done} of {of}" for stage, done, of in stages if done < of or of > 1)
        return f"{time.strftime('%H:%M')}  {how_far}; {self.times()}"

    def picture(self) -> str:
        """The state in a few lines: a bar for each stage, what is at work, the times."""
        lines = [f"{stage:<11}{bar(done, of)} {done:>6} of {of}" for stage, done, of in self.stages()]
        at_work = self.running()
        lines += [f"now        {', '.join(at_work[:4])}{' ...' if len(at_work) > 4 else ''}"] if at_work else []
        return "\n".join([*lines, f"time       {self.times()}"])

    def times(self) -> str:
        """Time so far and time left."""
        so_far = f"{in_words(time.monotonic() - self.start)} so far"
        left = self.left()
        return f"{so_far}, {left}" if left else so_far

    def left(self) -> str:
        """Time left in words; empty at the end."""
        return left_in_words(self.expected(), self.at_a_time()) if sum(self.progress.left.values()) else ""

    def expected(self) -> Expected:
        """What the jobs that are left will take, by the recorded times."""
        begun = time.monotonic()
        if begun > self.look_again:
            self.recorded = durations(self.folder / BENCHMARKS)
            # Tens of thousands of small files in a large cohort: a twentieth of the time may go into reading them.
            self.look_again = time.monotonic() + max(5.0, 20 * (time.monotonic() - begun))
        return expected(self.progress.left, self.recorded)

    def at_a_time(self) -> float:
        """Jobs that ran side by side on average so far, else as many as may."""
        spent = time.monotonic() - self.start
        seconds = dict(self.recorded["mean"]) if len(self.recorded) else {}
        work = sum(float(seconds.get(rule, 0.0)) * n for rule, n in self.progress.finished.items())
        mean = work / spent if spent > 10 else 0.0
        jobs = sum(self.progress.left.values())
        return float(min(max(mean, 0.5 * self.cores), self.cores, max(jobs, 1)))

    def stages(self) -> list[tuple[str, int, int]]:
        """Stage, jobs finished, jobs planned."""
        named = {rule: stage for stage, rules in STAGES.items() for rule in rules}
        table = {stage: [0, 0] for stage in STAGES}
        for rule, count in self.progress.planned.items():
            table[named.get(rule, "evaluate")][0] += min(count, self.progress.finished.get(rule, 0))
            table[named.get(rule, "evaluate")][1] += count
        return [(stage, done, of) for stage, (done, of) in table.items() if of]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        done, total = sum(self.progress.finished.values()), sum(self.progress.planned.values())
        part = PARTS * done // max(total, 1)
        first = self.progress.finished.get("measure") == 1 and self.part == 0
        if part > self.part or first or time.monotonic() - self.spoke > SILENCE_S:
            self.part, self.spoke = max(part, self.part, int(first)), time.monotonic()
            return True
        return False

    def _new_failures(self) -> list[str]:
        """Scans that failed since the last look, each as a sentence."""
        from anatcl.base.failures import failed

        markers = self._markers() - self.said_failures
        if self.still or not markers:
            return []
        self.said_failures |= markers
        names = {path.relative_to(self.folder / FAILURES).with_suffix("").as_posix() for path, _ in markers}
        table = failed(self.folder / FAILURES)
        rows = table[table["scan"].isin(names)]
        self.failures += len(rows)
        return [
            f"failed: {r.scan}: {r.stage}: {str(r.reason).splitlines()[0]} (log: {r.log})" for r in rows.itertuples()
        ]

    def _markers(self) -> set[tuple[Path, int]]:
        """Markers of failed scans and when they were written: a scan may fail again."""
        found = (self.folder / FAILURES).rglob("*.json")
        return {(path, path.stat().st_mtime_ns) for path in found if path.is_file()}

    def _live(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        live = Live(console=Console(file=self.out), auto_refresh=False, transient=True)
        live.start()
        return live
