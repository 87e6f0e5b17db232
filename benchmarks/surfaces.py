"""The engine volume beside the engine surface: on known shapes, and on a scan beside FreeSurfer. One JSON.

Run from the root of the repository (needs the extra ``surfaces``)::

    python -m benchmarks.surfaces --out surfaces.json                                  # known shapes alone
    python -m benchmarks.surfaces --scan sub-01/anat/sub-01 --results results --subject /data/freesurfer/sub-01
    python -m benchmarks.surfaces --subject /data/freesurfer/sub-01 --segmentation
    python -m benchmarks.surfaces --subject /data/freesurfer/sub-01 --table sub-01_atlas-desikankilliany_measures.tsv

``--scan`` is one that the workflow has preprocessed; with ``--subject`` (a folder with ``stats/?h.aparc.stats``) both
engines are compared with FreeSurfer over the regions. ``--segmentation`` gives the engine surface FreeSurfer's own
segmentation (``mri/ribbon.mgz``) instead of ours. ``--table`` makes nothing: it compares a table that the workflow
left. Seconds are those of the processor; surfaces take one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures_common import agreement, last_line

UNITS = {"thickness_mm": "mm", "thicknessstd_mm": "mm", "volume_mm3": "mm3", "area_mm2": "mm2", "meancurv": "1/mm",
         "gauscurv": "1/mm2", "curvind": "1"}  # fmt: skip
# FreeSurfer divides these integrals over a region's surface by the number of its vertices, not by its area as we do
# (MRIScomputeAbsoluteCurvature in mris_anatomical_stats), so that they depend on its mesh.
PER_VERTEX = ("meancurv", "gauscurv")
UNITS |= {f"{column}, by area": UNITS[column] for column in PER_VERTEX}
SHELLS = ((18.0, 2.0), (18.0, 3.0), (18.0, 4.0))
QUICK = {"registration": {"n_points": 1280, "n_steps": 1, "iters": 3, "rotate": False}}


def shells() -> dict[str, Any]:
    """Errors (percent) of both engines on cortices of even thickness around a ball, 1 mm voxels."""
    from anatcl.images import Volume
    from anatcl.measures.direct import direct
    from anatcl.measures.surface import area_surface
    from anatcl.measures.surfaces import annotation, engine, filling
    from anatcl.measures.surfaces.table import distances, vertex_table
    from benchmarks.measures_phantoms import shapes

    found = {}
    for radius, thickness in SHELLS:
        grey, white, spacing = shapes().shell(radius, thickness, 1.0)
        true = {"thickness": thickness, "area": 4 * np.pi * radius**2}
        true["volume"] = 4 / 3 * np.pi * ((radius + thickness) ** 3 - radius**3)
        depth = direct(grey, white, spacing)
        by_volume = {
            "thickness": float(depth[(grey > 0.5) & (depth > 0)].mean()),
            "area": float(area_surface(white, spacing).vertex_area().sum()),
            "volume": float(grey.sum()),
        }
        labels = filling.finer(Volume((1 + grey + 2 * white).astype(np.float32), np.eye(4)), 0.7)
        with tempfile.TemporaryDirectory() as folder:
            surfaces, _ = engine.make(labels, annotation.fsaverage5("L"), Path(folder), "L", QUICK)
        table = vertex_table(dataclasses.replace(surfaces, thickness=distances(surfaces)))
        by_surface = {
            "thickness": float((table["thickness"] * table["area"]).sum() / table["area"].sum()),
            "area": float(table["area"].sum()),
            "volume": float(table["volume"].sum()),
        }
        found[f"radius {radius:g} mm, thickness {thickness:g} mm"] = {
            name: {key: round(100 * (value[key] / true[key] - 1), 2) for key in true}
            for name, value in (("volume", by_volume), ("surface", by_surface))
        }
    return found


def beside_freesurfer(ours: pd.DataFrame, subject: Path) -> dict[str, Any]:
    """Correlation and mean difference (percent) of each measure over the regions that both have."""
    from anatcl.measures.freesurfer import read

    theirs = read(subject, subject.name)
    ours, theirs = (t[t["structure"] == "cortex"].set_index("region") for t in (ours, theirs))
    regions = theirs.index.intersection(ours.index)
    density = vertices_per_mm2(subject)
    for column in PER_VERTEX:
        ours[f"{column}, by area"] = ours.get(column, np.nan)
        theirs[f"{column}, by area"] = theirs[column] * density
    rows = {}
    for column, unit in UNITS.items():
        if column in ours and column in theirs and ours[column].notna().any():
            row = agreement(column, ours.loc[regions, column], theirs.loc[regions, column], unit)
            rows[column] = {"r": row["r"], "percent": row["percent_difference"], "n": row["n"]}
    return rows


def vertices_per_mm2(subject: Path) -> pd.Series:
    """FreeSurfer's vertices per mm2 of white surface, by region."""
    found = {}
    for side in ("lh", "rh"):
        for line in (subject / "stats" / f"{side}.aparc.stats").read_text().splitlines():
            if line and not line.startswith("#"):
                name, vertices, area = line.split()[:3]
                found[f"{side}_{name}"] = float(vertices) / float(area)
    return pd.Series(found)


