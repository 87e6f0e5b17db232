"""How far two runs of the same scan differ: nothing with one thread, and this much with more.

All steps are run twice from the raw scan, with the same seed::

    python -m benchmarks.determinism --raw ../shared/data/ixi_hh_2mm/sub-IXI034/anat/sub-IXI034_T1w.nii.gz \
        --recipe testing --threads 1 2 --room <folder> --out docs/results/determinism

``largest`` is the largest difference of any voxel, as a share of the image's range; ``voxels`` the share of voxels that
differ; for masks and labels both are shares of voxels. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, write_json, write_text
from anatcl.images import load
from benchmarks.preprocess_common import Scan, about, make_template, say

STEPS = ("bias_correct", "skullstrip", "register", "segment", "qc")
IMAGES = ("preproc", "brain", "icv", "dseg", "GM", "WM", "CSF", "quasi-raw", "vbm")


def compare(one: Scan, two: Scan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Differences of every image, and of every quality number."""
    images = []
    for name in IMAGES:
        a, b = (load(scan.path(f"{name}.nii.gz")).data.astype(float) for scan in (one, two))
        away = np.abs(a - b)
        inside = (a != 0) | (b != 0)
        images.append(
            {"image": name, "largest": float(away.max() / np.ptp(a)), "voxels": float((away[inside] > 0).mean())}
        )
    first, second = (read_json(scan.path("qc.json")) for scan in (one, two))
    numbers = [{"number": k, "one": first[k], "two": second[k], "difference": second[k] - first[k]} for k in first]
    return images, numbers


def main() -> None:
    """Run twice per thread count, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="raw T1w scan")
    parser.add_argument("--recipe", default="testing")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--room", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--out", type=Path, required=True, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    args.room.mkdir(parents=True, exist_ok=True)
    template = make_template(args.recipe, args.room / "template")
    facts = about(f"python -m benchmarks.determinism --raw <scan> --recipe {Path(args.recipe).stem}")
    found: dict[str, Any] = {}
    text = ["# Two runs of one scan", f"Made by `{facts['command']}`, on {facts['hardware'].get('cores')} cores."]
    for threads in args.threads:
        runs = [Scan(args.raw, args.room / f"{threads}-{n}", template, args.recipe, threads) for n in (1, 2)]
        for scan in runs:
            for step in STEPS:
                scan.step(step)
        images, numbers = compare(*runs)
        found[str(threads)] = {"images": images, "numbers": numbers}
        text += [f"## {threads} thread(s)", pd.DataFrame(images).to_markdown(index=False, floatfmt=".2g")]
        text += [pd.DataFrame(numbers).to_markdown(index=False, floatfmt=".6g")]
        write_json(args.out.with_suffix(".json"), facts | {"threads": found})
        write_text(args.out.with_suffix(".md"), "\n\n".join(text) + "\n")
    say({f"largest_{n}_threads": max(row["largest"] for row in value["images"]) for n, value in found.items()})


if __name__ == "__main__":
    main()
