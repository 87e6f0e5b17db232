"""``python -m anatcl profile``: the shipped profiles of Snakemake, for installations without a clone."""

from __future__ import annotations

import argparse
import sys
from typing import Any

ABOUT = """Prints a shipped profile, which you can edit and use: anatcl profile slurm > slurm/config.yaml, then
anatcl run -- --workflow-profile slurm. Without a name it lists them."""


def register(stages: Any) -> None:
    """Add the command to the command line."""
    parser = stages.add_parser("profile", help="print a profile of Snakemake for a cluster", description=ABOUT)
    parser.add_argument("name", nargs="?", metavar="NAME", help="generic, gpu, slurm and others; without: list them")
    parser.set_defaults(function=_profile)


def _profile(args: argparse.Namespace) -> None:
    from anatcl.run.profiles import names, text

    sys.stdout.write(text(args.name) if args.name else "".join(f"{name}\n" for name in names()))
