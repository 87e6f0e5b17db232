"""A mend for Snakemake's scheduler, whose settings are handed in by the rules (nothing is imported from it here)."""

from __future__ import annotations

from typing import Any

# What Snakemake sets when nobody asks for a limit: jobs, seconds.
DEFAULT_RATE = (100, 1)


def lift_default_rate(settings: Any) -> None:
    """Take back the limit of 100 jobs a second that stands when nobody asked for one.

    While a limit stands, the scheduler of Snakemake 9 starts a timer after each look at its jobs, and the timer makes
    it look again: every finished job adds one more thread that wakes it once a second until the end. A third of a core
    was busy with that after 120 jobs; a cohort of 10,000 scans would need tens of thousands of threads. A limit that a
    user gives is left alone.

    Parameters
    ----------
    settings : snakemake.settings.types.SchedulingSettings or None
        Changed in place.
    """
    rate = getattr(settings, "max_jobs_per_timespan", None)
    if rate is not None and (rate.max_jobs, rate.timespan) == DEFAULT_RATE:
        settings.max_jobs_per_timespan = None
