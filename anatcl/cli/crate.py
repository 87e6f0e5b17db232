"""``python -m anatcl crate``: a finished run as an RO-Crate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ABOUT = """Writes workflow, configuration and tables of a finished run as an RO-Crate, a folder or archive that other
programs can read. Nothing in it names a participant unless --with-participants says so.
Needs: pip install 'anatcl-workflow[crate]'."""


def register(stages: Any) -> None:
    """Add the command to the command line."""
    parser = stages.add_parser("crate", help="write a finished run as an RO-Crate, to be shared", description=ABOUT)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="new folder, or a file NAME.zip")
    parser.add_argument("--name", default="", help="name of the crate; by default that of the dataset")
    parser.add_argument("--license", default="", metavar="URL", help="licence of the results: a URL or a text")
    parser.add_argument(
        "--with-participants",
        action="store_true",
        help="include the page and the tables with a row per scan or participant",
    )
    parser.set_defaults(function=_crate)


def _crate(args: argparse.Namespace) -> None:
    from anatcl.run.crate import write

    made = write(args.folder, args.out, args.name, args.license, args.with_participants)
    sys.stdout.write(f"Written: {made}\n")
