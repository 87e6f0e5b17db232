"""``python -m anatcl init``: a commented configuration for a dataset, written after a look at it."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def register(stages: Any) -> None:
    """Add the command to the command line."""
    about = (
        "Reads a BIDS dataset, or OpenBHB's release, and writes a commented configuration: participants, missing "
        "values, possible tasks."
    )
    parser = stages.add_parser("init", help="write a commented configuration for a dataset", description=about)
    parser.add_argument(
        "bids_dir", metavar="BIDS_DIR", help="dataset: the folder with sub-* folders, or OpenBHB's with train and val"
    )
    parser.add_argument("--out", default="my.yaml", metavar="YAML", help="file to write (default my.yaml)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.set_defaults(function=_init)


def _init(args: argparse.Namespace) -> None:
    from anatcl.run.init import write_starter

    sys.stdout.write(write_starter(args.bids_dir, args.out, args.overwrite) + "\n")
