"""The measures as a BIDS dataset: its description, and which of its files BIDS has no name for."""

from __future__ import annotations

from pathlib import Path

from anatcl.base import derivatives

TABLES = ("measures.*", "desikan_roi.csv", "enigma", "reliability.tsv", "adjusted.tsv", "outliers.tsv", "excluded.tsv")
# Names of the nipreps convention that BIDS does not define.
SURFACES = ("**/*.surf.gii", "**/*.shape.gii", "**/*_desc-surfaces_qc.*")
IGNORED = ("chunks", *TABLES, "**/*_measures.*", "**/*_desc-thickness_map.*", *SURFACES)
TEXT = (
    "Regions of each scan with their thickness, volume and area, and the table of the whole cohort, `measures.tsv`. "
    "`measures.json` says what its columns are."
)


def describe(out: str | Path) -> None:
    """Write ``dataset_description.json`` and, beside it, ``README.md`` and ``.bidsignore``."""
    derivatives.describe(out, "anatcl-workflow measures", TEXT, IGNORED, uses=["preprocess"])
