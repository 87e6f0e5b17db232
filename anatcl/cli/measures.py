"""``python -m anatcl measures``: labels, thickness, volume and area per region, and the cohort tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anatcl.cli.main import scan_flags, source_flags
from anatcl.spec.names import THICKNESS


def register(stages: argparse._SubParsersAction) -> None:
    """Add the stage ``measures`` and its steps."""
    stage = stages.add_parser("measures", help="anatomical measures per region")
    steps = stage.add_subparsers(dest="step", metavar="STEP", required=True)
    _add_surfaces(steps)
    _add_measure(steps)
    _add_chunk(steps)
    _add_cohort(steps)
    _add_take(steps)


def _of_scan(parser: argparse.ArgumentParser) -> None:
    """Flags of the steps that read the tissue maps of a scan."""
    scan_flags(parser)
    for name, text in (
        ("--t1w", "bias-corrected T1w image, native grid"),
        ("--gm", "grey-matter fraction, 0 to 1"),
        ("--wm", "white-matter fraction, 0 to 1"),
        ("--csf", "CSF fraction, 0 to 1"),
        ("--dseg", "hard segmentation: 1 CSF, 2 GM, 3 WM"),
        ("--icv-mask", "intracranial mask; its volume is TIV"),
        ("--xfm", "composite transform that warps images from the template to T1w"),
    ):
        parser.add_argument(name, type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument(
        "--atlas-space-template", required=True, metavar="NAME", help="space that --xfm comes from; must fit the atlas"
    )


def _add_surfaces(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser(
        "surfaces",
        help="white, pial and central surface of one scan (needs the extra surfaces)",
        description="White, pial and central surface, sphere and registration to fsaverage of both hemispheres. They "
        "are made by cat-surf (pip install 'anatcl-workflow[surfaces]'), which is under the GNU General Public "
        "License, version 2 or later, and is run as a separate program; this package stays under the MIT licence.",
    )
    _of_scan(parser)
    parser.add_argument("--voxel-mm", type=float, default=0.7, help="voxel size of the grid that they are made on")
    parser.add_argument("--threads", type=int, default=1, help="threads of the warp; surfaces take one")
    parser.add_argument("--seed", type=int, default=0, help="seed of ITK")
    parser.add_argument(
        "--stem", type=Path, required=True, metavar="PATH", help="writes PATH_hemi-L_white.surf.gii and the others"
    )
    parser.add_argument(
        "--out-quality", type=Path, required=True, metavar="FILE", help="surface-quality metrics (.json)"
    )
    parser.add_argument("--out-picture", type=Path, required=True, metavar="FILE", help="picture (.png)")
    parser.set_defaults(function=_surfaces)


def _add_measure(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("measure", help="labels, thickness, volume and area of one scan")
    _of_scan(parser)
    parser.add_argument("--atlas", default="desikan-killiany", help="packaged atlas, or path of a YAML file")
    parser.add_argument(
        "--surfaces", type=Path, metavar="PATH", help="measure the cortex on PATH_hemi-L_white.surf.gii and the others"
    )
    parser.add_argument("--surface-quality", type=Path, metavar="FILE", help="their surface-quality metrics (.json)")
    parser.add_argument(
        "--surface-limits",
        type=json.loads,
        default={"limits": {}, "accept": []},
        metavar="JSON",
        help="limits on these metrics, and scans that are accepted whatever their values",
    )
    parser.add_argument("--thickness", choices=THICKNESS, default="distance", help="how thickness (mm) is estimated")
    parser.add_argument("--thickness-options", type=json.loads, default={}, metavar="JSON", help="its parameters")
    parser.add_argument("--threads", type=int, default=1, help="threads of this step")
    parser.add_argument("--seed", type=int, default=0, help="seed of ITK")
    parser.add_argument("--out-labels", type=Path, required=True, metavar="FILE", help="label image (.nii.gz)")
    parser.add_argument("--out-thickness", type=Path, required=True, metavar="FILE", help="thickness in mm (.nii.gz)")
    parser.add_argument(
        "--out-measures", type=Path, required=True, metavar="FILE", help="table, a row per region (.tsv)"
    )
    parser.set_defaults(function=_measure)


def _add_chunk(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("chunk", help="join the tables of some scans")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE", help="tables of single scans")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a row per scan (.tsv)")
    parser.set_defaults(function=_chunk)


def _add_cohort(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("cohort", help="the cohort table, its dictionary and exports")
    parser.add_argument("--chunks", type=Path, nargs="+", required=True, metavar="FILE", help="chunk tables")
    parser.add_argument("--scans", type=Path, required=True, metavar="FILE", help="index of scans (.tsv)")
    parser.add_argument("--qc", type=Path, metavar="FILE", help="image-quality metrics, a row per scan (.tsv)")
    parser.add_argument(
        "--qc-query", default="", metavar="QUERY", help="pandas query over them; scans that do not match are left out"
    )
    parser.add_argument(
        "--freesurfer", type=Path, metavar="DIR", help="derivatives folder whose stats replace the workflow's own"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap in the reliability table")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="cohort table (.tsv)")
    for name, text in (
        ("--out-dictionary", "data dictionary (.json)"),
        ("--out-openbhb", "OpenBHB layout, 7 channels x regions (.csv)"),
        ("--out-enigma-dir", "folder for ENIGMA's CSV files"),
        ("--out-reliability", "differences within participants and ICC (.tsv)"),
        ("--out-adjusted", "volumes adjusted for TIV (.tsv)"),
        ("--out-outliers", "measures that stand out from their site (.tsv)"),
        ("--out-excluded", "scans left out here (.tsv)"),
        ("--out-description", "dataset_description.json of the measures"),
    ):
        parser.add_argument(name, type=Path, metavar="PATH", help=text)
    parser.set_defaults(function=_cohort)


def _add_take(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("take", help="write the cohort table from measures of a release or of packed arrays")
    source_flags(parser)
    parser.add_argument("--freesurfer", type=Path, metavar="DIR", help="derivatives folder whose stats replace rows")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap in the reliability table")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="cohort table (.tsv)")
    parser.add_argument("--out-dictionary", type=Path, required=True, metavar="FILE", help="data dictionary (.json)")
    parser.add_argument(
        "--out-reliability", type=Path, required=True, metavar="FILE", help="differences within participants"
    )
    parser.add_argument(
        "--out-quality", type=Path, required=True, metavar="FILE", help="image-quality metrics, unknown here"
    )
    parser.set_defaults(function=_take)


def _take(args: argparse.Namespace) -> None:
    from anatcl.measures.taken import take_measures

    take_measures(
        args.scans,
        args.root,
        args.source,
        args.out,
        freesurfer=args.freesurfer,
        out_dictionary=args.out_dictionary,
        out_reliability=args.out_reliability,
        out_quality=args.out_quality,
        seed=args.seed,
    )


def _maps(args: argparse.Namespace) -> dict[str, Path]:
    return {"gm": args.gm, "wm": args.wm, "csf": args.csf, "dseg": args.dseg, "icv": args.icv_mask}


def _surfaces(args: argparse.Namespace) -> None:
    from anatcl.measures.surfaces.scan import run

    run(
        _maps(args),
        args.t1w,
        args.xfm,
        template=args.atlas_space_template,
        voxel_mm=args.voxel_mm,
        stem=args.stem,
        out_quality=args.out_quality,
        out_picture=args.out_picture,
        threads=args.threads,
        seed=args.seed,
    )


def _measure(args: argparse.Namespace) -> None:
    from anatcl.measures.scan import run

    given = {"stem": args.surfaces, "quality": args.surface_quality, **args.surface_limits}
    run(
        args.scan,
        _maps(args),
        args.xfm,
        image=args.t1w,
        atlas_name=args.atlas,
        template=args.atlas_space_template,
        method=args.thickness,
        outputs={"labels": args.out_labels, "thickness": args.out_thickness, "measures": args.out_measures},
        options=args.thickness_options,
        surfaces=given if args.surfaces else None,
        threads=args.threads,
        seed=args.seed,
    )


def _chunk(args: argparse.Namespace) -> None:
    from anatcl.base.files import write_tsv
    from anatcl.measures.tables import chunk

    write_tsv(args.out, chunk(args.inputs))


def _cohort(args: argparse.Namespace) -> None:
    from anatcl.measures.cohort import build
    from anatcl.measures.dataset import describe

    outputs = {
        "table": args.out,
        "dictionary": args.out_dictionary,
        "openbhb": args.out_openbhb,
        "enigma": args.out_enigma_dir,
        "reliability": args.out_reliability,
        "adjusted": args.out_adjusted,
        "outliers": args.out_outliers,
        "excluded": args.out_excluded,
    }
    given = {name: path for name, path in outputs.items() if path is not None}
    build(args.chunks, args.scans, given, args.qc, args.qc_query, args.freesurfer, args.seed)
    if args.out_description is not None:
        describe(args.out_description)
