"""The door of a BIDS App: dataset, output folder and level become options of Snakemake."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.base.files import write_text

# What each level makes: the rule of that name for single people, everything for the group.
TARGETS = {"participant": ["participant"], "group": []}
CONFIG_FLAGS = ("--configfile", "--configfiles")


def options(
    bids_dir: str | Path,
    out_dir: str | Path,
    level: str,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    cores: int | None = None,
    memory: str | None = None,
    further: Sequence[str] = (),
) -> list[str]:
    """Options of Snakemake for one call of the app.

    Parameters
    ----------
    bids_dir : path
        The dataset.
    out_dir : path
        Folder to work in; made where it is absent. Results are in its ``results``.
    level : {"participant", "group"}
        ``participant``: maps, measures and image-quality metrics of each scan. ``group``: everything up to the report.
    participants, sessions : sequence of str
        Labels to take, with or without ``sub-`` and ``ses-``; all when empty.
    cores : int, optional
        Jobs side by side.
    memory : str, optional
        Memory of all jobs at a time: MB, or a number with K, M, G or T.
    further : sequence of str
        Options for Snakemake as they are. Values of a ``--configfile`` or ``--config`` among them win.

    Raises
    ------
    InputError
        There is no such dataset, or the memory is not an amount.
    """
    if not Path(bids_dir).expanduser().is_dir():
        raise InputError("there is no such folder.", bids_dir, "BIDS_DIR is the folder that holds sub-* folders.")
    out = Path(out_dir).expanduser().absolute()
    file = _configuration(Path(bids_dir).expanduser().absolute(), out, participants, sessions)
    words = [*TARGETS[level], "--directory", str(out)]
    if cores:
        words += ["--cores", str(cores)]
    if memory:
        words += ["--resources", f"mem_mb={megabytes(memory)}"]
    place = next((at for at, word in enumerate(further, 1) if word in CONFIG_FLAGS), None)
    if place is None:
        return [*words, "--configfile", str(file), *further]
    return [*words, *further[:place], str(file), *further[place:]]


def megabytes(text: str) -> int:
    """An amount of memory in MB: ``8000``, ``8G``, ``8GB``.

    Raises
    ------
    InputError
        It is not an amount, or less than 1 MB.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", text.strip().upper())
    amount = int(float(found[1]) * 1000.0 ** ("KMGT".index(found[2] or "M") - 1)) if found else 0
    if amount < 1:
        raise InputError(f"--mem: {text!r} is not an amount of memory.", remedy="Write MB, as 8000, or a unit, as 8G.")
    return amount


def _configuration(bids_dir: Path, out: Path, participants: Sequence[str], sessions: Sequence[str]) -> Path:
    """Write what was asked for to a file of its own name; names with spaces or quotes are safe there."""
    values: dict[str, object] = {"bids_dir": str(bids_dir)}
    if participants:
        values["participants"] = {"include": sorted({f"sub-{name.removeprefix('sub-')}" for name in participants})}
    if sessions:
        values["bids"] = {"entities": {"session": sorted({name.removeprefix("ses-") for name in sessions})}}
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    file = out / ".anatcl" / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    write_text(file, text)
    return file
