"""Steps of the stage pretrain: folds, pack, take, openbhb, shards, train, list, import, export."""

from __future__ import annotations

import argparse
from typing import Any

from anatcl.cli.main import source_flags

# Flags of `train` that are options of the run: (flag, type, default, help). The rest travels in --options.
# Defaults stand in anatcl.spec.training alone.
TRAIN_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("--encoder", str, "network: resnet18, resnet34, resnet50, densenet121 or resnet-tiny"),
    ("--epochs", int, "passes over the training scans"),
    ("--batch-size", int, "participants in a batch, over all processes"),
    ("--learning-rate", float, "the optimiser's learning rate"),
    ("--temperature", float, "temperature of the similarities"),
    ("--age-sigma", float, "width of the age kernel, years"),
    ("--lambda", float, "factor of the anatomical term"),
    ("--alpha-age", float, "factor of the age term"),
    ("--seed", int, "seed of initial weights, batches and augmentations"),
)


def register(stages: Any) -> None:
    """Add the stage's parser and its steps."""
    stage = stages.add_parser("pretrain", help="pretrain encoders", description=__doc__)
    steps = stage.add_subparsers(dest="step", metavar="STEP", required=True)
    _folds(steps.add_parser("folds", help="assign participants to folds"))
    _pack(steps.add_parser("pack", help="pack maps of a cohort into one memory-mapped array"))
    _take(steps.add_parser("take", help="pack the maps of a release, or use packed arrays as they are"))
    _train(steps.add_parser("train", help="pretrain one method without one fold; an interrupted training resumes"))
    _list(steps.add_parser("list", help="table of the trained encoders"))
    _openbhb(steps.add_parser("openbhb", help="pack a public OpenBHB release"))
    _shards(steps.add_parser("shards", help="pack WebDataset shards of maps"))
    _import(steps.add_parser("import", help="turn the published AnatCL weights into a bundle"))
    _export(steps.add_parser("export", help="write a bundle's encoder for other programs"))


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="JSON", help="model.json of the encoders; may be none"
    )
    parser.add_argument("--out", required=True, metavar="TSV", help="table to write, a row per encoder")
    parser.set_defaults(function=run_list)


def run_list(args: argparse.Namespace) -> None:
    """Write the table of encoders."""
    from anatcl.pretrain.listing import list_models

    list_models(args.models, args.out)


