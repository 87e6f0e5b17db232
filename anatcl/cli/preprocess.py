"""``python -m anatcl preprocess <step>``: bias_correct, skullstrip, register, segment, qc; and template, once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anatcl.cli.preprocess_flags import facts, paths, person_flag, step
from anatcl.cli.preprocess_person import add_persons


def register(stages: Any) -> None:
    """Add the stage's steps to the command line."""
    stage = stages.add_parser("preprocess", help="masks, registration and tissue maps of one scan, by ANTs")
    steps = stage.add_subparsers(dest="step", metavar="STEP", required=True)
    _template(steps)
    _bias_correct(steps)
    _skullstrip(steps)
    _register(steps)
    add_persons(steps)
    _segment(steps)
    _qc(steps)
    _chunk(steps)
    _gate(steps)


def _template(steps: Any) -> None:
    parser = steps.add_parser("template", help="write the template's volumes for all scans, once")
    parser.add_argument("--template", required=True, help="shipped name or YAML file")
    parser.add_argument("--recipe", required=True, help="its template_mm sets the voxel size")
    paths(parser, out_dir="folder for the volumes")
    parser.set_defaults(function=_run_template)


def _run_template(args: argparse.Namespace) -> None:
    from anatcl.preprocess.template import prepare
    from anatcl.spec.recipe import load_recipe

    prepare(args.template, load_recipe(args.recipe)["template_mm"], args.out_dir)


def _bias_correct(steps: Any) -> None:
    parser = step(steps, "bias_correct", "check one scan and remove its bias field (N4)", _run_bias_correct)
    paths(parser, image="raw T1w scan", out="corrected scan, on the raw grid")


def _run_bias_correct(args: argparse.Namespace) -> None:
    from anatcl.preprocess.bias_correct import bias_correct
    from anatcl.preprocess.sidecar import described
    from anatcl.spec.recipe import load_recipe

    settings = load_recipe(args.recipe, "bias_correct")
    with described([args.out], [args.image], **facts(args, settings), SkullStripped=False) as record:
        record |= bias_correct(args.image, args.out, settings, args.threads, args.seed)


def _skullstrip(steps: Any) -> None:
    parser = step(steps, "skullstrip", "find the brain mask and the intracranial mask", _run_skullstrip)
    paths(
        parser,
        image="bias-corrected scan",
        template_dir="folder of the step template",
        out_brain="brain mask",
        out_icv="intracranial mask; its volume is TIV",
        out_affine="affine from template to scan, where the registration starts (ITK text)",
    )
    parser.add_argument(
        "--method",
        choices=["auto", "ants", "deepbet", "mask", "none"],
        default="auto",
        help="where the masks come from; auto: as in the recipe",
    )
    parser.add_argument("--mask", type=Path, nargs="?", metavar="PATH", help="given brain mask, for --method mask")
    person_flag(
        parser,
        "instead of finding masks, warp those of the participant's mean scan: rigid transform between the two "
        "(ITK text), its brain mask, its intracranial mask, its affine from the template",
    )
    parser.add_argument("--retry", choices=["none", "deepbet"], default="none", help="what replaces implausible masks")
    parser.add_argument("--compare", choices=["none", "deepbet"], default="none", help="second opinion on the masks")
    parser.add_argument("--limits", default="{}", metavar="JSON", help="limits of image-quality metrics, for --retry")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where deepbet runs")


def _run_skullstrip(args: argparse.Namespace) -> None:
    import json

    from anatcl.base.errors import InputError
    from anatcl.preprocess.person_start import Start
    from anatcl.preprocess.second_opinion import Ask
    from anatcl.preprocess.sidecar import described
    from anatcl.preprocess.skullstrip import skullstrip
    from anatcl.preprocess.template import Template
    from anatcl.spec.recipe import load_recipe

    settings = load_recipe(args.recipe, "skullstrip")
    if args.method == "mask" and args.mask is None:
        cure = "Make the file that preprocess: skullstrip: masks names for it, or leave the scan out."
        raise InputError("there is no mask for this scan.", args.image, cure)
    sources = [args.image] + ([args.mask] if args.method == "mask" else []) + args.person
    with described([args.out_brain, args.out_icv], sources, **facts(args, settings), Type="Brain") as record:
        record |= skullstrip(
            args.image,
            Template(args.template_dir),
            out_brain=args.out_brain,
            out_icv=args.out_icv,
            out_affine=args.out_affine,
            settings=settings,
            method=args.method,
            given=args.mask,
            person=Start(*args.person) if args.person else None,
            ask=Ask(args.compare, args.retry, json.loads(args.limits), args.device),
            threads=args.threads,
            seed=args.seed,
        )


def _register(steps: Any) -> None:
    parser = step(steps, "register", "register the brain to the template (affine, then SyN)", _run_register)
    paths(
        parser,
        image="bias-corrected scan",
        mask="brain mask",
        start="affine of the step skullstrip",
        template_dir="folder of the step template",
        out_affine="affine, scan to template (.mat)",
        out_forward="composite, scan to template (.h5)",
        out_inverse="composite, template to scan (.h5)",
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "ants", "greedy"],
        default="auto",
        help="engine of the deformable registration; auto: as in the recipe",
    )
    person_flag(
        parser,
        "instead of registering, use the transforms of the participant's mean scan: rigid transform between the two "
        "(ITK text), then its affine, its forward and its inverse composite",
    )


