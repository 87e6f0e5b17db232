"""What a run will cost: hours by the recorded times of earlier jobs, gigabytes by the size of the scans.

Times of a rule that no job has recorded yet are those of `SHARES`, scaled by how the recorded ones compare with it.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.plan.plan import Plan
from anatcl.report.records.runtime import read_benchmarks
from anatcl.spec.layout import ARRAYS, BENCHMARKS, MEASURES, OF_SCANS, PREPROCESS, result
from anatcl.spec.openbhb import MAPS, RELEASE
from anatcl.spec.recipe import load_recipe

# Seconds of a 2 mm head with the recipe `fast` on one processor (docs/results/preprocess.md); only their ratios count.
SHARES = {"template": 8.0, "bias_correct": 7.0, "skullstrip": 13.0, "register": 110.0, "segment": 25.0, "qc": 3.0,
          "measure": 9.0, "surfaces": 340.0, "person_template": 60.0, "person_align": 10.0}  # fmt: skip
COHORT_S = 3.0  # a rule that joins tables
JOINING = (*OF_SCANS, "folds", "take_arrays", "take_measures", "pretrain", "audit", "confounds", "excluded", "runtime",
           "methods_text", "tables", "report", "all")  # fmt: skip
TRAINING = ("pack", "train", "train_final", "finetune")  # of unknown length before the first; other rules: evaluation
FEW = 3  # recorded jobs of a rule below which its time is a guess
# Bytes that a scan leaves: of each voxel of the scan, of each voxel of the template's grid (two warps), of the two maps
# on fixed grids, of surfaces. Measured with `fast` at 1 and 2 mm, all compressed.
BYTES_VOXEL, BYTES_WARP, BYTES_MAPS, BYTES_SURFACES = 2.0, 2 * 12.0 * 0.9, 10e6, 31e6
TEMPLATE_MM3 = 4.3e6  # the grid of the packaged template


@dataclasses.dataclass(frozen=True)
class Expected:
    """Time and space that jobs ask for.

    Attributes
    ----------
    seconds : float
        Of one processor.
    spread : float
        Share by which this may be off.
    unknown : tuple of str
        Rules whose time nothing is known about (training, before a first one has ended); they are not counted.
    """

    seconds: float
    spread: float
    unknown: tuple[str, ...] = ()


def durations(folder: Path = BENCHMARKS) -> pd.DataFrame:
    """Recorded wall seconds by rule: columns ``mean``, ``count``, ``spread`` (of the mean, relative)."""
    jobs = read_benchmarks(folder).dropna(subset=["s"]) if folder.is_dir() else pd.DataFrame(columns=["rule", "s"])
    grouped = jobs.groupby("rule")["s"]
    table = pd.DataFrame({"mean": grouped.mean(), "count": grouped.size(), "sd": grouped.std()})
    table["spread"] = (table["sd"] / table["mean"] / np.sqrt(table["count"])).fillna(0.5)
    return table


def expected(left: Mapping[str, int], recorded: pd.DataFrame) -> Expected:
    """Seconds that jobs will take.

    Parameters
    ----------
    left : mapping of str to int
        Jobs by rule.
    recorded : DataFrame
        Of :func:`durations`.
    """
    scale = _scale(recorded)
    seconds, doubt, unknown = 0.0, 0.0, []
    for rule, count in left.items():
        known = rule in recorded.index
        if known:
            one, off, jobs = recorded.loc[[rule], ["mean", "spread", "count"]].to_numpy(dtype=float)[0].tolist()
            off = off if jobs >= FEW else max(off, 0.3)
        elif rule in SHARES:
            one, off = SHARES[rule] * scale, 0.5
        elif rule in JOINING:
            one, off = COHORT_S, 0.5
        else:
            if count:
                unknown.append(rule)
            continue
        seconds, doubt = seconds + one * count, doubt + one * count * off
    return Expected(seconds, max(0.1, doubt / seconds if seconds else 0.5), tuple(unknown))


def _scale(recorded: pd.DataFrame) -> float:
    """How much longer this machine, recipe and cohort take than `SHARES` says."""
    both = [rule for rule in SHARES if rule in recorded.index and rule != "template"]
    return sum(recorded.loc[both, "mean"]) / sum(SHARES[rule] for rule in both) if both else 1.0


def gigabytes(plan: Plan) -> float:
    """Gigabytes that the scans without measures will take, by what finished scans take if there are any.

    Where the dataset has maps of its own, what their packed volumes will take.
    """
    if plan.cohort.source:
        return 0.0 if (ARRAYS / "volumes.npy").exists() else _packed(plan) / 1e9
    finished = [scan for scan in plan.cohort.scans if _measures(plan, scan).exists()]
    left = len(plan.cohort.scans) - len(finished)
    return left * (_taken(finished[:20]) or _by_size(plan)) / 1e9 if left else 0.0


def _packed(plan: Plan) -> float:
    """Bytes of packed volumes: the files that they are made of; nothing where those are packed and are linked."""
    if plan.cohort.source not in (RELEASE, MAPS):
        return 0.0
    files = [Path(file) for file in plan.cohort.files()]
    return float(sum(file.stat().st_size for file in files if file.exists()))


def _measures(plan: Plan, scan: str) -> Path:
    return result("measure", scan, plan.imaging.template, plan.imaging.atlas)


def _taken(finished: Sequence[str]) -> float:
    """Mean bytes of finished scans; 0 where there are none."""
    sizes = [
        sum(path.stat().st_size for root in (PREPROCESS, MEASURES) for path in (root / scan).parent.glob(f"{name}*"))
        for scan in finished
        for name in [Path(scan).name]
    ]
    return float(np.mean(sizes)) if sizes else 0.0


def _by_size(plan: Plan) -> float:
    """Bytes that a scan of this dataset will take, by the voxels of its first scans and the recipe's grid."""
    counts = [_voxels(plan.cohort.image(scan)) for scan in plan.cohort.scans[:20]]
    grid = TEMPLATE_MM3 / float(load_recipe(plan.config.preprocess.recipe)["template_mm"]) ** 3
    surfaces = BYTES_SURFACES if plan.cohort.engine == "surface" else 0
    return BYTES_VOXEL * float(np.mean(counts)) + BYTES_WARP * grid + BYTES_MAPS + surfaces


