"""Steps of the stage ``bids``: the index of a dataset."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any

from anatcl.base.words import plural

log = logging.getLogger(__name__)


def register(stages: Any) -> None:
    """Add the stage's parser and its steps."""
    stage = stages.add_parser("bids", help="index a BIDS dataset", description="Index a BIDS dataset.")
    steps = stage.add_subparsers(dest="step", metavar="STEP", required=True)
    _add_index(steps)


def _add_index(steps: Any) -> None:
    about = "List the usable T1w scans of a dataset with their phenotypes, and what is left out, with the reason."
    parser = steps.add_parser("index", help="write scans.tsv, excluded.tsv and participants.tsv", description=about)
    parser.add_argument("--bids-dir", required=True, metavar="DIR", help="the dataset: the folder with sub-* folders")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder to write to, e.g. results/bids")
    parser.add_argument(
        "--options",
        default="{}",
        metavar="JSON",
        help="filters and column names as JSON, keys: include, exclude, query, entities, runs (all, first), columns, "
        "sex_levels, verify (quick, full), voxel_mm ([smallest, largest] side in mm), min_extent_mm (mm)",
    )
    parser.set_defaults(function=index)


def index(args: argparse.Namespace) -> None:
    """Bring the index up to date."""
    from anatcl.base.errors import InputError
    from anatcl.bids.index import refresh
    from anatcl.spec.bids import Options

    try:
        values = json.loads(args.options)
    except ValueError as error:
        raise InputError(
            f"--options is not JSON ({error}).", remedy='Write for example \'{"runs": "first"}\'.'
        ) from None
    scans = refresh(args.bids_dir, args.out_dir, Options.parse(values))
    people = plural(scans["participant_id"].nunique(), "participant")
    log.info("%s of %s", plural(len(scans), "scan"), people)
