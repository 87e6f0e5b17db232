"""What the workflow needs to know before it plans jobs: resolved configuration, cohort, paths, tasks.

The rules use these classes; nothing here depends on Snakemake.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anatcl.base.syntax import KEPT
from anatcl.plan.check import checked_plan, stops_at_scans
from anatcl.plan.plan import Plan
from anatcl.spec.layers import read_layers, resolve
from anatcl.spec.layout import RESULTS

__all__ = ["Plan", "open_plan", "resolve", "stops_at_scans"]


def open_plan(
    files: Iterable[Path],
    overrides: Mapping[str, Any],
    invocation: Path,
    main: bool,
    dataset: bool = True,
    scans_alone: bool = False,
    environments: bool = False,
) -> Plan:
    """The plan of this process: made from configuration in the main process, read from disk in a job.

    Parameters
    ----------
    files, overrides, invocation
        See :func:`anatcl.plan.resolve`.
    main : bool
        This is the process that plans, not one that it started for a job.
    dataset : bool
        Jobs are planned, so that the dataset is looked at; without it only the configuration is checked.
    scans_alone : bool
        What is asked for ends at the scans (:func:`stops_at_scans`), so that nobody need be there to train on.
    environments : bool
        Jobs run in environments of their own (conda, containers), not in that of this process.

    Raises
    ------
    InputErrors
        Everything that is wrong with the configuration, before any job is planned.
    """
    KEPT.open(RESULTS / ".code.json")
    if not main:
        return Plan.of_job()
    plan = checked_plan(read_layers(files, overrides, invocation), dataset, scans_alone, environments)
    if not dataset:
        return plan
    plan = plan.through_links()
    plan.save()  # jobs read it; Snakemake looks for it before its rule's function is called
    return plan
