"""Where the workflow is, and where a run works."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]


def snakefile() -> Path:
    """The Snakefile of this clone; that of an installed copy is inside the package."""
    clone = LIBRARY.parent / "workflow" / "Snakefile"
    return clone if clone.is_file() else LIBRARY / "shipped" / "workflow" / "Snakefile"


def directory(options: Sequence[str]) -> Path:
    """The folder in which Snakemake will work: ``--directory``, or this one."""
    for flag, value in zip(options, [*options[1:], ""], strict=True):
        if flag in ("--directory", "-d"):
            return Path(value).resolve()
        if flag.startswith("--directory="):
            return Path(flag.partition("=")[2]).resolve()
    return Path.cwd()
