"""Command line of the last stage: tables, page, runtime, methods text, summary."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from anatcl.base.errors import InputError


def register(stages: argparse._SubParsersAction) -> None:
    """Add the stage ``report`` and its steps."""
    stage = stages.add_parser("report", help="tables, page and methods text from the files of the other stages")
    stage.add_argument(
        "--anonymise", nargs="?", const=".", metavar="DIR",
        help="write the page of the finished run in DIR (default: here) without names, exact ages, paths and pictures "
        "of single heads, as results/report/anonymous.html",
    )  # fmt: skip
    stage.set_defaults(function=_anonymise)
    steps = stage.add_subparsers(dest="step", metavar="STEP")
    _register_tables(steps)
    _register_page(steps)
    _register_participants(steps)
    _register_cohort(steps)
    _register_runtime(steps)
    _register_excluded(steps)
    _register_methods(steps)
    _register_summary(steps)


def _register_tables(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("tables", help="benchmark tables as long TSV and wide Markdown, TeX, CSV")
    parser.add_argument("--scores", required=True, metavar="TSV", help="long table of scores of the evaluation")
    parser.add_argument("--comparisons", metavar="TSV", help="paired tests between methods, for bold and daggers")
    parser.add_argument("--out-benchmark", required=True, metavar="TSV", help="the long benchmark table")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the wide tables, one per task group")
    parser.set_defaults(function=_tables)


def _register_page(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("page", help="one self-contained HTML page")
    parser.add_argument("--benchmark", required=True, metavar="TSV", help="long benchmark table (`report tables`)")
    parser.add_argument("--tables-dir", metavar="DIR", help="folder of the wide tables, linked from the page")
    parser.add_argument("--scans", metavar="TSV", help="results/bids/scans.tsv")
    parser.add_argument("--measures", metavar="TSV", help="results/measures/measures.tsv")
    parser.add_argument("--reliability", metavar="TSV", help="results/measures/reliability.tsv, when repeats exist")
    parser.add_argument("--preprocess-dir", metavar="DIR", help="folder of {scan}_desc-qc.json and {scan}_desc-qc.png")
    parser.add_argument("--predictions-dir", metavar="DIR", help="results/evaluate: predictions and embeddings")
    parser.add_argument("--history-dir", metavar="DIR", help="results/pretrain: training histories")
    parser.add_argument("--excluded", metavar="TSV", help="joined exclusions (`report excluded`)")
    parser.add_argument("--notes", metavar="TSV", help="results/bids/notes.tsv: what the index accepted or repaired")
    parser.add_argument("--runtime", metavar="TSV", help="time and memory per rule (`report runtime`)")
    parser.add_argument("--methods", metavar="MD", help="methods text (`report methods`)")
    parser.add_argument("--interpretation-dir", metavar="DIR", help="maps of `evaluate interpret`, when there are any")
    parser.add_argument("--decoded", nargs="*", default=[], metavar="TSV", help="tables of `evaluate decode`")
    parser.add_argument("--perturbed", nargs="*", default=[], metavar="TSV", help="tables of `evaluate perturbed`")
    parser.add_argument("--config", metavar="YAML", help="resolved configuration, quoted in the page")
    parser.add_argument("--cohort-page", nargs="?", metavar="HTML", help="page of the cohort (`report cohort`), linked")
    parser.add_argument("--title", default="AnatCL benchmark report", help="title of the page")
    parser.add_argument("--gallery-limit", type=int, default=200, metavar="N",
                        help="scans whose pictures fit in the page; larger cohorts get gallery pages")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="HTML", help="the page")
    parser.set_defaults(function=_page)


def _register_participants(steps: argparse._SubParsersAction) -> None:
    text = "a page for each participant of some measured scans"
    parser = steps.add_parser("participants", help=text)
    parser.add_argument("--tables", nargs="+", required=True, metavar="TSV", help="measures of each scan")
    parser.add_argument(
        "--preprocess-dir", required=True, metavar="DIR", help="folder of image-quality metrics and pictures"
    )
    parser.add_argument("--measures-dir", required=True, metavar="DIR", help="folder of the surfaces' pictures")
    parser.add_argument("--people", default="{}", metavar="JSON", help="rows of the index by scan (age, sex, site)")
    parser.add_argument("--limits", required=True, metavar="JSON", help="limits, and the accepted and rejected scans")
    parser.add_argument("--freesurfer", metavar="DIR", help="source of the cohort tables' measures, if another")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the pages")
    parser.add_argument("--out", required=True, metavar="TSV", help="list of the pages")
    parser.set_defaults(function=_participants)


def _register_cohort(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("cohort", help="page of the cohort, before any training")
    parser.add_argument("--scans", required=True, metavar="TSV", help="results/bids/scans.tsv")
    parser.add_argument("--measures", required=True, metavar="TSV", help="results/measures/measures.tsv")
    parser.add_argument("--reliability", metavar="TSV", help="results/measures/reliability.tsv, when repeats exist")
    parser.add_argument(
        "--preprocess-dir", required=True, metavar="DIR", help="folder of image-quality metrics and pictures"
    )
    parser.add_argument("--measures-dir", metavar="DIR", help="folder whose records say how measures were taken")
    parser.add_argument("--excluded", nargs="*", default=[], metavar="TSV", help="excluded.tsv files of the stages")
    parser.add_argument("--failures-dir", metavar="DIR", help="folder of the markers of failed scans")
    parser.add_argument("--notes", metavar="TSV", help="results/bids/notes.tsv: what the index accepted or repaired")
    parser.add_argument("--pages", nargs="*", default=[], metavar="TSV", help="lists of pages (`report participants`)")
    parser.add_argument("--pages-dir", metavar="DIR", help="folder of those pages, beside this one")
    parser.add_argument("--options", default="{}", metavar="JSON", help="configuration of dataset and imaging")
    parser.add_argument("--title", default="AnatCL benchmark report", help="title of the page")
    parser.add_argument("--gallery-limit", type=int, default=200, metavar="N",
                        help="scans whose pictures fit in the page; larger cohorts get gallery pages")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="HTML", help="the page")
    parser.set_defaults(function=_cohort)


def _register_runtime(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("runtime", help="seconds and MiB per rule from Snakemake's benchmark files")
    parser.add_argument("--benchmarks-dir", required=True, metavar="DIR", help="folder of {rule}/**/*.tsv")
    parser.add_argument(
        "--out", required=True, metavar="TSV", help="jobs, total, median, max seconds, peak MiB per rule"
    )
    parser.set_defaults(function=_runtime)


def _register_excluded(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("excluded", help="join what every stage left out, with reasons and remedies")
    parser.add_argument("--tables", nargs="*", default=[], metavar="TSV", help="excluded.tsv files of the stages")
    parser.add_argument("--failures-dir", metavar="DIR", help="folder of the markers of failed scans")
    parser.add_argument("--out", required=True, metavar="TSV", help="the joined table")
    parser.set_defaults(function=_excluded)


def _register_methods(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("methods", help="methods text and BibTeX made from the records of the run")
    parser.add_argument("--preprocess-dir", metavar="DIR", help="folder whose JSON sidecars say what ran")
    parser.add_argument("--run-records", nargs="*", default=[], metavar="PATH",
                        help="run.json, model.json or folders of them, of the other stages")  # fmt: skip
    parser.add_argument("--config", metavar="JSON", help="resolved configuration, whose options the text describes")
    parser.add_argument("--excluded", metavar="TSV", help="joined exclusions (`report excluded`), counted in the text")
    parser.add_argument("--out", required=True, metavar="MD", help="the text, Markdown")
    parser.set_defaults(function=_methods)


def _register_summary(steps: argparse._SubParsersAction) -> None:
    parser = steps.add_parser("summary", help="print the headline figures to the terminal")
    parser.add_argument("--benchmark", required=True, metavar="TSV", help="long benchmark table (`report tables`)")
    parser.add_argument("--report", required=True, metavar="HTML", help="the page, whose path is printed")
    parser.add_argument("--scans", metavar="TSV", help="table of usable scans (default: ../bids/scans.tsv of the page)")
    parser.add_argument("--excluded", metavar="TSV", help="table of exclusions (default: excluded.tsv beside the page)")
    parser.set_defaults(function=_summary)


def _anonymise(args: argparse.Namespace) -> None:
    if args.anonymise is None:
        raise InputError("no step was given.", remedy="Write --anonymise, or a step: anatcl report --help.")
    from anatcl.report.page.anonymous import write_anonymous

    sys.stdout.write(f"Page without names: {write_anonymous(args.anonymise)}\n")


def _tables(args: argparse.Namespace) -> None:
    from anatcl.report.tables.build import write_tables

    write_tables(args.scores, args.out_benchmark, args.out_dir, args.comparisons)


def _page(args: argparse.Namespace) -> None:
    from anatcl.report.page.page import write_page
    from anatcl.report.records.results import Sources

    sources = Sources(
        benchmark=args.benchmark,
        tables=args.tables_dir,
        scans=args.scans,
        measures=args.measures,
        reliability=args.reliability,
        preprocess=args.preprocess_dir,
        evaluate=args.predictions_dir,
        pretrain=args.history_dir,
        excluded=args.excluded,
        notes=args.notes,
        runtime=args.runtime,
        methods=args.methods,
        interpretation=args.interpretation_dir,
        config=args.config,
        cohort_page=args.cohort_page,
        decoded=args.decoded,
        perturbed=args.perturbed,
    )
    write_page(sources, args.out, title=args.title, gallery_limit=args.gallery_limit)


def _participants(args: argparse.Namespace) -> None:
    from anatcl.report.page.participant import Given, write_participants

    given = Given(
        json.loads(args.people),
        json.loads(args.limits),
        Path(args.preprocess_dir),
        Path(args.measures_dir),
        bool(args.freesurfer),
    )
    write_participants(args.tables, given, args.out, args.out_dir)


def _cohort(args: argparse.Namespace) -> None:
    from anatcl.report.page.cohort_page import Stages, write_cohort_page
    from anatcl.report.records.results import Sources

    sources = Sources(
        scans=args.scans,
        measures=args.measures,
        reliability=args.reliability,
        preprocess=args.preprocess_dir,
        notes=args.notes,
    )
    records = [args.measures_dir] if args.measures_dir else []
    options = json.loads(args.options)
    stages = Stages(args.excluded, args.failures_dir, args.pages, records, args.pages_dir, options)
    write_cohort_page(sources, stages, args.out, args.title, args.gallery_limit)


def _runtime(args: argparse.Namespace) -> None:
    from anatcl.report.records.runtime import write_runtime

    write_runtime(args.benchmarks_dir, args.out)


def _excluded(args: argparse.Namespace) -> None:
    from anatcl.report.records.exclusions import write_exclusions

    write_exclusions(args.tables, args.failures_dir, args.out)


def _methods(args: argparse.Namespace) -> None:
    from anatcl.report.records.methods import write_methods

    write_methods(args.preprocess_dir, args.run_records, args.out, args.config, args.excluded)


def _summary(args: argparse.Namespace) -> None:
    from anatcl.report.page.summary import summary_text

    sys.stdout.write(summary_text(args.benchmark, args.report, args.scans, args.excluded))
