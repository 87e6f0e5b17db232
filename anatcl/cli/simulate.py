"""``python -m anatcl simulate``: a cohort with a known truth."""

from __future__ import annotations

import argparse
import logging

from anatcl.base.words import plural

log = logging.getLogger("anatcl.simulate")

DESCRIPTION = """Make a BIDS dataset of simulated T1-weighted heads with known ground truth (brain mask, tissue maps,
regional volumes, thinning), or with --arrays packed training volumes and measures of many participants at once. An
interrupted run with the same settings resumes. The same seed gives the same bytes, and each participant is the same
whatever the number of participants."""


def register(stages: argparse._SubParsersAction) -> None:
    """Add the parser of this stage."""
    parser = stages.add_parser(
        "simulate", help="simulate a BIDS dataset with known ground truth", description=DESCRIPTION
    )
    parser.add_argument("folder", metavar="DIR", help="folder to make: empty or absent")
    parser.add_argument("--participants", type=int, default=24, metavar="N", help="participants, 1 to 999 (default 24)")
    parser.add_argument("--voxel-mm", type=float, default=2.0, metavar="MM", help="voxel size, 1 to 12 mm (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers, 0 or more (default 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes side by side (default 1)")
    parser.add_argument(
        "--arrays",
        type=int,
        metavar="N",
        help="instead of images, write packed 4 mm grey-matter maps and measures of N participants",
    )
    parser.add_argument(
        "--severity",
        type=float,
        metavar="S",
        help="with --arrays: mean severity of the patients, 0 to 1 (default 0.18, mild)",
    )
    parser.add_argument(
        "--scanners",
        type=int,
        metavar="N",
        help="with --arrays: sites whose scanners differ in contrast and segmentation (default: 3 plainer sites)",
    )
    parser.add_argument(
        "--second-disease",
        action="store_true",
        help="with --arrays: half of the patients have wide ventricles and a small hippocampus, not a thin cortex",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier simulation in DIR")
    parser.set_defaults(function=simulate)


def simulate(args: argparse.Namespace) -> None:
    """Run the simulation that the flags ask for."""
    if args.arrays is not None:
        from anatcl.simulate.arrays import simulate_arrays

        given = {name: value for name in ("severity", "scanners") if (value := getattr(args, name)) is not None}
        count = simulate_arrays(
            args.folder, args.arrays, args.seed, args.overwrite, second_disease=args.second_disease, **given
        )
        log.info("%s of %s in %s", plural(count, "volume"), plural(args.arrays, "person"), args.folder)
        return
    for flag in ("severity", "scanners", "second_disease"):
        if getattr(args, flag) not in (None, False):
            from anatcl.base.errors import InputError

            words = flag.replace("_", "-")
            raise InputError(f"--{words} belongs to --arrays.", remedy="Give both, or leave it out.")
    from anatcl.simulate.dataset import simulate_dataset

    count = simulate_dataset(args.folder, args.participants, args.voxel_mm, args.seed, args.jobs, args.overwrite)
    log.info("%s of %s in %s", plural(count, "scan"), plural(args.participants, "person"), args.folder)
