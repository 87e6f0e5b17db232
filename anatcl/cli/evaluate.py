"""``python -m anatcl evaluate``: embed, task, finetune, interpret, scores, table, tables, audit and what they need."""

from __future__ import annotations

import argparse

from anatcl.cli import evaluate_finetune, evaluate_given, evaluate_held, evaluate_interpret, evaluate_tables


def register(stages: argparse._SubParsersAction) -> None:
    """Add the stage and its steps."""
    parser = stages.add_parser("evaluate", help="frozen embeddings, probes, scores with intervals, tests")
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    _embed(steps)
    evaluate_given.register(steps)
    _rival(steps)
    _task(steps)
    evaluate_finetune.register(steps)
    evaluate_interpret.register(steps)
    evaluate_held.register(steps)
    _scores(steps)
    _table(steps)
    evaluate_tables.register(steps)
    _audit(steps)
    _confounds(steps)
    _phenotypes(steps)


def _embed(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("embed", help="run a frozen encoder over the packed volumes")
    step.add_argument("--arrays", required=True, metavar="DIR", help="folder of volumes.npy, rows.tsv, arrays.json")
    step.add_argument("--encoder", required=True, metavar="DIR", help="folder of encoder.safetensors and model.json")
    step.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    step.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (default 1)")
    step.add_argument(
        "--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"], help="number type (default auto)"
    )
    step.add_argument("--batch", type=int, default=0, metavar="N", help="volumes per batch (default: by device)")
    step.add_argument(
        "--reinitialise",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help="draw new initial weights from these seeds",
    )
    evaluate_held.perturb_flag(step)
    step.add_argument("--folds", metavar="FILE", help="folds.tsv: embed only the people tested in --fold")
    step.add_argument("--fold", type=int, default=-1, metavar="K", help="fold of --folds")
    step.add_argument("--out", required=True, metavar="FILE", help="embeddings.npz to write")
    step.set_defaults(function=_run_embed)


