"""``python -m anatcl embed``: from images to a table of embeddings with one bundle."""

from __future__ import annotations

import argparse
from typing import Any

from anatcl.cli.pretrain import device_flags

DESCRIPTION = """Embed images with a trained encoder. Preprocessed maps (of the preprocess stage, CAT12 mwp1) are
checked against the encoder's model.json and used as they are; raw T1w scans go through the preprocess stage first.
An image that cannot be used, or is beyond a quality limit, is listed and left out of the
table. Its columns are scan, participant_id, e000 ...; evaluate: features can read it without changes."""


def register(stages: Any) -> None:
    """Add the parser of this command."""
    parser = stages.add_parser("embed", help="embed T1w scans or maps with a trained encoder", description=DESCRIPTION)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder with encoder.safetensors and model.json")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="raw T1w scans or preprocessed maps (NIfTI)")
    parser.add_argument("--out", required=True, metavar="TSV", help="table of embeddings to write")
    parser.add_argument(
        "--out-excluded", default="", metavar="TSV", help="list of what is left out (default: beside --out)"
    )
    parser.add_argument(
        "--gate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the workflow's quality limits, for raw scans",
    )
    parser.add_argument("--recipe", default="fast", help="of raw scans: precise, fast, testing, or a file")
    parser.add_argument(
        "--work-dir",
        default="",
        metavar="DIR",
        help="folder in which to keep the preprocessed files (default: temporary)",
    )
    device_flags(parser)
    parser.set_defaults(function=run_embed)


def run_embed(args: argparse.Namespace) -> None:
    """Write the table of embeddings."""
    import contextlib
    import tempfile

    from anatcl.pretrain.bundle import load_encoder
    from anatcl.pretrain.device import applied, for_embedding, prepare_process
    from anatcl.pretrain.embed_images import embed_images
    from anatcl.pretrain.raw import FromRaw

    prepare_process()
    description = load_encoder(args.bundle)[1]
    device = for_embedding(description["architecture"], args.device, args.precision, args.threads, args.deterministic)
    kept = contextlib.nullcontext(args.work_dir) if args.work_dir else tempfile.TemporaryDirectory()
    with kept as folder, applied(device):
        prepare = FromRaw(description["input"], folder, args.recipe, max(1, args.threads), gate=args.gate)
        listed = args.out_excluded or f"{args.out.removesuffix('.tsv')}_excluded.tsv"
        embed_images(args.bundle, args.images, args.out, device, prepare, listed)
