"""All mends with the versions of Snakemake they were tested with, and the three calls that the rules make."""

from __future__ import annotations

from typing import Any

from mends import memory, scheduling
from mends.bounds import Mend, apply

TESTED = ">=9.9,<9.28"

FUNCTIONS = Mend(
    "parameters of input functions",
    "The parameter names of the rules' functions are stored with the functions, where Snakemake looks first.",
    "Snakemake inspects each function several times per job: a tenth of the time of a plan of thousands of scans.",
    TESTED,
    {"snakemake.common:get_function_params": ()},
)
RATE = Mend(
    "no default rate of jobs",
    "The limit of 100 jobs a second is lifted where the user set none.",
    "With this limit, every finished job leaves a timer thread until the end: tens of thousands for 10,000 scans.",
    ">=9.10,<9.28",
    {"snakemake.scheduling.job_scheduler:JobRateLimiter": ()},
)
MENDS = (
    FUNCTIONS,
    Mend(
        "parameters of resources",
        "The same for the method that evaluates a resource.",
        "As above, for each resource of each job.",
        ">=9.16.3,<9.28",
        {"snakemake.resources:Resource": ("evaluate",)},
        lambda resource: scheduling.mark(resource.evaluate),
    ),
    Mend(
        "one command per job",
        "A job keeps its formatted command within one attempt.",
        "Snakemake formats it three times in a row to print it: a tenth of the time.",
        TESTED,
        {"snakemake.jobs:Job": ("shellcmd", "attempt")},
        scheduling.format_once,
    ),
    Mend(
        "producers of a file",
        "The rules that make a file are looked up once for all jobs that read it.",
        "One lookup per file instead of one per reader.",
        TESTED,
        {"snakemake.output_index:OutputIndex": ("match_producers",)},
        scheduling.match_once,
    ),
    Mend(
        "folders as text",
        "Outputs are compared as plain text before they are compared part by part.",
        "The search for an output inside another job's folder took a tenth of the time.",
        TESTED,
        {"snakemake.dag:DAG": ("check_directory_outputs", "jobs")},
        scheduling.screen_folders,
    ),
    Mend(
        "shared parts of jobs",
        "Jobs share equal paths, wildcards and empty sets.",
        "A third of the memory of a plan of 10,000 scans.",
        TESTED,
        {"snakemake.jobs:Job": (), "snakemake.rules:Rule": ("expand_log", "expand_benchmark", "expand_params")},
        memory.slim,
    ),
    RATE,
    Mend(
        "rare collection of garbage",
        "Python's garbage collector runs rarely, and skips existing objects.",
        "A quarter of the planning time was spent searching permanent objects.",
        TESTED,
        {},
        scheduling.collect_seldom,
    ),
)


def apply_mends(tell: bool = True) -> list[str]:
    """Apply all mends that fit this Snakemake; return the names of those in force."""
    return apply(MENDS, tell)


def ready(function: scheduling.Function) -> scheduling.Function:
    """Mark an input function (`scheduling.mark`) where that mend applies; else give it back as it is."""
    return scheduling.mark(function) if FUNCTIONS.applies else function


def lift_default_rate(scheduler: Any) -> None:
    """Lift the default rate (`scheduling.lift_default_rate`) where that mend applies."""
    if RATE.applies:
        scheduling.lift_default_rate(scheduler)
