"""Mends for Snakemake's scheduler and planner; the classes are handed in (nothing is imported from it here)."""

from __future__ import annotations

import functools
import gc
import inspect
import itertools
import os
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

# What Snakemake sets when nobody asks for a limit: jobs, seconds.
DEFAULT_RATE = (100, 1)


def lift_default_rate(scheduler: Any) -> None:
    """Take back the limit of 100 jobs a second that stands when nobody asked for one.

    While a limit stands, the scheduler of Snakemake 9 starts a timer after each look at its jobs, and the timer makes
    it look again: every finished job adds one more thread that wakes it once a second until the end. A third of a core
    was busy with that after 120 jobs; a cohort of 10,000 scans would need tens of thousands of threads. A limit that a
    user gives is left alone. The settings are not known yet when rules are read, hence the scheduler, at the start.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler or None
        Changed in place.
    """
    limiter = getattr(scheduler, "job_rate_limiter", None)
    if (getattr(limiter, "max_jobs", None), getattr(limiter, "timespan", None)) == DEFAULT_RATE:
        scheduler.job_rate_limiter = None


def mark(function: Function) -> Function:
    """Write a function's parameters on it, where Snakemake 9 looks before it inspects the function.

    It asks for them several times per job, and ``inspect.signature`` takes longer than most input functions: a tenth
    of a plan of thousands of scans was spent in it.

    Parameters
    ----------
    function : callable
        An input function, or a method (whose first parameter is left out, as a bound method has it).

    Returns
    -------
    callable
        The same function.
    """
    signature = inspect.signature(function)
    parameters = {name: p for name, p in signature.parameters.items() if name != "self"}
    function.__signature__ = signature  # type: ignore[attr-defined]
    function._overwrite_params = parameters  # type: ignore[attr-defined]
    return function


def format_once(job: type) -> None:
    """Let a job format its command once where Snakemake 9 asks for it three times in a row, to print it.

    A tenth of a plan of thousands of scans went into commands that were made already. Only the last one is kept, and
    only for the same attempt, whose resources may be in it.

    Parameters
    ----------
    job : type
        ``snakemake.jobs.Job``; its property ``shellcmd`` is replaced. Any other class is left as it is.
    """
    made = getattr(job, "shellcmd", None)
    if not isinstance(made, property) or made.fget is None or hasattr(made.fget, "formats_once"):
        return
    read = made.fget
    last: list[Any] = [None, None, None]

    def shellcmd(self: Any) -> Any:
        if last[0] is not self or last[1] != self.attempt:
            last[:] = self, self.attempt, read(self)
        return last[2]

    shellcmd.formats_once = True  # type: ignore[attr-defined]
    job.shellcmd = property(shellcmd, doc=made.__doc__)  # type: ignore[attr-defined]


def match_once(index: type) -> None:
    """Let the rules that make a file be looked up once for all jobs that read it, not once for each of them.

    Parameters
    ----------
    index : type
        ``snakemake.output_index.OutputIndex``; its ``match_producers``, which depends on the rules alone, remembers the
        latest files (a scan's jobs are planned one after the other).
    """
    match = getattr(index, "match_producers", None)
    if match is not None and not hasattr(match, "cache_info"):
        index.match_producers = functools.lru_cache(4096)(match)  # type: ignore[attr-defined]


def screen_folders(dag: type) -> None:
    """Let a graph compare its outputs as plain text before Snakemake compares them part by part.

    Snakemake makes sure that no output lies in another job's output folder, which takes a tenth of a plan of thousands
    of scans. Where no path begins with another one there is nothing to find.

    Parameters
    ----------
    dag : type
        ``snakemake.dag.DAG``; its ``check_directory_outputs`` is called only where a path begins with another.
    """
    check = getattr(dag, "check_directory_outputs", None)
    if check is None or hasattr(check, "screens"):
        return

    @functools.wraps(check)
    def screened(self: Any) -> None:
        if may_nest(self):
            check(self)

    screened.screens = True  # type: ignore[attr-defined]
    dag.check_directory_outputs = screened  # type: ignore[attr-defined]


def may_nest(dag: Any) -> bool:
    """Whether an output of a graph may lie in another one; also when its outputs cannot be read."""
    try:
        # With the separator at its end a folder stands right before what lies in it. Path.resolve would ask the disk.
        paths = sorted(os.path.abspath(file) + os.sep for job in dag.jobs for file in job.output)  # noqa: PTH100
    except (AttributeError, TypeError):
        return True
    return any(after.startswith(before) for before, after in itertools.pairwise(paths))


def collect_seldom() -> None:
    """Let Python look for cyclic garbage seldom, and not in what is there already.

    A plan is millions of objects that stay; by default, looking through them again and again takes a quarter of the
    time of planning and finds a few thousand to free.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
