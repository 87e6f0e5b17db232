"""The step ``evaluate finetune``: encoders trained on one task."""

from __future__ import annotations

import argparse


def register(steps: argparse._SubParsersAction) -> None:
    """Add the step."""
    step = steps.add_parser("finetune", help="fine-tune the encoders of one method on one task")
    step.add_argument("--task", required=True, metavar="TASK", help="JSON, a YAML or JSON file, or a shipped name")
    step.add_argument("--method", required=True, metavar="NAME", help="name of the method in the tables")
    step.add_argument("--arrays", metavar="DIR", help="folder of volumes.npy, rows.tsv, arrays.json")
    step.add_argument("--encoder", metavar="JSON", help="value of evaluate: encoders: NAME (outside encoders)")
    step.add_argument("--maps-dir", metavar="DIR", help="folder of the preprocess stage, with --encoder (or --arrays)")
    step.add_argument("--template", default="", metavar="NAME", help="template in the maps' file names")
    step.add_argument("--measures", metavar="FILE", help="measures.tsv: only its scans are in the cohort")
    step.add_argument(
        "--pretrained", metavar="DIR", help="folder of fold-*/encoder.safetensors, or with --encoder of its model.json"
    )
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv with the phenotypes")
    step.add_argument("--folds", required=True, metavar="FILE", help="folds.tsv: participant_id, fold")
    step.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    step.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (default 1)")
    step.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over the training rows (default 10)")
    step.add_argument("--batch", type=int, default=8, metavar="N", help="volumes per step (default 8)")
    step.add_argument("--learning-rate", type=float, default=1e-4, metavar="X", help="of the encoder (default 1e-4)")
    step.add_argument("--site-column", default="site", metavar="NAME", help="column of the site (default site)")
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of training and bootstrap (default 0)")
    step.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="bootstrap resamples of participants (default 1000)"
    )
    step.add_argument("--out-predictions", required=True, metavar="FILE", help="predictions to write (TSV)")
    step.add_argument("--out-scores", required=True, metavar="FILE", help="scores to write (TSV)")
    step.add_argument("--out-dir", metavar="DIR", help="folder of the tuned networks, fold-*/")
    step.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from anatcl.base.errors import InputError
    from anatcl.evaluate.steps.embed_given import maps_of
    from anatcl.evaluate.steps.finetune import Ours, Theirs, Tuning, run_finetune
    from anatcl.evaluate.steps.task import Settings
    from anatcl.pretrain.device import prepare_process

    prepare_process()
    source: Ours | Theirs
    if args.encoder and (args.maps_dir or args.arrays):
        source = Theirs(args.encoder, maps_of(args.maps_dir, args.template, args.scans, args.measures, args.arrays))
    elif args.arrays and args.pretrained:
        source = Ours(args.arrays, args.pretrained)
    else:
        remedy = "Give --arrays and --pretrained, or --encoder and --maps-dir or --arrays."
        raise InputError("the encoder or the volumes to fine-tune on are not given.", None, remedy)
    run_finetune(
        args.task,
        args.method,
        source,
        args.scans,
        args.folds,
        args.out_predictions,
        args.out_scores,
        out_dir=args.out_dir,
        device=args.device,
        threads=args.threads,
        tuning=Tuning(args.epochs, args.batch, args.learning_rate),
        settings=Settings("folds", args.seed, args.bootstrap, 0, args.pretrained, args.site_column),
    )