def _run_register(args: argparse.Namespace) -> None:
    from anatcl.preprocess.person_start import Carried
    from anatcl.preprocess.register import carry_over
    from anatcl.preprocess.register import register as run
    from anatcl.preprocess.sidecar import described
    from anatcl.preprocess.template import Template
    from anatcl.spec.recipe import load_recipe

    settings = load_recipe(args.recipe, "register")
    outputs = [args.out_affine, args.out_forward, args.out_inverse]
    made = {"out_affine": args.out_affine, "out_forward": args.out_forward, "out_inverse": args.out_inverse}
    made |= {"threads": args.threads, "seed": args.seed}
    template = Template(args.template_dir)
    sources = [args.image, args.mask, *args.person]
    said = facts(args, settings) | {"Longitudinal": bool(args.person)}
    with described(outputs, sources, transforms=[args.start], **said) as record:
        if args.person:
            record |= carry_over(args.image, Carried(*args.person), template, **made)
        else:
            begin = (args.image, args.mask, args.start, template)
            record |= run(*begin, settings=settings, engine=args.engine, **made)


def _segment(steps: Any) -> None:
    parser = step(steps, "segment", "tissue maps (Atropos, then fractions), VBM map and quasi-raw map", _run_segment)
    paths(
        parser,
        image="bias-corrected scan",
        brain="brain mask",
        icv="intracranial mask",
        affine="affine, scan to template",
        forward="composite, scan to template",
        inverse="composite, template to scan",
        template_dir="folder of the step template",
        out_dseg="labels 1 CSF, 2 GM, 3 WM",
        out_csf="fraction of CSF (or posterior, by the recipe's method)",
        out_gm="fraction of grey matter (or posterior, by the recipe's method)",
        out_wm="fraction of white matter (or posterior, by the recipe's method)",
        out_vbm="modulated grey matter, 1.5 mm, 121 x 145 x 121",
        out_quasi_raw="stripped scan by the affine alone, 1 mm, 182 x 218 x 182",
    )


def _run_segment(args: argparse.Namespace) -> None:
    from anatcl.preprocess.segment import Paths, segment
    from anatcl.preprocess.sidecar import described
    from anatcl.preprocess.template import Template
    from anatcl.spec.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    out = Paths(args.out_dseg, args.out_csf, args.out_gm, args.out_wm, args.out_vbm, args.out_quasi_raw)
    outputs = [out.dseg, out.csf, out.gm, out.wm, out.vbm, out.quasi_raw]
    used = {"transforms": [args.affine, args.forward, args.inverse], "template": args.template_dir / "brain.nii.gz"}
    with described(outputs, [args.image, args.brain, args.icv], **used, **facts(args, recipe["segment"])) as record:
        record[out.quasi_raw.name] = {"SkullStripped": True}
        record |= segment(
            args.image,
            args.brain,
            args.icv,
            affine=args.affine,
            forward=args.forward,
            inverse=args.inverse,
            template=Template(args.template_dir),
            out=out,
            settings=recipe["segment"],
            threads=args.threads,
            seed=args.seed,
        )


def _qc(steps: Any) -> None:
    parser = step(steps, "qc", "image-quality metrics and one picture of a scan", _run_qc)
    paths(
        parser,
        image="bias-corrected scan",
        brain="brain mask",
        icv="intracranial mask",
        dseg="tissue labels",
        forward="composite, scan to template",
        vbm="VBM map (its sidecar holds the Jacobian)",
        template_dir="folder of the step template",
        out_json="numbers",
        out_png="picture",
    )


def _run_qc(args: argparse.Namespace) -> None:
    from anatcl.preprocess.qc import qc
    from anatcl.preprocess.template import Template

    qc(
        args.image,
        args.brain,
        args.icv,
        dseg=args.dseg,
        forward=args.forward,
        vbm=args.vbm,
        template=Template(args.template_dir),
        out_json=args.out_json,
        out_png=args.out_png,
        threads=args.threads,
        seed=args.seed,
    )


def _chunk(steps: Any) -> None:
    parser = steps.add_parser("chunk", help="join the image-quality metrics of some scans")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE", help="metrics of single scans")
    paths(parser, root="folder that the scans' names begin in", out="table, a row per scan")
    parser.set_defaults(function=_run_chunk)


def _run_chunk(args: argparse.Namespace) -> None:
    from anatcl.base.files import write_tsv
    from anatcl.preprocess.gate import join

    write_tsv(args.out, join(args.inputs, args.root))


def _gate(steps: Any) -> None:
    parser = steps.add_parser("gate", help="one table of all image-quality metrics, and which scans pass the limits")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE", help="tables of the chunks")
    parser.add_argument("--limits", required=True, metavar="JSON", help="limits, and scans to accept or reject")
    paths(
        parser,
        template_dir="folder of the step template",
        out="table, a row per scan",
        out_excluded="scans that failed, with reasons and remedies",
        out_description="dataset_description.json of the derivatives",
    )
    parser.set_defaults(function=_run_gate)


def _run_gate(args: argparse.Namespace) -> None:
    import json

    from anatcl.preprocess.dataset import describe
    from anatcl.preprocess.gate import gate_cohort

    gate_cohort(args.inputs, json.loads(args.limits), args.out, args.out_excluded)
    describe(args.template_dir, args.out_description)
