"""A mend for the memory of Snakemake's graph: what its jobs hold alike is held once.

The classes are handed in, as in `scheduling`; nothing is imported from Snakemake here. In a plan of 10,000 scans a
third of the memory was one of these: flags of files that have none, the same path for every job that reads it, empty
sets, and the wildcards of a scan for each of its six jobs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mends.bounds import log

# Filled while a job is made, and only read afterwards.
SETS = ("temp_output", "protected_output", "touch_output", "pipe_or_service_output", "_queue_input")
NOTHING: frozenset[Any] = frozenset()


def slim(job: type, rule: type) -> None:
    """Let the jobs of a graph share what they hold alike, from here on.

    What a job holds is shared only where it looks as it does in Snakemake 9; everything else is left as it is.

    Parameters
    ----------
    job : type
        ``snakemake.jobs.Job``; its ``__init__`` is replaced.
    rule : type
        ``snakemake.rules.Rule``; its ``expand_log``, ``expand_benchmark`` and ``expand_params`` are replaced.
    """
    shelf: dict[Any, Any] = {}

    def share(job: Any, _: None) -> None:
        share_wildcards(job, shelf)
        share_files(getattr(job, "input", None), shelf)
        share_files(getattr(job, "output", None), shelf)
        for name in SETS:
            if getattr(job, name, None) == set():
                setattr(job, name, NOTHING)

    follow(job, "__init__", share)
    # Made later, when the job is asked for them.
    for name in ("expand_log", "expand_benchmark", "expand_params"):
        follow(rule, name, lambda _, files: share_files(files, shelf))


def follow(owner: type, name: str, after: Callable[[Any, Any], None]) -> None:
    """Call `after` with the object and the result of a method each time the method ends; once for each class.

    The first error of `after` ends that: the object stays as Snakemake made it, and so do those that follow.
    """
    method = getattr(owner, name, None)
    if method is None or hasattr(method, "followed"):
        return

    @functools.wraps(method)
    def followed(self: Any, *args: Any, **options: Any) -> Any:
        result = method(self, *args, **options)
        if followed.followed:  # type: ignore[attr-defined]
            try:
                after(self, result)
            except Exception as error:  # whatever a changed Snakemake raises, the plan goes on without the mend
                followed.followed = False  # type: ignore[attr-defined]
                log.warning(f"Equal parts of jobs are no longer shared ({type(error).__name__}: {error}).")
        return result

    followed.followed = True  # type: ignore[attr-defined]
    setattr(owner, name, followed)


def share_wildcards(job: Any, shelf: dict[Any, Any]) -> None:
    """Give jobs with equal wildcards one dictionary and one list of them."""
    values = getattr(job, "wildcards_dict", None)
    if not isinstance(values, Mapping) or not hasattr(job, "_wildcards"):
        return
    # A list of the job's own for formatting, when there is one, stays.
    own_format = getattr(job, "_format_wildcards", None) is not job._wildcards
    share_guards(job._wildcards, shelf)
    job.wildcards_dict, job._wildcards = shelf.setdefault(tuple(values.items()), (values, job._wildcards))
    if not own_format:
        job._format_wildcards = job._wildcards


def share_files(files: Any, shelf: dict[Any, Any]) -> None:
    """Keep each path once for all jobs, without a dictionary of no flags; `files` is a list of them, one, or None."""
    share_guards(files, shelf)
    for file in files if isinstance(files, list) else [files]:
        path = getattr(file, "_file", None)
        # Snakemake makes an annotated string of it again when it sets a flag.
        if isinstance(path, str) and not getattr(path, "flags", None) and not getattr(file, "_is_callable", True):
            file._file = sys.intern(str.__str__(path))


def share_guards(files: Any, shelf: dict[Any, Any]) -> None:
    """Share the two objects of a list of names that only say that ``sort`` and ``index`` are not to be called."""
    # One attribute after the other: asking for __dict__ would make a dictionary that Python does without until then.
    for name in getattr(files, "_allowed_overrides", ()):
        guard = getattr(files, name, None)
        if type(guard).__name__ == "AttributeGuard":
            setattr(files, name, shelf.setdefault((type(guard), name), guard))
