"""``python -m anatcl run``: the whole workflow in one command, failures and stale locks handled."""

from __future__ import annotations

import argparse
from typing import Any


def register(stages: Any) -> None:
    """Add the command to the command line."""
    parser = stages.add_parser(
        "run",
        help="run the whole workflow; finish the cohort without the scans that fail",
        description="Runs Snakemake, and runs it a second time without the scans that failed. What stands after -- "
        "goes to Snakemake as it is: python -m anatcl run -- --cores 8 --config bids_dir=/data/study",
    )
    parser.add_argument("snakemake", nargs=argparse.REMAINDER, help="options and targets of Snakemake")
    parser.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> int:
    from anatcl.plan.runner import run

    return run([word for word in args.snakemake if word != "--"])
