"""Error of each thickness method, ANTs' KellyKapowski beside ours, on shapes whose thickness is known.

Shells around a ball, and a folded ribbon with closed sulci, both with exact partial volume: the phantoms of the tests.
Run from the root of the repository (ten minutes or so of processor time, nearly all of it KellyKapowski's)::

    python -m benchmarks.measures_phantoms [--only shell-3] [--out docs/results/measures]

The last line is one JSON object: the largest absolute error, in percent, of each method on 1 mm voxels.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measures_common import last_line, write

NIPYPE_DEFAULT = {"convergence": "[50,0.001,10]", "gradient_step": 0.025, "smoothing_velocity_field": 1.5}
SOURCE = Path(__file__).resolve().parent.parent / "tests" / "unit" / "measures" / "measures_phantoms.py"


def shapes() -> ModuleType:
    """The module of the tests that makes the phantoms."""
    spec = importlib.util.spec_from_file_location("measures_phantoms", SOURCE)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{SOURCE} is missing: run from a checkout of the repository.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def phantoms() -> dict[str, Callable[[], tuple]]:
    """Makers of ``grey, white, spacing, true thickness (mm), where to look``, by name."""
    made = shapes()

    def shell(true: float, voxel: float, inner: float = 10.0) -> tuple:
        grey, white, spacing = made.shell(inner, true, voxel)
        return grey, white, spacing, true, np.ones(grey.shape, bool)

    def ribbon(true: float) -> tuple:
        grey, white, spacing, inner = made.ribbon(true)
        return grey, white, spacing, true, inner

    found: dict[str, Callable[[], tuple]] = {f"shell-{t:g}": (lambda t=t: shell(t, 1.0)) for t in (1.5, 2.0, 3.0, 4.5)}
    found |= {f"ribbon-{t:g}": (lambda t=t: ribbon(t)) for t in (2.0, 2.5, 3.0)}
    found["shell-3 at 2 mm"] = lambda: shell(3.0, 2.0, 16.0)
    return found


def methods() -> dict[str, Callable[[NDArray, NDArray, NDArray], NDArray]]:
    """Thickness maps by name: ours, and KellyKapowski as nipype calls it and run to convergence."""
    from anatcl.measures.direct import direct
    from anatcl.measures.distance import thickness_map
    from anatcl.measures.kelly_kapowski import kelly_kapowski
    from anatcl.measures.surface import white_surface

    def distance(grey: NDArray, white: NDArray, spacing: NDArray) -> NDArray:
        mesh = white_surface(white, spacing)
        return thickness_map(grey, white, spacing, mesh, grey > 0, np.ones(len(mesh.vertices), bool))

    return {
        "direct (ours)": direct,
        "distance (ours)": distance,
        "KellyKapowski, nipype default": lambda *case: kelly_kapowski(*case, **NIPYPE_DEFAULT),
        "KellyKapowski, converged": kelly_kapowski,
    }


def one(shape: str, maker: Callable[[], tuple], name: str, method: Callable[..., NDArray]) -> dict[str, Any]:
    """One row: mean and spread of thickness over grey voxels, error in percent, processor seconds."""
    from anatcl.measures.kelly_kapowski import segmentation

    grey, white, spacing, true, where = maker()
    start = time.perf_counter()
    found = method(grey, white, spacing)[where & (segmentation(grey, white) == 2)]
    return {
        "phantom": shape, "voxel_mm": float(spacing[0]), "true_mm": true, "method": name,
        "mean_mm": float(found.mean()), "sd_mm": float(found.std()),
        "error_percent": 100 * (float(found.mean()) / true - 1),
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="phantoms whose name holds this text")
    parser.add_argument("--method", default="", help="methods whose name holds this text")
    parser.add_argument("--out", type=Path, help="folder for the table")
    args = parser.parse_args()
    rows = [
        one(shape, maker, name, method)
        for shape, maker in phantoms().items()
        if args.only in shape
        for name, method in methods().items()
        if args.method in name
    ]
    table = pd.DataFrame(rows)
    if args.out:
        about = {"command": "python -m benchmarks.measures_phantoms", "KellyKapowski default": NIPYPE_DEFAULT}
        text = "Thickness of known shapes: mean over grey voxels, its error in percent of the truth. "
        seconds = table.pop("seconds")  # of a shared machine: they would differ between two runs
        write(args.out, "phantoms", table, about, text + "Voxels of 1 mm unless said.")
        table["seconds"] = seconds
    fine = table[table["voxel_mm"] == 1]
    worst = fine.groupby("method")["error_percent"].apply(lambda e: e.abs().max())
    print(table.to_string(index=False))
    print(last_line({"largest_error_percent": worst.to_dict()}))


if __name__ == "__main__":
    main()
