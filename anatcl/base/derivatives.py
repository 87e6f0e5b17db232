"""Results as BIDS datasets: their description files, and the sources of each result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anatcl import __version__
from anatcl.base.files import read_json, sha256, write_json, write_text

BIDS_VERSION = "1.11.1"
# Links beside the folders of results: the scans, and masks that were given.
GIVEN = "given"
RAW, MASKS = "dataset", "masks"
README = """# {name}

{text}

Made by anatcl-workflow {version} from the scans of a BIDS dataset (`DatasetLinks` in `dataset_description.json`). The
JSON file beside each image says from what it was made and how. `.bidsignore` lists the files whose names BIDS does not
define.
"""


def dataset_of(path: Path) -> Path:
    """Folder of the dataset that a file belongs to: the one above ``sub-*``; the file's own outside of one."""
    people = [parent for parent in path.parents if parent.name.startswith("sub-")]
    return people[0].parent if people else path.parent


def uri(path: Path, dataset: Path) -> str:
    """BIDS URI of a file, seen from a file of `dataset`: ``bids::sub-01/...`` inside, ``bids:name:sub-01/...`` outside.

    The name is that of the folder of its dataset, as `describe` links it.
    """
    if path.is_relative_to(dataset):
        return f"bids::{path.relative_to(dataset).as_posix()}"
    root = dataset_of(path)
    return f"bids:{_name(root)}:{path.relative_to(root).as_posix()}"


def sources(made_of: Iterable[Path], dataset: Path, unread: Iterable[Path] = ()) -> dict[str, Any]:
    """The sources of a result, as its sidecar lists them.

    Parameters
    ----------
    made_of : iterable of path
        Their digests are recorded, too.
    dataset : path
        Folder of the dataset that the result belongs to.
    unread : iterable of path
        Those whose digest would take too long: transforms.
    """
    digests = {uri(path, dataset): sha256(path) for path in made_of}
    return {"Sources": [*digests, *(uri(path, dataset) for path in unread)], "SourcesSha256": digests}


def describe(
    out: str | Path,
    name: str,
    text: str,
    ignored: Sequence[str],
    *,
    made_by: Sequence[dict[str, str]] = (),
    uses: Sequence[str] = (),
    **more: Any,
) -> None:
    """Write ``dataset_description.json`` and, beside it, ``README.md`` and ``.bidsignore``.

    Parameters
    ----------
    out : path
        The description; its folder is the dataset.
    name, text : str
        What the dataset is called, and what is in it.
    ignored : sequence of str
        Patterns of the files that BIDS has no name for.
    made_by : sequence of dict
        Programs beside this one, each with ``Name`` and ``Version``.
    uses : sequence of str
        Folders beside this one whose files it was made of.
    **more
        Further keys of the description.
    """
    folder = Path(out).parent
    own = {"Name": "anatcl-workflow", "Version": __version__}
    about = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [own, *made_by],
        "SourceDatasets": _source(folder.parent / GIVEN / RAW),
        "DatasetLinks": {other: f"../{other}" for other in uses} | _given(folder.parent / GIVEN),
    }
    write_json(out, {key: value for key, value in about.items() if value} | more)
    write_text(folder / "README.md", README.format(name=name, text=text, version=__version__))
    write_text(folder / ".bidsignore", "\n".join(ignored) + "\n")


def _source(dataset: Path) -> list[dict[str, str]]:
    """The dataset of the scans, by its link and what is known of its DOI."""
    if not dataset.is_dir():
        return []
    file = dataset / "dataset_description.json"
    try:
        about = read_json(file) if file.is_file() else {}
    except ValueError:
        about = {}
    doi = about.get("DatasetDOI") if isinstance(about, dict) else None
    return [{"URL": f"../{GIVEN}/{RAW}"} | ({"DOI": doi} if isinstance(doi, str) and doi else {})]


def _given(folder: Path) -> dict[str, str]:
    """Datasets that are linked in a folder beside the results."""
    return {name: f"../{GIVEN}/{name}" for name in (RAW, MASKS) if (folder / name).is_dir()}


def _name(root: Path) -> str:
    """Name of a dataset in a URI; it may have letters, digits, - and _ alone."""
    return re.sub("[^A-Za-z0-9_-]+", "-", root.name) or "files"