def device_flags(parser: argparse.ArgumentParser) -> None:
    """Add what the device resolver takes."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where to compute")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"), help="number type")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument(
        "--deterministic",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="equal results on one machine with one number of threads",
    )


def _folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scans", required=True, metavar="TSV", help="scans.tsv with participant_id and phenotypes")
    parser.add_argument("--measures", metavar="TSV", help="measures.tsv: only its scans are in the cohort")
    parser.add_argument("--folds", type=int, default=5, help="number of folds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the assignment")
    parser.add_argument("--group", default="participant_id", help="column kept whole in a fold, e.g. site")
    parser.add_argument("--out", required=True, metavar="TSV", help="folds.tsv to write")
    parser.set_defaults(function=run_folds)


def _pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scans", required=True, metavar="TSV", help="scans.tsv with participant_id and phenotypes")
    parser.add_argument("--measures", metavar="TSV", help="measures.tsv: only its scans are in the cohort")
    parser.add_argument("--maps-dir", required=True, metavar="DIR", help="preprocess folder with the maps")
    parser.add_argument("--map", default="vbm", choices=("vbm", "quasi-raw"), help="which map the encoder sees")
    parser.add_argument("--template", default="", help="template name in the maps' file names")
    parser.add_argument("--pattern", default="", help="file name with {scan} and {template}, for other maps")
    parser.add_argument("--voxel-mm", type=float, default=0.0, help="packed voxel size in mm (0: as the maps)")
    parser.add_argument("--crop", default="", help='JSON [[x0,x1],[y0,y1],[z0,z1]] in map voxels; "" = automatic')
    parser.add_argument("--dtype", default="float16", choices=("float16", "uint8", "float32"), help="stored type")
    parser.add_argument("--scale", type=float, default=0.0, help="true value of a stored 1 (0: automatic)")
    parser.add_argument("--threads", type=int, default=1, help="maps read at a time")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the packed arrays")
    parser.set_defaults(function=run_pack)


def _take(parser: argparse.ArgumentParser) -> None:
    source_flags(parser)
    parser.add_argument("--map", default="vbm", choices=("vbm", "quasi-raw"), help="which map the encoder sees")
    parser.add_argument("--voxel-mm", type=float, default=0.0, help="packed voxel size in mm (0: as the maps)")
    parser.add_argument("--crop", default="", help='JSON [[x0,x1],[y0,y1],[z0,z1]] in map voxels; "" = automatic')
    parser.add_argument("--dtype", default="float16", choices=("float16", "uint8", "float32"), help="stored type")
    parser.add_argument("--threads", type=int, default=1, help="maps read at a time")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the packed arrays")
    parser.set_defaults(function=run_take)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arrays", required=True, metavar="DIR", help="folder of packed arrays")
    parser.add_argument("--measures", metavar="TSV", help="measures.tsv, for methods that need measures")
    parser.add_argument("--folds", required=True, metavar="TSV", help="folds.tsv")
    parser.add_argument("--fold", type=int, required=True, help="fold that is held out (-1: none)")
    parser.add_argument("--method", required=True, help="pretraining method, e.g. anatcl-global")
    parser.add_argument("--query", default="", help="pandas query on rows.tsv: which rows belong to the cohort")
    for flag, kind, text in TRAIN_OPTIONS:
        name = "lambda_" if flag == "--lambda" else flag[2:].replace("-", "_")
        parser.add_argument(flag, dest=name, type=kind, default=argparse.SUPPRESS, help=text)
    parser.add_argument("--options", default="{}", help="JSON of further options; overrides the flags")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes that share each batch, one per GPU (torchrun)"
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes that each start --processes (srun)")
    device_flags(parser)
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the encoder")
    parser.set_defaults(function=run_train)


def _openbhb(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the release")
    parser.add_argument("--layout", default="tree", choices=("tree", "ramp"), help="one .npy per subject, or RAMP rows")
    parser.add_argument("--map", default="vbm", choices=("vbm", "quasi-raw"), help="which map to pack")
    parser.add_argument("--masks", default="", metavar="DIR", help="folder of the mask images (RAMP rows)")
    parser.add_argument("--labels", default="", metavar="TXT", help="region names of the measures, one per line")
    parser.add_argument("--voxel-mm", type=float, default=0.0, help="packed voxel size in mm (0: as the maps)")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of arrays and measures.tsv")
    parser.set_defaults(function=run_openbhb)


def _shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="TAR_OR_DIR", help="shards, or folders that hold them")
    parser.add_argument("--map", default="vbm", choices=("vbm", "quasi-raw"), help="which map they hold")
    parser.add_argument("--field", default="", metavar="END", help="end of the map's name in a sample, e.g. gm.npy")
    parser.add_argument("--people", metavar="TSV", help="table of phenotypes with the samples' identifiers")
    parser.add_argument("--grid-of", metavar="NIFTI", help="image on the grid of .npy maps (default: the published)")
    parser.add_argument("--voxel-mm", type=float, default=0.0, help="packed voxel size in mm (0: as the maps)")
    parser.add_argument("--threads", type=int, default=1, help="maps that are read at once")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the arrays")
    parser.set_defaults(function=run_shards)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", required=True, help="file, URL, or published name such as anatcl-g3/global/fold-0")
    parser.add_argument("--sha256", default="", help="digest the file must have (needed for a URL)")
    parser.add_argument("--cache", default="~/.cache/anatcl", metavar="DIR", help="folder of downloads")
    parser.add_argument("--encoder", default="resnet18", help="network of the weights")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the network was trained on volumes with left and right exchanged",
    )
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the bundle")
    parser.set_defaults(function=run_import)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="folder with encoder.safetensors and model.json")
    parser.add_argument("--format", default="safetensors", choices=("safetensors", "onnx", "hf"), help="what to write")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write; for hf a folder")
    parser.add_argument(
        "--with-participants",
        action="store_true",
        help="write the names of the training participants, not their SHA-256",
    )
    parser.set_defaults(function=run_export)


def _cohort(scans: str, measures: str | None) -> Any:
    from anatcl.base.files import read_tsv

    table = read_tsv(scans)
    return table[table["scan"].isin(read_tsv(measures)["scan"])] if measures else table


def run_folds(args: argparse.Namespace) -> None:
    """Write folds.tsv."""
    from anatcl.base.files import write_tsv
    from anatcl.pretrain.folds import make_folds

    write_tsv(args.out, make_folds(_cohort(args.scans, args.measures), args.folds, args.seed, args.group))


def run_pack(args: argparse.Namespace) -> None:
    """Write volumes.npy, rows.tsv and arrays.json."""
    import json

    from anatcl.pretrain.pack import pack

    crop = json.loads(args.crop) if args.crop else None
    pack(
        _cohort(args.scans, args.measures),
        args.maps_dir,
        args.out_dir,
        map_name=args.map,
        template=args.template,
        voxel_mm=args.voxel_mm,
        crop=crop,
        pattern=args.pattern,
        dtype=args.dtype,
        scale=args.scale,
        threads=args.threads,
    )


def run_take(args: argparse.Namespace) -> None:
    """Write volumes.npy, rows.tsv and arrays.json of maps that are there already."""
    import json

    from anatcl.base.files import read_tsv
    from anatcl.pretrain.taken import pack_maps, pack_release, take_packed
    from anatcl.spec.openbhb import MAPS, RELEASE

    scans = read_tsv(args.scans)
    if args.source not in (MAPS, RELEASE):
        take_packed(scans, args.root, args.out_dir, args.map)
        return
    pack = pack_release if args.source == RELEASE else pack_maps
    pack(
        scans,
        args.root,
        args.out_dir,
        map_name=args.map,
        voxel_mm=args.voxel_mm,
        crop=json.loads(args.crop) if args.crop else None,
        dtype=args.dtype,
        threads=args.threads,
    )


def run_train(args: argparse.Namespace) -> int:
    """Train one method without one fold."""
    import json

    from anatcl.pretrain.distributed import relaunch

    relaunch(args.processes, args.nodes)
    from anatcl.pretrain.device import prepare_process
    from anatcl.pretrain.train import Inputs, train
    from anatcl.spec.training import Options

    prepare_process()
    flags = ("lambda_" if flag == "--lambda" else flag[2:].replace("-", "_") for flag, *_ in TRAIN_OPTIONS)
    options = Options.parse({name: getattr(args, name) for name in flags if name in args} | json.loads(args.options))
    inputs = Inputs(args.arrays, args.folds, args.fold, args.method, args.out_dir, args.measures, args.query)
    return train(inputs, options, args.device, args.precision, args.deterministic, args.threads)


def run_openbhb(args: argparse.Namespace) -> None:
    """Pack a public OpenBHB release."""
    from pathlib import Path

    from anatcl.pretrain.openbhb import read_ramp, read_tree

    labels = Path(args.labels).read_text(encoding="utf-8").split() if args.labels else None
    if args.layout == "tree":
        read_tree(args.root, args.out_dir, args.map, args.voxel_mm, labels=labels)
    else:
        masks = args.masks or args.root
        read_ramp(args.root, args.out_dir, masks, map_name=args.map, voxel_mm=args.voxel_mm, labels=labels)


def run_shards(args: argparse.Namespace) -> None:
    """Pack WebDataset shards."""
    from anatcl.pretrain.shards import pack_shards

    pack_shards(
        args.sources,
        args.out_dir,
        map_name=args.map,
        field=args.field,
        people=args.people,
        grid_of=args.grid_of,
        voxel_mm=args.voxel_mm,
        threads=args.threads,
    )


def run_import(args: argparse.Namespace) -> None:
    """Turn published weights into a bundle."""
    from anatcl.pretrain.official import import_weights

    import_weights(args.weights, args.out_dir, args.sha256, args.cache, args.encoder, args.flip)


def run_export(args: argparse.Namespace) -> None:
    """Write an encoder for other programs."""
    from anatcl.pretrain.export import export

    export(args.bundle, args.out, args.format, args.with_participants)
