"""The page of one participant, made as soon as all of the participant's scans are measured."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl import __version__
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.base.words import plural
from anatcl.preprocess.limits import broken_limits
from anatcl.report.drawing import anatomy, cortex
from anatcl.report.drawing.svg import short
from anatcl.report.page import gallery, shared
from anatcl.spec.layout import SURFACE_NUMBERS, SURFACE_PICTURE

LARGEST_BYTES = 600_000  # of a picture
VOLUMES = {"tiv": "Intracranial volume", "gm": "Grey matter", "wm": "White matter", "csf": "CSF"}
REGIONAL = {"thickness_mm": "Thickness (mm)", "volume_mm3": "Volume (mm³)", "area_mm2": "Area (mm²)"}
# What flags of a region mean; outliers are found later, when there is a cohort.
REGION_FLAGS = {"empty": "no voxel", "tiny": "very few voxels", "no-surface": "no surface"}


@dataclasses.dataclass(frozen=True)
class Given:
    """Inputs of the participants' pages.

    Parameters
    ----------
    people : dict of str to dict
        Row of the index by scan: age, sex, session and so on.
    rules : mapping
        ``limits`` on image-quality metrics, ``accept`` and ``reject`` (lists of scans).
    preprocess, measures : path
        Folders of the stages.
    freesurfer : bool
        The cohort's tables take the regional measures from FreeSurfer or FastSurfer.
    """

    people: dict[str, dict[str, Any]]
    rules: Mapping[str, Any]
    preprocess: Path
    measures: Path
    freesurfer: bool = False


def write_participants(tables: Sequence[str | Path], given: Given, out: str | Path, folder: str | Path) -> None:
    """Write the page of each participant of some scans, and a list of the pages.

    Parameters
    ----------
    tables : sequence of path
        The measures of each scan.
    given : Given
    out : path
        The list: ``participant_id``, ``page`` (file name), ``scans``, ``beyond`` (scans beyond a limit).
    folder : path
        Folder of the pages, ``sub-01.html``.
    """
    by_person: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(map(str, tables)):
        table = read_tsv(path)
        scan = str(table["scan"].iloc[0])
        by_person.setdefault(scan.split("/")[0], []).append(section(scan, table, given))
    rows = []
    for name, sections in sorted(by_person.items()):
        beyond = sum(bool(one["reasons"]) for one in sections)
        page = Path(folder) / f"{name}.html"
        context = {
            "title": name,
            "lede": lede(len(sections), beyond),
            "sections": sections,
            "version": __version__,
            "freesurfer": given.freesurfer,
            "sprite": cortex.sprite() if any(one["maps"] for one in sections) else "",
        }
        shared.render(page, "participant.html", context)
        rows.append((name, page.name, len(sections), beyond))
    write_tsv(out, pd.DataFrame(rows, columns=["participant_id", "page", "scans", "beyond"]))


def lede(scans: int, beyond: int) -> str:
    """How many scans, and whether they stay in the tables."""
    if not beyond:
        return (
            f"{plural(scans, 'scan')}, within every limit." if scans == 1 else f"{scans} scans, all within the limits."
        )
    which = "The scan is" if scans == 1 else f"{beyond} of {scans} scans {'is' if beyond == 1 else 'are'}"
    return f"{which} left out of the cohort's tables: see below."


def section(scan: str, table: pd.DataFrame, given: Given) -> dict[str, Any]:
    """Everything that the page shows of one scan."""
    numbers = _json(given.preprocess / f"{scan}_desc-qc.json")
    surfaces = _json(given.measures / f"{scan}_{SURFACE_NUMBERS}")
    cortical = table[table["structure"] == "cortex"].set_index("region")
    return {
        "scan": scan.rpartition("/")[2],
        "about": about(given.people.get(scan, {})),
        "reasons": reasons(scan, table, numbers, given.rules),
        "flags": flags(table),
        "pictures": pictures(scan, given),
        "quality": quality_rows(numbers, given.rules["limits"]),
        "surfaces": surface_rows(surfaces),
        "volumes": volume_rows(table, cortical),
        "maps": region_maps(cortical),
        "regions": region_rows(table),
        "download": download(table),
    }


def _json(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def about(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the dataset records of the participant at this scan."""
    known = {name: row.get(name) for name in ("session_id", "age", "sex", "site", "diagnosis")}
    shown = {name: short(v) if isinstance(v, float) else str(v) for name, v in known.items() if _is_known(v)}
    return [(name.removesuffix("_id").capitalize(), value) for name, value in shown.items()]


def _is_known(value: Any) -> bool:
    return value is not None and value not in ("", "n/a") and not (isinstance(value, float) and math.isnan(value))


