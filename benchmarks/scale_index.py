"""Time the index of large datasets: cold, warm, and after one file changed.

Makes trees of empty-but-valid scans (mixed ``ses-``, ``acq-`` and ``run-`` entities, ages in ``participants.tsv``)
in a temporary folder. Run from the root of the repository::

    python -m benchmarks.scale_index --scans 1000 10000 50000

The last line is one JSON object; ``listing_10k_s`` is bids2table alone on the same tree, for comparison.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REFRESH = """
import resource, sys, time
start = time.monotonic()
from anatcl.bids.index import refresh
from anatcl.bids.options import Options
scans = refresh(sys.argv[1], sys.argv[2], Options())
assert not {"torch", "ants", "nipype"} & set(sys.modules)
print(len(scans), time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
LIST = """
import sys, time
start = time.monotonic()
import pathlib
import bids2table
import bids2table._indexing as indexing
indexing.as_path = pathlib.Path  # as shipped it fails on Python 3.11 without cloudpathlib (AnyPath has no _flavour)
table = bids2table.index_dataset(sys.argv[1])
print(len(table), time.monotonic() - start, 0)
"""


def make_tree(folder: Path, scans: int) -> Path:
    """Write `scans` tiny valid T1w images: a third without sessions, the rest in two, some with acq- or run-."""
    import nibabel as nib
    import numpy as np

    header = nib.Nifti1Image(np.zeros((16, 17, 18), np.uint8), np.diag([6.0, 6, 6, 1])).to_bytes()[:352]
    (folder / "dataset_description.json").write_text('{"Name": "scale", "BIDSVersion": "1.9.0"}\n')
    people: list[str] = []
    made = 0
    while made < scans:
        person = f"sub-{len(people):06d}"
        visits = ([""] if len(people) % 2 else ["ses-1", "ses-2"])[: scans - made]
        for visit in visits:
            extra = ("", "_acq-mprage", "_run-1", "_acq-flash_run-02")[made % 4]
            anat = folder / person / visit / "anat"
            anat.mkdir(parents=True)
            stem = "_".join(filter(None, (person, visit))) + extra
            voxels = made.to_bytes(8, "little") + bytes(16 * 17 * 18 - 8 - 1) + b"\1"
            (anat / f"{stem}_T1w.nii.gz").write_bytes(gzip.compress(header + voxels, 1, mtime=0))
            made += 1
        people.append(f"{person}\t{20 + len(people) % 60}.5\t{'MF'[len(people) % 2]}\t{len(people) % 5}")
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\tsite\n" + "\n".join(people) + "\n")
    return folder


def timed(code: str, *arguments: object) -> tuple[int, float, float]:
    """Run `code` in a process of its own; return its number of rows, seconds (imports included) and peak MiB."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    rows, seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(rows), round(float(seconds), 2), round(float(memory), 1)


def measure(scans: int) -> dict[str, float]:
    """Time cold, warm and one-file-changed calls on a tree of `scans` scans."""
    with tempfile.TemporaryDirectory() as temporary:
        tree, out = Path(temporary) / "tree", Path(temporary) / "bids"
        tree.mkdir()
        start = time.monotonic()
        make_tree(tree, scans)
        found = {"scans": scans, "tree_s": round(time.monotonic() - start, 1)}
        rows, found["cold_s"], found["peak_mb"] = timed(REFRESH, tree, out)
        assert rows == scans, f"{rows} of {scans} scans indexed"
        before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
        found["warm_s"] = timed(REFRESH, tree, out)[1]
        assert before == {p.name: p.stat().st_mtime_ns for p in out.iterdir()}, "an unchanged dataset was rewritten"
        next(tree.rglob("*_T1w.nii.gz")).touch()
        found["one_changed_s"] = timed(REFRESH, tree, out)[1]
        found["bids2table_s"] = timed(LIST, tree)[1]
    return found


def main() -> None:
    """Print one line per size, then the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, nargs="+", default=[1000, 10000], help="sizes of the trees")
    results = [measure(scans) for scans in parser.parse_args().scans]
    for found in results:
        sys.stdout.write(json.dumps(found) + "\n")
    last = min(results, key=lambda found: abs(found["scans"] - 10_000))
    summary = {"index_10k_s": last["cold_s"], "index_10k_warm_s": last["warm_s"], "listing_10k_s": last["bids2table_s"]}
    sys.stdout.write(json.dumps(summary | {"scans": last["scans"], "peak_mb": last["peak_mb"]}) + "\n")


if __name__ == "__main__":
    main()
