"""``python -m anatcl evaluate interpret | interpret-measures``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anatcl.evaluate.steps.interpret import Cohort


def register(steps: argparse._SubParsersAction) -> None:
    """Add both steps to those of the stage."""
    _interpret(steps)
    _interpret_measures(steps)


def _interpret(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("interpret", help="attribution map of an encoder and its probe, in template space")
    _cohort(step)
    step.add_argument("--measures", metavar="FILE", help="measures.tsv, whose global volumes (mm3) join the scans")
    step.add_argument("--arrays", required=True, metavar="DIR", help="folder of volumes.npy, rows.tsv, arrays.json")
    step.add_argument("--encoder", required=True, metavar="DIR", help="folder of encoder.safetensors and model.json")
    step.add_argument("--embeddings", required=True, metavar="FILE", help="embeddings.npz of that encoder")
    step.add_argument("--people", type=int, default=24, metavar="N", help="tested scans to average over (default 24)")
    step.add_argument("--steps", type=int, default=16, metavar="N", help="points of each path (default 16)")
    step.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    step.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (default 1)")
    step.add_argument("--out", required=True, metavar="FILE", help="the map, {method}_{task}.npz for the page")
    step.set_defaults(function=_run_interpret)


def _interpret_measures(steps: argparse._SubParsersAction) -> None:
    step = steps.add_parser("interpret-measures", help="attribution of each region in the measures baseline")
    _cohort(step)
    step.add_argument("--measures", required=True, metavar="FILE", help="measures.tsv")
    step.add_argument("--out", required=True, metavar="FILE", help="regional-measures_{task}.tsv for the page")
    step.set_defaults(function=_run_interpret_measures)


def _cohort(step: argparse.ArgumentParser) -> None:
    """What both read as `evaluate task` reads it."""
    step.add_argument("--task", required=True, metavar="TASK", help="JSON, a YAML or JSON file, or a shipped name")
    step.add_argument("--scans", required=True, metavar="FILE", help="scans.tsv with the phenotypes")
    step.add_argument("--folds", required=True, metavar="FILE", help="folds.tsv: participant_id, fold")
    step.add_argument("--site-column", default="site", metavar="NAME", help="column of the site (default site)")
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of `evaluate task` (default 0)")


def _read(args: argparse.Namespace) -> Cohort:
    from anatcl.evaluate.steps.interpret import Cohort

    return Cohort(args.scans, args.folds, args.measures, args.site_column, args.seed)


def _run_interpret(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.interpret import Effort, interpret_encoder

    effort = Effort(args.people, args.steps, args.device, args.threads)
    interpret_encoder(args.task, _read(args), args.arrays, args.encoder, args.embeddings, args.out, effort)


def _run_interpret_measures(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.interpret import interpret_measures

    interpret_measures(args.task, _read(args), args.out)