def reasons(scan: str, table: pd.DataFrame, numbers: Mapping[str, Any], rules: Mapping[str, Any]) -> list[str]:
    """Why the scan will be left out of the cohort's tables; empty when it stays."""
    if scan in rules["reject"]:
        return ["rejected after visual inspection"]
    if scan in rules["accept"]:
        return []
    of_surfaces = table["excluded"].iloc[0] if "excluded" in table else ""
    return broken_limits(numbers, rules["limits"]) + ([str(of_surfaces)] if _is_known(of_surfaces) else [])


def flags(table: pd.DataFrame) -> list[str]:
    """Regions whose measures cannot be trusted, by kind."""
    flagged = table[table["flags"].fillna("") != ""]
    found: dict[str, list[str]] = {}
    for region, text in flagged[["region", "flags"]].astype(str).itertuples(index=False):
        for flag in text.split(";"):
            found.setdefault(REGION_FLAGS.get(flag.strip(), flag.strip()), []).append(region)
    return [f"{kind}: {', '.join(gallery.shortened(regions))}" for kind, regions in found.items()]


def pictures(scan: str, given: Given) -> list[dict[str, Any]]:
    """The pictures of the steps and of the surfaces, where they were drawn."""
    name = scan.rpartition("/")[2]
    files = {
        f"Masks, tissues and registration of {name}": given.preprocess / f"{scan}_desc-qc.png",
        f"White and pial surfaces and thickness of {name}": given.measures / f"{scan}_{SURFACE_PICTURE}",
    }
    found = []
    for text, path in files.items():
        if path.is_file():
            uri, width, height = gallery.picture(path, LARGEST_BYTES)
            found.append({"uri": uri, "width": width, "height": height, "text": text})
    return found


def quality_rows(numbers: Mapping[str, Any], limits: Mapping[str, Sequence[float | None]]) -> list[dict[str, str]]:
    """Each image-quality metric with its limits."""
    return [
        {
            "name": gallery.label(name),
            "value": short(value),
            "limits": limits_text(limits.get(name)),
            "broken": "beyond" if broken_limits(numbers, {name: limits[name]} if name in limits else {}) else "",
        }
        for name, value in gallery.flat(dict(numbers)).items()
    ]


def limits_text(limits: Sequence[float | None] | None) -> str:
    """``700 to 2400``, ``at most 2``, ``at least 0.8``."""
    low, high = limits or (None, None)
    if low is not None and high is not None:
        return f"{short(low)} to {short(high)}"
    return f"at least {short(low)}" if low is not None else f"at most {short(high)}" if high is not None else ""


def surface_rows(numbers: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Surface-quality metrics of the surfaces: name, left, right."""
    sides = numbers.get("hemispheres", {})
    left, right = sides.get("L", {}), sides.get("R", {})
    return [(name.replace("_", " "), short(left[name]), short(right[name])) for name in left if name in right]


def volume_rows(table: pd.DataFrame, cortical: pd.DataFrame) -> list[tuple[str, str]]:
    """Whole-brain volumes in ml, with their share of the intracranial volume; mean thickness."""
    whole = table[table["structure"] == "global"].set_index("region")["volume_mm3"]
    rows = []
    for name, text in VOLUMES.items():
        if name in whole:
            share = "" if name == "tiv" or "tiv" not in whole else f" ({whole[name] / whole['tiv']:.0%})"
            rows.append((text, f"{whole[name] / 1000:.0f} ml{share}"))
    coarse = anatomy.is_coarse(table)
    mean = cortical["thickness_mm"].mean()
    if not coarse and math.isfinite(mean):
        rows.append(("Mean cortical thickness", f"{mean:.2f} mm"))
    return rows


def region_maps(cortical: pd.DataFrame) -> list[anatomy.Map]:
    """Thickness and grey-matter volume of the regions on the inflated cortex, where the atlas has a place on it."""
    if not cortex.views():
        return []
    regions = {f"{view.hemisphere}_{region}" for view in cortex.views() for region in view.paths}
    shown = cortical[cortical.index.isin(regions)]
    return [found for name in ("thickness", "volume") if (found := anatomy.scan_map(shown, name)) is not None]


def region_rows(table: pd.DataFrame) -> list[list[str]]:
    """Region, thickness, volume, area, flags."""
    rows = table[table["structure"] != "global"]
    return [
        [
            str(row["region"]),
            *(short(row[name]) if pd.notna(row[name]) else "–" for name in REGIONAL),
            str(row["flags"]) if _is_known(row["flags"]) else "",
        ]
        for row in rows.to_dict("records")
    ]


def download(table: pd.DataFrame) -> str:
    """The table of the scan as a data URI, so that it travels with the page."""
    text = table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    return f"data:text/tab-separated-values;base64,{base64.b64encode(text.encode()).decode('ascii')}"
