"""``python -m anatcl run``: the whole workflow in one command, failures and stale locks handled; also a BIDS App."""

from __future__ import annotations

import argparse
from typing import Any

ABOUT = """Runs Snakemake, then runs it again without the scans that failed. There are two ways to call it. With
options of Snakemake: anatcl run -- --cores 8 --config bids_dir=/data/study. As a BIDS App: anatcl run BIDS_DIR OUT_DIR
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
    _flag(parser, "--participant-label", nargs="+", default=[], metavar="LABEL", help="participants, as 01 or sub-01")
    _flag(parser, "--session-label", nargs="+", default=[], metavar="LABEL", help="sessions, as 1 or ses-1")
    _flag(parser, "--n-cpus", "--nprocs", type=int, metavar="N", help="jobs side by side (default: all cores)")
    _flag(
        parser,
        "--mem",
        "--mem-mb",
        metavar="MB",
        help="memory of all jobs at a time, as 8000 or 8G (default: no limit)",
    )
    _flag(parser, "--work-dir", "-w", metavar="DIR", help="folder for temporary files (default: $TMPDIR or /tmp)")
    parser.add_argument("--show-all", action="store_true", help="show all that Snakemake prints, instead of a summary")
    parser.set_defaults(function=_run)


def _flag(parser: argparse.ArgumentParser, *names: str, **settings: Any) -> None:
    """Add an option under its names, each with underscores too, as BIDS Apps write them."""
    spelt = [form for name in names for form in (name, "--" + name[2:].replace("-", "_")) if name.startswith("--")]
    parser.add_argument(*dict.fromkeys([*spelt, *(name for name in names if len(name) == 2)]), **settings)


def _run(args: argparse.Namespace) -> int:
    from anatcl.base.errors import InputError
    from anatcl.run.bids_app import options
    from anatcl.run.runner import run

    if args.bids_dir is None:
        return run(args.further, show_all=args.show_all)
    if args.level is None:
        remedy = "Write: anatcl run BIDS_DIR OUT_DIR participant (or group); options of Snakemake follow after --."
        raise InputError("the dataset, the output folder and the level must be given together.", remedy=remedy)
    words = options(
        args.bids_dir,
        args.out_dir,
        args.level,
        participants=args.participant_label,
        sessions=args.session_label,
        cores=args.n_cpus,
        memory=args.mem,
        further=args.further,
    )
    return run(words, temporary=args.work_dir, show_all=args.show_all)
