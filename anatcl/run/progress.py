"""Snakemake's output, read line by line while it runs: jobs planned and finished by rule, and what went wrong."""

from __future__ import annotations

import dataclasses
import re

HEADER = re.compile(r"^job\s+count\s*$")
COUNT = re.compile(r"^(\w+)\s+(\d+)\s*$")
FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (\w+)\)")
ERROR = re.compile(r"^Error in rule (\w+)[,:]")
STEPS_DONE = re.compile(r"^\d+ of \d+ steps ")
STARTED = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):")
KEPT = 80  # complaints
# Said by every run, of no use to the person who started it.
USUAL = re.compile(
    r"^(Using workflow specific profile|Config file .* is extended|Assuming unrestricted shared|Building DAG"
    r"|Using shell:|Provided (cores|resources|remote)|Rules claiming more threads|Conda environments: ignored"
    r"|Select jobs to execute|Execute \d+ jobs|Complete log|Elapsed time|host: |SNAKEMAKE$|=+$|  \w[\w() -]*: "
    r"|\[\w{3} \w{3} +\d+ |\s*$)"
)


@dataclasses.dataclass
class Progress:
    """Jobs of one pass.

    Attributes
    ----------
    planned, finished : dict of str to int
        Jobs by rule, in the order in which Snakemake names them.
    errors : int
        Jobs that failed.
    nothing : bool
        All files were there already.
    complaints : list of str
        What was printed besides the usual: blocks of failed jobs, exceptions.
    """

    planned: dict[str, int] = dataclasses.field(default_factory=dict)
    finished: dict[str, int] = dataclasses.field(default_factory=dict)
    errors: int = 0
    nothing: bool = False
    complaints: list[str] = dataclasses.field(default_factory=list)
    _counting: bool = False
    _job: bool = False

    @property
    def known(self) -> bool:
        """Whether the plan was read to its end."""
        return bool(self.planned) and not self._counting

    @property
    def left(self) -> dict[str, int]:
        """Jobs still to do, by rule."""
        return {rule: max(0, n - self.finished.get(rule, 0)) for rule, n in self.planned.items()}

    def feed(self, line: str) -> str:
        """Read one line; return what should be shown at once, which is mostly nothing."""
        line = line.rstrip()
        if self._table(line) or self._of_a_job(line):
            return ""
        if line.startswith("Nothing to be done"):
            self.nothing = True
        elif not USUAL.match(line):
            self.complaints = [*self.complaints[-KEPT:], line]
            return "" if self.known else line
        return ""

    def _of_a_job(self, line: str) -> bool:
        """Whether a line says that a job begins (with fields below it) or has ended well."""
        if found := FINISHED.match(line):
            self.finished[found[1]] = self.finished.get(found[1], 0) + 1
            return True
        if ERROR.match(line):
            self.errors, self._job = self.errors + 1, False
            return False
        field = line.startswith("    ") or not line
        self._job = bool(STARTED.match(line)) or (self._job and field)
        return self._job or bool(STEPS_DONE.match(line))

    def _table(self, line: str) -> bool:
        """Whether a line belongs to the table of jobs, which stands there twice in a dry run."""
        if HEADER.match(line):
            self._counting = True
            return True
        if self._counting and (found := COUNT.match(line)):
            if found[1] == "total":
                self._counting = False
            else:
                self.planned[found[1]] = int(found[2])
            return True
        return line.startswith("Job stats") or (self._counting and set(line) <= {"-", " "})


def bar(done: int, of: int, width: int = 20) -> str:
    """How far something is: ``[#####.....]``."""
    full = width * done // max(of, 1)
    return "[" + "#" * full + "." * (width - full) + "]"
