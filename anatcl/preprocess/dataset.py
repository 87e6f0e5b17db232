"""The derivatives as a BIDS dataset: its description, and which of its files BIDS has no name for."""

from __future__ import annotations

from pathlib import Path

from anatcl.base import derivatives
from anatcl.preprocess.ants import engine_version
from anatcl.preprocess.template import Template

# Names of the nipreps convention that BIDS does not define, and tables of the cohort.
IGNORED = ("template", "chunks", "qc.tsv", "excluded.tsv", "**/*_xfm.*", "**/*_desc-qc.*")
TEXT = "Masks, transforms and tissue maps of T1-weighted scans. `qc.tsv` holds the image-quality metrics of all scans."


def describe(template_dir: str | Path, out: str | Path) -> None:
    """Write ``dataset_description.json`` and, beside it, ``README.md`` and ``.bidsignore``."""
    engine = {"Name": "ANTs", "Version": engine_version()}
    about = Template(Path(template_dir)).about
    derivatives.describe(out, "anatcl-workflow derivatives", TEXT, IGNORED, made_by=[engine], Template=about)
