"""Flags that the steps of ``preprocess`` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anatcl.cli.main import scan_flags


def step(steps: Any, name: str, text: str, function: Any) -> argparse.ArgumentParser:
    """Add a step of one scan with the flags that all of them have."""
    parser = steps.add_parser(name, help=text, description=text)
    scan_flags(parser)
    parser.add_argument("--recipe", required=True, help="precise, fast, testing, or a JSON file")
    parser.add_argument("--threads", type=int, default=1, help="ITK threads; 1 gives equal bytes on every run")
    parser.add_argument("--seed", type=int, default=0, help="seed of ITK's sampling")
    parser.set_defaults(function=function)
    return parser


def paths(parser: argparse.ArgumentParser, **flags: str) -> None:
    """Add required flags that name a file or folder: name and help text."""
    for name, text in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=text)


def person_flag(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--person``: files of the participant's mean scan; none for a scan that has no mean."""
    parser.add_argument("--person", type=Path, nargs="*", default=[], metavar="PATH", help=text)


def facts(args: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """Sidecar entries of every step: recipe, parameters, seed, threads."""
    return {"Recipe": str(args.recipe), "Parameters": settings, "Seed": args.seed, "Threads": args.threads}