def _run_embed(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.embed import embed
    from anatcl.pretrain.device import prepare_process

    prepare_process()
    embed(
        args.arrays,
        args.encoder,
        args.out,
        device=args.device,
        threads=args.threads,
        batch=args.batch,
        precision=args.precision,
        reinitialise=tuple(args.reinitialise),
        perturb=args.perturb,
        folds=args.folds,
        fold=args.fold,
    )


def _rival(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser(
        "rival", help="linear voxel baseline: principal components, or ridge regression to regional measures"
    )
    step.add_argument("--kind", required=True, choices=["voxel-pca", "voxel-ridge"], help="which rival")
    step.add_argument("--arrays", required=True, metavar="DIR", help="folder of volumes.npy, rows.tsv, arrays.json")
    step.add_argument("--folds", required=True, metavar="FILE", help="folds.tsv: participant_id, fold")
    step.add_argument("--fold", required=True, type=int, metavar="K", help="fold whose participants are held out")
    step.add_argument("--measures", metavar="FILE", help="measures.tsv, for voxel-ridge")
    evaluate_held.perturb_flag(step)
    step.add_argument("--out", required=True, metavar="FILE", help="embeddings.npz to write")
    step.add_argument(
        "--out-model", required=True, metavar="FILE", help="model.json to write: the participants that it was fitted on"
    )
    step.set_defaults(function=_run_rival)


def _run_rival(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.rivals import run_rival

    run_rival(args.arrays, args.folds, args.fold, args.kind, args.out, args.out_model, args.measures, args.perturb)


def _task(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("task", help="probe one method on one task")
    step.add_argument("--task", required=True, metavar="TASK", help="JSON, a YAML or JSON file, or a shipped name")
    step.add_argument("--method", required=True, metavar="NAME", help="name of the method in the tables")
    step.add_argument("--embeddings-dir", metavar="DIR", help="folder of fold-*/embeddings.npz of the method")
    step.add_argument("--seeds", type=int, metavar="N", help="seeds of its encoders that are read (default all)")
    step.add_argument("--features", metavar="FILE", help="table of features instead (TSV or CSV)")
    step.add_argument(
        "--feature-set",
        default="all",
        metavar="SET",
        help="regional-measures, tissue-volumes, age-sex-tiv, confounds, majority-median, all, or a regular expression "
        "of column names (default all)",
    )
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv with the phenotypes")
    step.add_argument("--folds", metavar="FILE", help="folds.tsv: participant_id, fold (protocols folds and few-shot)")
    step.add_argument("--measures", metavar="FILE", help="measures.tsv, whose global volumes (mm3) join the scans")
    step.add_argument("--quality", metavar="FILE", help="qc.tsv, whose image-quality metrics join the scans")
    step.add_argument(
        "--confounds", nargs="*", default=[], metavar="NAME", help="columns that count as confounds, e.g. motion"
    )
    step.add_argument(
        "--protocol",
        nargs="+",
        default=["folds"],
        metavar="PROTOCOL",
        help="one or more of folds, repeated, leave-site-out, transfer, few-shot, or JSON with kind, folds, repeats, "
        "column, train, test, sizes, probe (linear or knn); default folds",
    )
    step.add_argument(
        "--pretrained",
        metavar="DIR",
        help="fold-*/model.json of the method: abort if one of its training participants is tested",
    )
    step.add_argument(
        "--shuffles",
        type=int,
        default=-1,
        metavar="N",
        help="repetitions with shuffled labels (default: by cohort size)",
    )
    step.add_argument(
        "--shuffle-within",
        nargs="?",
        const="",
        default="",
        metavar="NAME",
        help="column within which labels are shuffled",
    )
    step.add_argument(
        "--own", metavar="JSON", help="a baseline of your own instead of the linear probe: {baseline, arguments}"
    )
    step.add_argument("--site-column", default="site", metavar="NAME", help="column of the site (default site)")
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of folds and bootstrap (default 0)")
    step.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="bootstrap resamples of participants (default 1000)"
    )
    step.add_argument("--out-predictions", required=True, metavar="FILE", help="predictions to write (TSV)")
    step.add_argument("--out-scores", required=True, metavar="FILE", help="scores to write (TSV)")
    step.set_defaults(function=_run_task)


def _run_task(args: argparse.Namespace) -> None:
    import json

    from anatcl.evaluate.steps.task import Settings, run_task
    from anatcl.spec.baselines import OwnBaseline

    run_task(
        args.task,
        args.method,
        args.scans,
        args.folds,
        args.out_predictions,
        args.out_scores,
        embeddings_dir=args.embeddings_dir,
        seeds=args.seeds,
        features=args.features,
        feature_set=args.feature_set,
        measures=args.measures,
        quality=args.quality,
        settings=Settings(
            args.protocol,
            args.seed,
            args.bootstrap,
            args.shuffles,
            args.pretrained,
            args.site_column,
            args.confounds,
            args.shuffle_within,
            OwnBaseline.parse(json.loads(args.own), "baseline") if args.own else None,
        ),
    )


def _scores(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("scores", help="join the scores of all methods and tasks; compare methods in pairs")
    step.add_argument("--inputs", nargs="*", default=[], metavar="FILE", help="score tables of single tasks")
    step.add_argument(
        "--predictions", nargs="*", default=[], metavar="FILE", help="their predictions, for paired tests"
    )
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the paired bootstrap (default 0)")
    step.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="bootstrap resamples of participants (default 1000)"
    )
    step.add_argument("--out", required=True, metavar="FILE", help="scores.tsv to write")
    step.add_argument("--out-comparisons", metavar="FILE", help="paired tests (default: comparisons.tsv beside --out)")
    step.add_argument("--out-skipped", metavar="FILE", help="refused tasks (default: skipped.tsv beside --out)")
    step.add_argument(
        "--published", metavar="FILE", help="YAML of published figures (default: the shipped ones); none for none"
    )
    step.add_argument("--scans", metavar="FILE", help="scans.tsv, for subgroups")
    step.add_argument(
        "--subgroups", nargs="*", default=[], metavar="NAME", help="columns of subgroups, e.g. sex age site"
    )
    step.add_argument(
        "--out-subgroups", metavar="FILE", help="scores of subgroups (default: subgroups.tsv beside --out)"
    )
    step.set_defaults(function=_run_scores)


def _run_scores(args: argparse.Namespace) -> None:
    from anatcl.evaluate.statistics.published import SHIPPED
    from anatcl.evaluate.steps.gather import gather

    published = None if args.published == "none" else args.published or SHIPPED
    gather(
        args.inputs,
        args.predictions,
        args.out,
        comparisons=args.out_comparisons,
        skipped=args.out_skipped,
        scans=args.scans,
        subgroups=args.subgroups,
        out_subgroups=args.out_subgroups,
        published=published,
        seed=args.seed,
        n_bootstrap=args.bootstrap,
    )


def _table(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("table", help="a whole table, methods and tasks from one YAML file, without the workflow")
    step.add_argument("--config", required=True, metavar="FILE", help="YAML: scans, tasks, methods, protocols, ...")
    step.add_argument(
        "--where", nargs="*", default=[], metavar="NAME=DIR", help="folder for a word in braces in the file's paths"
    )
    step.add_argument("--out-dir", required=True, metavar="DIR", help="folder of predictions, scores.tsv, comparisons")
    step.set_defaults(function=_run_table)


def _run_table(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.table import run_table

    run_table(args.config, args.out_dir, dict(place.split("=", 1) for place in args.where))


def _audit(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("audit", help="look for leaks between pretraining and test; exit status 1 if there is one")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv of the tested cohort")
    step.add_argument(
        "--pretrained", required=True, nargs="+", metavar="DIR", help="folders of fold-*/model.json, one per method"
    )
    step.add_argument("--folds", metavar="FILE", help="folds.tsv, where the tested cohort is that of pretraining")
    step.add_argument("--arrays", metavar="DIR", help="packed volumes, searched for one scan under two names")
    step.add_argument("--aliases", metavar="FILE", help="table: participant_id, other_id (names in pretraining)")
    step.add_argument("--known-overlaps", metavar="FILE", help="shipped cohort (abide1) or YAML: known overlaps")
    step.add_argument("--cohort", default="", metavar="NAME", help="name of the pretraining cohort")
    step.add_argument("--out", required=True, metavar="FILE", help="audit.tsv to write")
    step.set_defaults(function=_run_audit)


def _run_audit(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.task import run_audit

    run_audit(
        args.scans,
        args.pretrained,
        args.out,
        folds=args.folds,
        arrays=args.arrays,
        aliases=args.aliases,
        known_overlaps=args.known_overlaps,
        cohort=args.cohort,
    )


def _confounds(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser(
        "confounds", help="association of each task's target with site, age, sex, head size and image quality"
    )
    step.add_argument("--tasks", required=True, nargs="+", metavar="TASK", help="as in `evaluate task`")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv with the phenotypes")
    step.add_argument("--measures", metavar="FILE", help="measures.tsv, for the head size")
    step.add_argument("--quality", metavar="FILE", help="qc.tsv, for image-quality metrics")
    step.add_argument("--confounds", nargs="*", default=[], metavar="NAME", help="further columns, e.g. motion")
    step.add_argument("--site-column", default="site", metavar="NAME", help="column of the site (default site)")
    step.add_argument("--out", required=True, metavar="FILE", help="confounds.tsv to write")
    step.set_defaults(function=_run_confounds)


def _run_confounds(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.confounds import run_confounds

    run_confounds(
        args.tasks,
        args.scans,
        args.out,
        measures=args.measures,
        quality=args.quality,
        extra=args.confounds,
        site_column=args.site_column,
    )


def _phenotypes(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("phenotypes", help="add the columns that a public cohort's tasks need to the scans table")
    step.add_argument("--cohort", required=True, metavar="COHORT", help="cohort file (YAML) or a shipped name (abide1)")
    step.add_argument("--source", required=True, metavar="DIR", help="folder of the release's own tables")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv")
    step.add_argument("--out", required=True, metavar="FILE", help="scans table to write")
    step.set_defaults(function=_run_phenotypes)


def _run_phenotypes(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.task import run_phenotypes

    run_phenotypes(args.cohort, args.source, args.scans, args.out)
