"""The JSON file beside each image: sources, parameters, versions, cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anatcl.base.derivatives import dataset_of, sources, uri
from anatcl.base.files import write_json
from anatcl.base.provenance import peak_memory_mb, versions
from anatcl.preprocess.ants import engine_version

ORIGINAL = "orig"  # BIDS' word for the scan's own space
# What the end of a file's name says is in it; the longest end counts.
DESCRIPTIONS = {
    "desc-preproc_T1w.nii.gz": "The scan without its bias field, on its own grid.",
    "desc-brain_mask.nii.gz": "The brain, on the scan's grid.",
    "desc-icv_mask.nii.gz": "The intracranial volume, on the scan's grid.",
    "dseg.nii.gz": "Tissues on the scan's grid: 1 CSF, 2 grey matter, 3 white matter.",
    "label-CSF_probseg.nii.gz": "How much of each voxel is CSF, 0 to 1, on the scan's grid.",
    "label-GM_probseg.nii.gz": "How much of each voxel is grey matter, 0 to 1, on the scan's grid.",
    "label-WM_probseg.nii.gz": "How much of each voxel is white matter, 0 to 1, on the scan's grid.",
    "desc-modulated_probseg.nii.gz": "VBM map: grey matter in the template's space, times the Jacobian.",
    "desc-affine_T1w.nii.gz": "Quasi-raw map: the stripped scan in the template's space, by the affine alone.",
    "desc-affine_xfm.mat": "Affine, in the direction that the name says.",
    "mode-image_xfm.h5": "Affine and deformation, in the direction that the name says.",
}
SUFFIXES = (".nii.gz", ".nii", ".h5", ".mat", ".txt", ".tsv", ".png")


def sidecar_path(path: str | Path) -> Path:
    """Path of the sidecar: the image's name with ``.json``."""
    name = str(path)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return Path(f"{name}.json")


@contextlib.contextmanager
def described(
    outputs: list[Path],
    made_of: list[Path],
    *,
    transforms: Sequence[Path] = (),
    template: Path | None = None,
    **facts: Any,
) -> Iterator[dict[str, Any]]:
    """Write one sidecar per output when the block ends without error.

    Parameters
    ----------
    outputs, made_of : list of path
        What is written, and what it is written from.
    transforms : sequence of path
        Further sources, whose digests are not taken.
    template : path, optional
        The image that outputs with ``space-`` in their names are aligned to.
    **facts
        Further keys.

    Yields
    ------
    dict
        For what is known later.

    The block adds facts to the dictionary it is given; a key equal to an output's file name holds facts of that output
    alone.
    """
    start = time.monotonic()
    record: dict[str, Any] = {}
    yield record
    own = {path.name: record.pop(path.name, {}) for path in outputs}
    common = {
        **sources(made_of, dataset_of(outputs[0]), transforms),
        **facts,
        **record,
        "Engine": engine_version(),
        "Versions": versions(),
        "Seconds": round(time.monotonic() - start, 2),
        "PeakMemoryMb": peak_memory_mb(),
    }
    for path in outputs:
        write_json(sidecar_path(path), _about(path, template) | common | own[path.name])


def _about(path: Path, template: Path | None) -> dict[str, str]:
    """What is in a file, and which image it is aligned to, by its name."""
    ends = [end for end in DESCRIPTIONS if path.name.endswith(end)]
    found = {"Description": DESCRIPTIONS[max(ends, key=len)]} if ends else {}
    if not path.name.endswith(".nii.gz"):
        return found
    if "_space-" not in path.name:
        return found | {"SpatialReference": ORIGINAL}
    return found | ({"SpatialReference": uri(template, dataset_of(path))} if template else {})
