"""``python -m anatcl evaluate tables``: people with tables of features and no images, to the page in one command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anatcl.base.errors import InputError


def register(steps: argparse._SubParsersAction) -> None:
    """Add the step."""
    step = steps.add_parser("tables", help="benchmark FreeSurfer, ENIGMA, OpenBHB or other tables, without images")
    step.add_argument(
        "--features",
        required=True,
        nargs="+",
        metavar="[NAME=]FILE",
        help="tables of features: aparcstats2table, asegstats2table, ENIGMA, OpenBHB (table, or folder of _ROI.npy), "
        "or any with a column of identifiers. Regional measures are joined to one method; tables of one NAME, too",
    )
    step.add_argument(
        "--people", required=True, metavar="FILE", help="table of participants: age, sex, site, diagnosis, ..."
    )
    step.add_argument(
        "--tasks",
        nargs="*",
        default=[],
        metavar="TASK",
        help="shipped names, files, JSON, or columns of the table of participants (default: age and sex where known)",
    )
    step.add_argument(
        "--cohort", default="", metavar="COHORT", help="read the table of participants by this cohort's rules (abide1)"
    )
    step.add_argument(
        "--id-column", default="", metavar="NAME", help="column of the features' identifiers (default: usual names)"
    )
    step.add_argument("--people-id-column", default="", metavar="NAME", help="column of the participants' identifiers")
    step.add_argument("--columns", nargs="*", default=[], metavar="OURS=THEIRS", help="e.g. age=AGE_AT_SCAN")
    step.add_argument("--sex-levels", nargs="*", default=[], metavar="CODE=M|F", help="e.g. 1=M 2=F")
    step.add_argument(
        "--protocol",
        nargs="+",
        default=["repeated"],
        metavar="PROTOCOL",
        help="as in `evaluate task` (default repeated)",
    )
    step.add_argument("--subgroups", nargs="*", default=["sex", "age", "site"], metavar="NAME", help="columns")
    step.add_argument(
        "--confounds", nargs="*", default=[], metavar="NAME", help="columns that may explain a target, e.g. motion"
    )
    step.add_argument("--folds", default="", metavar="FILE", help="folds.tsv, for protocol folds")
    step.add_argument("--shuffles", type=int, default=-1, metavar="N", help="repetitions with shuffled labels")
    step.add_argument("--seed", type=int, default=0, metavar="N", help="seed of folds and bootstrap (default 0)")
    step.add_argument(
        "--bootstrap", type=int, default=1500, metavar="N", help="bootstrap resamples of participants (default 1500)"
    )
    step.add_argument("--title", default="AnatCL benchmark report", help="title of the page")
    step.add_argument("--out", required=True, metavar="DIR", help="folder of join.tsv, evaluate/ and report/index.html")
    step.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from anatcl.evaluate.steps.tables import Given, run_tables

    given = Given(
        features=args.features,
        people=args.people,
        tasks=args.tasks,
        protocols=args.protocol,
        subgroups=args.subgroups,
        id_column=args.id_column,
        people_id_column=args.people_id_column,
        columns=pairs(args.columns, "--columns"),
        sexes=pairs(args.sex_levels, "--sex-levels"),
        cohort=args.cohort,
        folds=args.folds,
        seed=args.seed,
        bootstrap=args.bootstrap,
        shuffles=args.shuffles,
        confounds=args.confounds,
    )
    run_tables(given, args.out)
    _page(Path(args.out), args.title)


def pairs(told: list[str], option: str) -> dict[str, str]:
    """``A=B`` words as a mapping."""
    wrong = [word for word in told if "=" not in word]
    if wrong:
        raise InputError(f"{option}: {wrong[0]!r} has no '='.", None, f"Write {option} ONE=OTHER.")
    return dict(word.split("=", 1) for word in told)


def _page(out: Path, title: str) -> None:
    """The tables, the page and the lines for the terminal, as the workflow makes them."""
    from anatcl.report.page.page import write_page
    from anatcl.report.page.summary import summary_text
    from anatcl.report.records.results import Sources
    from anatcl.report.tables.build import write_tables
    from anatcl.spec.names import REGIONAL

    report, evaluated = out / "report", out / "evaluate"
    benchmark, tables, page = report / "benchmark.tsv", report / "tables", report / "index.html"
    write_tables(evaluated / "scores.tsv", benchmark, tables, evaluated / "comparisons.tsv")
    sources = Sources(
        benchmark=benchmark,
        tables=tables,
        scans=out / "scans.tsv",
        measures=out / "features" / f"{REGIONAL}.tsv",
        evaluate=evaluated,
        excluded=out / "excluded.tsv",
    )
    write_page(sources, page, title)
    sys.stdout.write(summary_text(benchmark, page, out / "scans.tsv", out / "excluded.tsv"))
