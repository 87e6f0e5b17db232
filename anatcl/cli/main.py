"""Parse the command line, run one step, turn errors into sentences and markers."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from anatcl import __version__
from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.cli.missing import sentence
from anatcl.mixed import why_mixed

STAGES = ("simulate", "bids", "preprocess", "measures", "pretrain", "embed", "evaluate", "report")
COMMANDS = ("run", "init", "status", "profile", "crate")
log = logging.getLogger("anatcl")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all stages; each stage module adds its own steps."""
    parser = argparse.ArgumentParser(prog="anatcl", description="From a BIDS dataset to AnatCL benchmark tables.")
    parser.add_argument("--version", action="version", version=f"anatcl {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for stage in (*STAGES, *COMMANDS):
        importlib.import_module(f"anatcl.cli.{stage}").register(stages)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; return the exit status (0 good, 1 failed, 2 wrong usage)."""
    words, further = _split(list(sys.argv[1:] if arguments is None else arguments))
    args = build_parser().parse_args(words)
    args.further = further
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s: %(message)s", stream=sys.stderr)
    if why := why_mixed():
        log.warning("%s", why)
    marked = getattr(args, "failures", None)
    stage = f"{args.stage} {args.step}" if getattr(args, "step", None) else args.stage
    try:
        status = args.function(args)
    except Exception as raised:
        error = explained(raised)
        if marked:
            failures.mark(marked, args.scan, stage, error, args.log_path)
        if isinstance(error, InputError):
            log.error("%s", error)
        else:
            log.exception("%s failed: %s", stage, error)
        return 1
    if marked:
        failures.clear(marked, args.scan, stage)
    return int(status or 0)


def explained(error: Exception) -> Exception:
    """The error itself, or a sentence where a known package is not installed."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return (sentence(name) if name else None) or error


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands after ``run ... --`` is for Snakemake."""
    if words[:1] != ["run"] or "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the steps that take a dataset's own maps instead of making them."""
    parser.add_argument("--scans", required=True, metavar="TSV", help="scans.tsv: the scans of the cohort")
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the release, maps or packed arrays")
    parser.add_argument(
        "--source", required=True, choices=("release", "maps", "packed"), help="OpenBHB's, another program's, or pack's"
    )


def scan_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every per-scan step has: which scan, and where a failure is written down."""
    parser.add_argument("--scan", required=True, help="BIDS path stem of the scan, e.g. sub-01/anat/sub-01")
    parser.add_argument("--failures", metavar="DIR", help="folder of failure markers")
    parser.add_argument("--log-path", default="", metavar="FILE", help="log file to name in the marker")
