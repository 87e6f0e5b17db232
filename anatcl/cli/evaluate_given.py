"""The step ``evaluate embed-given``: an outside encoder."""

from __future__ import annotations

import argparse


def register(steps: argparse._SubParsersAction) -> None:
    """Add the step."""
    step = steps.add_parser("embed-given", help="run an outside encoder over the maps of the preprocess stage")
    step.add_argument("--encoder", required=True, metavar="JSON", help="value of evaluate: encoders: NAME")
    step.add_argument(
        "--member", type=int, default=0, metavar="N", help="which of several files of weights (default 0)"
    )
    step.add_argument("--maps-dir", metavar="DIR", help="folder of the preprocess stage")
    step.add_argument("--arrays", metavar="DIR", help="folder of packed arrays, if there are no files of maps")
    step.add_argument("--template", default="", metavar="NAME", help="template in the maps' file names")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv")
    step.add_argument("--measures", metavar="FILE", help="measures.tsv: only its scans are in the cohort")
    step.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    step.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (default 1)")
    step.add_argument(
        "--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"], help="number type (default auto)"
    )
    step.add_argument("--batch", type=int, default=0, metavar="N", help="volumes per batch (default: by device)")
    step.add_argument("--out", required=True, metavar="FILE", help="embeddings.npz to write, model.json beside it")
    step.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.embed_given import embed_given, maps_of
    from anatcl.pretrain.device import prepare_process

    prepare_process()
    maps = maps_of(args.maps_dir, args.template, args.scans, args.measures, args.arrays)
    how = {"device": args.device, "threads": args.threads, "batch": args.batch, "precision": args.precision}
    embed_given(args.encoder, args.member, maps, args.out, **how)