def by_volume(
    maps: dict[str, Path], t1w: Path, xfm: Path, space: str, folder: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of the engine volume, with its cost."""
    from anatcl.measures.scan import run

    start = time.process_time()
    outputs = {name: folder / f"volume_{name}.nii.gz" for name in ("labels", "thickness")}
    outputs["measures"] = folder / "volume.tsv"
    how = {"image": t1w, "atlas_name": "desikan-killiany", "template": space, "method": "direct"}
    table = run("scan", maps, xfm, **how, outputs=outputs)
    return table, {"seconds": round(time.process_time() - start, 1)}


def by_surface(
    maps: dict[str, Path], t1w: Path, xfm: Path, space: str, folder: Path, voxel_mm: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of the engine surface, with its quality numbers and cost."""
    from anatcl.base.files import read_json
    from anatcl.measures.scan import run
    from anatcl.measures.surfaces.scan import run as make

    quality = folder / "surfaces.json"
    make(
        maps, t1w, xfm, template=space, voxel_mm=voxel_mm, stem=folder / "scan", out_quality=quality,
        out_picture=folder / "surfaces.png",
    )  # fmt: skip
    given = {"stem": folder / "scan", "quality": quality, "limits": {}, "accept": []}
    outputs = {name: folder / f"surface_{name}.nii.gz" for name in ("labels", "thickness")}
    outputs["measures"] = folder / "surface.tsv"
    how = {"image": t1w, "atlas_name": "desikan-killiany", "template": space, "method": ""}
    table = run("scan", maps, xfm, **how, outputs=outputs, surfaces=given)
    said = read_json(quality)
    return table, {key: said[key] for key in ("hemispheres", "ProcessorSeconds", "PeakMemoryMB")}


def given_segmentation(subject: Path, voxel_mm: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of the cortex by the engine surface from FreeSurfer's own ribbon."""
    from anatcl.images import Volume, load
    from anatcl.measures.surfaces import annotation, engine, filling
    from anatcl.measures.surfaces.table import distances, regions, vertex_table

    ribbon = load(subject / "mri" / "ribbon.mgz", np.int16)
    rows, said = [], {}
    for side, white, grey in (("L", 2, 3), ("R", 41, 42)):
        labels = np.select([ribbon.data == white, ribbon.data == grey], [3.0, 2.0], 1.0).astype(np.float32)
        box = tuple(slice(max(int(hit.min()) - 4, 0), int(hit.max()) + 5) for hit in np.nonzero(labels > 1))
        affine = ribbon.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
        fine = filling.finer(Volume(labels[box], affine), voxel_mm, order=1)
        with tempfile.TemporaryDirectory() as folder:
            surfaces, said[side] = engine.make(fine, annotation.fsaverage5(side), Path(folder), side)
        surfaces = dataclasses.replace(surfaces, thickness=distances(surfaces))
        one = annotation.load_annotations("desikan-killiany")[side]
        rows.append(regions(vertex_table(surfaces), annotation.carried(one, surfaces.registered), one))
    return pd.concat(rows, ignore_index=True), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", help="BIDS stem of a scan that the workflow has preprocessed")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of that run")
    parser.add_argument("--template", default="MNI152NLin2009aSym", help="its template")
    parser.add_argument("--subject", type=Path, help="FreeSurfer's folder of the person")
    parser.add_argument("--segmentation", action="store_true", help="measure FreeSurfer's own segmentation, too")
    parser.add_argument("--table", type=Path, help="table of measures of that person, left by the workflow")
    parser.add_argument("--voxel-mm", type=float, default=0.7, help="grid of the surfaces")
    parser.add_argument("--keep", type=Path, help="folder in which surfaces and tables stay")
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()

    found: dict[str, Any] = {}
    if args.table:
        from anatcl.base.files import read_tsv

        found["table"] = beside_freesurfer(read_tsv(args.table), args.subject)
    else:
        found["shells"] = shells()
    if args.segmentation:
        table, said = given_segmentation(args.subject, args.voxel_mm)
        found["given FreeSurfer's segmentation"] = beside_freesurfer(table, args.subject) | {"program": said}
    if args.scan:
        found |= _scan(args)
    if args.out:
        from anatcl.base.files import write_json
        from anatcl.base.provenance import hardware, versions

        write_json(args.out, found | {"versions": versions(), "hardware": hardware()})
    print(last_line(found))


def _scan(args: argparse.Namespace) -> dict[str, Any]:
    from anatcl.spec.template import load_spec

    stem = args.results / "preprocess" / args.scan
    ends = {"gm": "label-GM_probseg", "wm": "label-WM_probseg", "csf": "label-CSF_probseg", "dseg": "dseg",
            "icv": "desc-icv_mask"}  # fmt: skip
    maps = {name: Path(f"{stem}_{end}.nii.gz") for name, end in ends.items()}
    xfm = Path(f"{stem}_from-{args.template}_to-T1w_mode-image_xfm.h5")
    space = str(load_spec(args.template)["space"])
    with tempfile.TemporaryDirectory() as folder:
        place = args.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        t1w = Path(f"{stem}_desc-preproc_T1w.nii.gz")
        tables = {
            "volume": by_volume(maps, t1w, xfm, space, place),
            "surface": by_surface(maps, t1w, xfm, space, place, args.voxel_mm),
        }
    return {
        name: (beside_freesurfer(table, args.subject) if args.subject else {}) | {"cost and quality": said}
        for name, (table, said) in tables.items()
    }


if __name__ == "__main__":
    main()
