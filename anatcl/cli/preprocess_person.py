"""``python -m anatcl preprocess person_template`` and ``person_align``: the mean scan of a participant."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anatcl.cli.preprocess_flags import facts, paths, step


def add_persons(steps: Any) -> None:
    """Add both steps."""
    parser = step(steps, "person_template", "mean of a participant's scans, halfway between them", _run_template)
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="PATH", help="bias-corrected scans")
    paths(parser, template_dir="folder of the step template", out="the mean")
    parser = step(
        steps, "person_align", "rigid transform from a scan to the mean of its participant's scans", _run_align
    )
    paths(
        parser,
        image="bias-corrected scan",
        mean="mean of the participant's scans",
        brain="brain mask of the mean",
        about="sidecar of the mean",
        out="rigid transform, mean to scan (ITK text)",
    )


def _run_template(args: argparse.Namespace) -> None:
    from anatcl.preprocess.person import person_template
    from anatcl.preprocess.sidecar import described
    from anatcl.preprocess.template import Template
    from anatcl.spec.recipe import load_recipe

    settings = load_recipe(args.recipe, "register")
    said = facts(args, settings) | {"Description": "Mean of the participant's scans, halfway between them."}
    with described([args.out], args.images, **said, SkullStripped=False) as record:
        template = Template(args.template_dir)
        record |= person_template(args.images, template, args.out, settings, args.threads, args.seed)


def _run_align(args: argparse.Namespace) -> None:
    from anatcl.preprocess.person import person_align
    from anatcl.preprocess.sidecar import described
    from anatcl.spec.recipe import load_recipe

    settings = load_recipe(args.recipe, "register")
    sources = [args.image, args.mean, args.brain]
    with described([args.out], sources, **facts(args, settings)) as record:
        files = (args.image, args.mean, args.brain, args.about, args.out)
        record |= person_align(*files, settings, args.threads, args.seed)
