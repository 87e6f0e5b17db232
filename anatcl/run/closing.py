"""Last lines of a run: results, exclusions, files to look at; for a dry run: jobs, hours, gigabytes."""

from __future__ import annotations

import time
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.base.words import plural
from anatcl.plan.plan import Plan
from anatcl.run.costs import check_disk, durations, expected, in_words, not_counted
from anatcl.run.places import Inside
from anatcl.run.progress import Progress
from anatcl.run.status import TABLES, status
from anatcl.spec.layout import BENCHMARKS, COHORT_PAGE, MEASURES_TABLE, SAVED


def closing(folder: Path, since: float) -> str:
    """What a finished run has made, and what to type next.

    Parameters
    ----------
    folder : Path
    since : float
        When the run began, by the folder's clock.
    """
    if not (folder / SAVED).exists():
        return ""
    found = status(folder)
    lines = [f"Finished after {in_words(max(1.0, time.time() - since))}. Scans in the index: {found.scans}."]
    if len(found.excluded):
        table = next(str(path) for path in TABLES if (folder / path).is_file())
        lines.append(f"Left out: {plural(len(found.excluded), 'scan')}; each with its reason in {folder / table}.")
    if found.report:
        lines.append(f"Page: {found.report}")
    if (folder / COHORT_PAGE).exists():
        lines.append(f"Page of the cohort, with one for each participant: {folder / COHORT_PAGE}")
    if not found.report and (folder / MEASURES_TABLE).exists():
        lines.append(f"Table: {folder / MEASURES_TABLE}")
    lines.append(f"Progress of the run: anatcl status {folder}".removesuffix(" ."))
    return "\n".join(lines) + "\n"


def planned(progress: Progress, cores: int, folder: Path) -> str:
    """The jobs of a dry run as a table, and what they will take.

    Parameters
    ----------
    progress : Progress
    cores : int
        Jobs side by side.
    """
    width = max(len(rule) for rule in progress.planned)
    lines = [f"{rule:<{width}}  {count:>6}" for rule, count in progress.planned.items()]
    lines.append(f"{'total':<{width}}  {sum(progress.planned.values()):>6}")
    with Inside(folder):
        found = expected(progress.planned, durations(Path(BENCHMARKS)))
        try:
            space = check_disk(Plan.of_job())
        except (InputError, OSError) as error:
            space = str(error)
    hours = f"Expected: {in_words(found.seconds / max(1, cores))} with {plural(cores, 'job')} at a time"
    hours += f", without {not_counted(found)}" if found.unknown else ""
    return "\n".join(
        [*lines, f"{hours}{'; ' if space else '.'}{space}", "To see each job with its reason: snakemake -n."]
    )