def _voxels(image: str) -> int:
    """Voxels of an image by its header; those of a 1 mm head where it cannot be read (its own step says why)."""
    import nibabel as nib

    try:
        return int(np.prod(nib.load(image).shape[:3]))  # type: ignore[attr-defined]
    except Exception:  # whatever a broken file raises: an estimate stops no run
        return 10_000_000


def check_disk(plan: Plan, folder: Path = Path()) -> str:
    """What the run will write, beside what is free, in words; empty when all scans are finished.

    Raises
    ------
    InputError
        The disk cannot hold it, and ``failures: check_disk`` is true.
    """
    wanted, free = gigabytes(plan), shutil.disk_usage(folder).free / 1e9
    if wanted > free and plan.config.failures.check_disk:
        raise InputError(
            f"the results need about {wanted:,.1f} GB, and {free:,.1f} GB are free.",
            folder.resolve(),
            "Free some space, work elsewhere with --directory, or start all the same: "
            "--config 'failures={check_disk: false}'.",
        )
    return f"about {max(wanted, 0.1):,.1f} GB on disk ({free:,.0f} GB are free)" if wanted else ""


def in_words(seconds: float) -> str:
    """A time in words: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds / 10) * 10):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def not_counted(found: Expected) -> str:
    """The stages of the rules whose time is not known: ``training and evaluation``."""
    training = {"training" for rule in found.unknown if rule in TRAINING}
    return " and ".join([*training, *{"evaluation" for rule in found.unknown if rule not in TRAINING}])


def left_in_words(found: Expected, at_a_time: float) -> str:
    """Time left, with its doubt: ``12 to 16 min left``; ``at least`` where the time of some rules is not known."""
    seconds = found.seconds / max(at_a_time, 0.1)
    low, high = in_words(seconds * (1 - found.spread)), in_words(seconds * (1 + found.spread))
    if found.unknown:
        return f"at least {in_words(seconds)} left, without {not_counted(found)}"
    if low == high:
        return f"about {low} left"
    same = low.split()[1] == high.split()[1]
    return f"{low.split()[0] if same else low} to {high} left"
