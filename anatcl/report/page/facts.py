"""The first lines of a page: dataset, date of the results, scans in and out, version."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl import __version__
from anatcl.base.files import read_json
from anatcl.report.records import results
from anatcl.report.records.results import Sources
from anatcl.spec.openbhb import RELEASE

PACKAGE = Path(__file__).resolve().parents[2]


def facts(sources: Sources, scans: int, excluded: pd.DataFrame, name: str) -> list[tuple[str, str]]:
    """Name and value of each fact that is known.

    Parameters
    ----------
    sources : Sources
    scans : int
        Usable scans of the index.
    excluded : DataFrame
        Exclusions of all stages.
    name : str
        Name of the dataset, of :func:`dataset`.
    """
    index = sources.scans is not None
    found = [
        ("Dataset", name),
        ("Results of", day(sources)),
        ("Scans", in_and_out(sources, scans, excluded) if index else ""),
        ("Made by", f"anatcl-workflow {revision()}"),
    ]
    return [(name, value) for name, value in found if value]


def in_and_out(sources: Sources, scans: int, excluded: pd.DataFrame) -> str:
    """``27 in the tables, 3 left out``."""
    measured = results.table(sources.measures)
    inside = len(measured) if "scan" in measured else scans
    out = excluded["scan"].fillna(excluded.get("participant_id")).nunique() if "scan" in excluded else 0
    return f"{inside:,} in the tables, {out:,} left out"


def dataset(config: Mapping[str, Any], run: Path) -> str:
    """Name in the dataset's own description, else that of its folder; empty when neither is known.

    Of a run on packed arrays, these are the dataset.

    Parameters
    ----------
    config : mapping
        Configuration, whose paths are relative to the folder of the run.
    run : Path
        That folder.
    """
    arrays = (config.get("pretrain") or {}).get("arrays")
    place = arrays if arrays and arrays != RELEASE else config.get("bids_dir")
    if not place:
        return ""
    folder = run / str(place)
    description = folder / "dataset_description.json"
    try:
        name = read_json(description).get("Name") if description.is_file() else None
    except (ValueError, AttributeError):
        name = None
    return str(name or folder.resolve().name)


def of_run(sources: Sources) -> str:
    """Name of the dataset of a run whose configuration is among the sources."""
    return dataset(results.configured(sources.config), Path(str(sources.config)).resolve().parent.parent)


def day(sources: Sources) -> str:
    """Day on which the newest of the tables was written, ``27 November 2026``."""
    tables = [Path(path) for path in (sources.benchmark, sources.measures) if path is not None]
    times = [path.stat().st_mtime for path in tables if path.is_file()]
    if not times:
        return ""
    date = datetime.datetime.fromtimestamp(max(times), datetime.UTC)
    return f"{date.day} {date:%B %Y}"


def revision() -> str:
    """The version, with the commit where the program runs from a clone of its repository."""
    if not (PACKAGE.parent / ".git").exists() or (git := shutil.which("git")) is None:
        return __version__
    asked = [git, "-C", str(PACKAGE.parent), "rev-parse", "--short=10", "HEAD"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f"{__version__}, commit {said.stdout.strip()}" if said.returncode == 0 else __version__
