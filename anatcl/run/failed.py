"""After the first pass: which scans failed, hard kills included, and what to type."""

from __future__ import annotations

import logging

from anatcl.base import failures
from anatcl.plan.plan import Plan
from anatcl.spec.layout import FAILURES, LOGS, STEPS, result

log = logging.getLogger(__name__)


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
    for scan in plan.cohort.scans:
        step = "" if scan in known else _unfinished(plan, scan, since)
        if step:
            reason = "the step ended without a result and without a word (killed, or out of memory)"
            failures.mark(FAILURES, scan, f"workflow {step}", reason, str(LOGS / step / f"{scan}.log"))
            marked.append(scan)
    return marked


def _unfinished(plan: Plan, scan: str, since: float) -> str:
    """The first step of a scan that began after `since` and left no result; empty when there is none."""
    for step in STEPS:
        record = LOGS / step / f"{scan}.log"
        if not result(step, scan, plan.imaging.template, plan.imaging.atlas).exists():
            return step if record.exists() and record.stat().st_mtime >= since else ""
    return ""


def report_failed(plan: Plan) -> str:
    """What to tell the user after a run with failures: how many scans, why, and what to type next."""
    table = plan.cohort.failed
    if table.empty:
        return "A job failed; its log is named above. No scan is to blame: mend the cause and run again."
    lines = [f"{len(table)} scan(s) failed:"]
    lines += [
        f"  {row.scan}: {row.stage}: {_first_line(row.reason)} (log: {row.log})" for row in table.head(20).itertuples()
    ]
    if len(table) > 20:
        lines.append(f"  ... and {len(table) - 20} more, in {FAILURES}")
    lines.append("Run the same command again to finish the cohort without them (`anatcl run` does so by itself),")
    lines.append("or with --config 'failures={retry: true}' to try them again.")
    return "\n".join(lines)


def _first_line(text: object) -> str:
    return str(text).strip().splitlines()[0] if str(text).strip() else ""
