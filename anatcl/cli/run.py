"""``python -m anatcl run``: the whole workflow in one command, failures and stale locks handled; also a BIDS App."""

from __future__ import annotations

import argparse
from typing import Any

ABOUT = """Runs Snakemake, and runs it a second time without the scans that failed. Two ways to call it. Everything to
Snakemake as it is: anatcl run -- --cores 8 --config bids_dir=/data/study. As a BIDS App: anatcl run BIDS_DIR OUT_DIR
participant|group, with options of Snakemake after --, as in: anatcl run /data/study /data/out group --n-cpus 8 -- -n"""


def register(stages: Any) -> None:
    """Add the command to the command line."""
    parser = stages.add_parser(
        "run",
        help="run the whole workflow; finish the cohort without the scans that fail",
        usage="anatcl run [BIDS_DIR OUT_DIR {participant,group}] [options] [-- options and targets of Snakemake]",
        description=ABOUT,
    )
    parser.add_argument("bids_dir", nargs="?", metavar="BIDS_DIR", help="dataset: the folder with sub-* folders")
    parser.add_argument("out_dir", nargs="?", metavar="OUT_DIR", help="folder to work in; results are in its results/")
    parser.add_argument(
        "level",
        nargs="?",
        choices=["participant", "group"],
        help="participant: maps, measures, quality of each scan; group: everything, up to the report",
    )
    parser.add_argument("--participant-label", nargs="+", default=[], metavar="LABEL", help="people, as 01 or sub-01")
    parser.add_argument("--session-label", nargs="+", default=[], metavar="LABEL", help="sessions, as 1 or ses-1")
    parser.add_argument("--n-cpus", type=int, metavar="N", help="jobs side by side (default: all cores)")
    parser.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> int:
    from anatcl.base.errors import InputError
    from anatcl.run.bids_app import options
    from anatcl.run.runner import run

    if args.bids_dir is None:
        return run(args.further)
    if args.level is None:
        remedy = "Write: anatcl run BIDS_DIR OUT_DIR participant (or group); options of Snakemake stand after --."
        raise InputError("the dataset, the output folder and the level stand together.", remedy=remedy)
    people, sessions = args.participant_label, args.session_label
    return run(options(args.bids_dir, args.out_dir, args.level, people, sessions, args.n_cpus, args.further))
