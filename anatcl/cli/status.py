"""``python -m anatcl status``: what of a run is done, running, failed, excluded."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def register(stages: Any) -> None:
    """Add the command to the command line."""
    about = "Shows what is done, running, failed and excluded in a run. It only reads files."
    parser = stages.add_parser("status", help="show the progress of a run", description=about)
    parser.add_argument("folder", nargs="?", default=".", metavar="DIR", help="folder of the run (default: this one)")
    parser.set_defaults(function=_status)


def _status(args: argparse.Namespace) -> None:
    from anatcl.run.status import status, text

    sys.stdout.write(text(status(args.folder)))
