"""The derivatives as a BIDS dataset: its description, and which of its files BIDS has no name for."""

from __future__ import annotations

from pathlib import Path

from anatcl import __version__
from anatcl.base.files import write_json, write_text
from anatcl.preprocess.ants import engine_version
from anatcl.preprocess.template import Template

# Names of the nipreps convention that BIDS does not define.
IGNORED = ("template/", "**/*_xfm.*", "**/*_desc-qc.*", "**/*_measures.*")


def describe(template_dir: str | Path, out: str | Path) -> None:
    """Write ``dataset_description.json`` and, beside it, ``.bidsignore``."""
    about = Template(Path(template_dir)).about
    write_json(
        out,
        {
            "Name": "anatcl-workflow derivatives",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [
                {"Name": "anatcl-workflow", "Version": __version__},
                {"Name": "ANTs", "Version": engine_version()},
            ],
            "Template": about,
        },
    )
    write_text(Path(out).with_name(".bidsignore"), "\n".join(IGNORED) + "\n")
