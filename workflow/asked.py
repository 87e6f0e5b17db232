"""What Snakemake is asked for. It keeps that from a Snakefile while the file is read, so its own parser is asked."""

from __future__ import annotations

import sys

from anatcl.plan import stops_at_scans


def scans_alone() -> bool:
    """Whether the words of this command end at the scans: no encoder will be trained, nothing scored."""
    words = sys.argv[1:]
    if not any(stops_at_scans([word]) for word in words):
        return False
    from snakemake.cli import get_argument_parser

    found, _ = get_argument_parser().parse_known_args(words)
    return any(stops_at_scans(list(group)) for group in (found.until, found.targets))
