"""Where the workflow is, and where a run works."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

LIBRARY = Path(__file__).resolve().parents[1]
LOCK = Path(".snakemake") / "anatcl.lock"  # its date is the beginning of the run


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


def at_work(folder: Path) -> int | None:
    """Process id of a live Snakemake whose working directory is `folder`."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid == os.getpid() or not any(Path(w).name == "snakemake" for w in words[:4]):
            continue
        try:
            if Path(process.cwd()) == folder.resolve() and process.status() != psutil.STATUS_ZOMBIE:
                return int(process.pid)
        except (psutil.Error, OSError):
            continue
    return None


class Inside:
    """Work inside a folder for a while (the paths of a plan are relative to it)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = Path.cwd()
        os.chdir(self.folder)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)
