"""``python -m anatcl evaluate decode | perturbed``: what embeddings hold, and what changed scans cost."""

from __future__ import annotations

import argparse

from anatcl.spec.names import PERTURBATIONS


def register(steps: argparse._SubParsersAction) -> None:
    """Add the steps."""
    _decode(steps)
    _perturbed(steps)


def perturb_flag(step: argparse.ArgumentParser) -> None:
    """Add ``--perturb``."""
    step.add_argument(
        "--perturb", default="", choices=["", *PERTURBATIONS], help="change the scans that are embedded (default: not)"
    )


def _decode(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("decode", help="R2 of each regional measure, predicted from an embedding for unseen people")
    _common(step)
    step.add_argument("--embeddings-dir", required=True, metavar="DIR", help="folder of fold-*/embeddings.npz")
    step.add_argument(
        "--adjust", nargs="*", default=["age", "sex", "tiv_mm3"], metavar="NAME",
        help="columns that the measures are residual on (default: age sex tiv_mm3)",
    )  # fmt: skip
    step.set_defaults(function=_run_decode)


def _perturbed(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("perturbed", help="change of a score when tested scans are changed, probes of clean ones")
    step.add_argument("--task", required=True, metavar="TASK", help="as of `evaluate task`")
    _common(step)
    step.add_argument("--clean-dir", required=True, metavar="DIR", help="embeddings of the method")
    step.add_argument(
        "--perturbed-dir", required=True, metavar="DIR",
        help="folder with {perturbation}/{method}: embeddings of `evaluate embed --perturb`",
    )  # fmt: skip
    step.add_argument("--perturb", required=True, nargs="+", choices=PERTURBATIONS, help="which perturbations")
    step.add_argument("--site-column", default="site", metavar="NAME", help="column of the site (default site)")
    step.set_defaults(function=_run_perturbed)


def _common(step: argparse.ArgumentParser) -> None:
    step.add_argument("--method", required=True, metavar="NAME", help="name of the method in the tables")
    step.add_argument("--seeds", type=int, metavar="N", help="seeds of its encoders that are read (default all)")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv with the phenotypes")
    step.add_argument("--folds", required=True, metavar="FILE", help="folds.tsv: participant_id, fold")
    step.add_argument("--measures", required=True, metavar="FILE", help="measures.tsv")
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of inner folds and bootstrap (default 0)")
    step.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples of people (default 1000)")
    step.add_argument("--out", required=True, metavar="FILE", help="table to write (TSV)")


def _run_decode(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.decode import run_decode

    run_decode(
        args.method,
        args.embeddings_dir,
        args.scans,
        args.folds,
        args.measures,
        args.out,
        adjust=args.adjust,
        seeds=args.seeds,
        n_bootstrap=args.bootstrap,
        seed=args.seed,
    )


def _run_perturbed(args: argparse.Namespace) -> None:
    from pathlib import Path

    from anatcl.evaluate.steps.perturbed import run_perturbed

    run_perturbed(
        args.task,
        args.method,
        args.clean_dir,
        {kind: Path(args.perturbed_dir) / kind / args.method for kind in args.perturb},
        args.scans,
        args.folds,
        args.out,
        measures=args.measures,
        site_column=args.site_column,
        seeds=args.seeds,
        n_bootstrap=args.bootstrap,
        seed=args.seed,
    )
