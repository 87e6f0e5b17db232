"""What the workflow needs to know before it plans jobs: resolved configuration, cohort, paths, tasks.

The rules ask these classes; nothing here knows of Snakemake.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anatcl.base.syntax import KEPT
from anatcl.plan.given import linked
from anatcl.plan.plan import RESULTS, Plan
from anatcl.spec.layers import resolve

__all__ = ["Plan", "open_plan", "resolve"]


def open_plan(files: Iterable[Path], overrides: Mapping[str, Any], invocation: Path, main: bool) -> Plan:
    """The plan of this process: made from configuration in the main process, read from disk in a job.

    Parameters
    ----------
    files, overrides, invocation
        See :func:`anatcl.plan.resolve`.
    main : bool
        This is the process that plans, not one that it started for a job.
    """
    KEPT.open(RESULTS / ".code.json")
    return Plan(linked(resolve(files, overrides, invocation))) if main else Plan.of_job()
