"""Packed training arrays of many simulated participants, directly from the ground truth: no image, no registration.

The volumes look like modulated grey-matter maps on a 4 mm ICBM152 grid; the measures beside them have the columns of
``measures.tsv``. Grey matter as a function of each region's factor is tabulated once, and a person is a look-up in that
table times a smooth random Jacobian.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, write_json, write_tsv
from anatcl.base.words import plural
from anatcl.simulate.anatomy import Anatomy, anatomy
from anatcl.simulate.dataset import prepare_folder
from anatcl.simulate.effects import VENTRICULAR, Factors, regions
from anatcl.simulate.people import Person, person
from anatcl.simulate.scanners import THICKNESS_SHARE, Scanner
from anatcl.simulate.tissue import tissue_fractions

Array = NDArray[Any]

VOXEL_MM = 4.0
SHAPE = (45, 54, 45)
ORIGIN = (-88.5, -124.5, -70.5)
KNOTS = np.linspace(0.4, 1.4, 11)  # factors for which grey matter is tabulated
GROWTH = np.linspace(-1.5, 6.0, 6)  # growth of the ventricles, mm
SITES = ("alpha", "beta", "gamma")
SEVERITY = 0.18  # diseases of real cohorts are milder than the showcase of the simulated images
TEMPLATE_TIV = 2.085e6  # mm3
ARRAYS = 5  # purpose of random numbers
SITE_EFFECT = 6
SCANNER, SITE_OF, DISEASE_OF = 10, 11, 12
MOST_SCANNERS = 99
RECORD = Path("simulation.json")
MADE = ("volumes.npy", "rows.tsv", "arrays.json", "measures.*", "truth.tsv", "simulation.json")


@dataclass(frozen=True)
class Table:
    """Grey and white matter (mm3) of pairs (region, coarse voxel) as functions of the region's factor.

    Attributes
    ----------
    region, voxel : ndarray of shape (p,)
        Index of the region in `regions` plus one (0: none) and flat index of the 4 mm voxel.
    gm : ndarray of shape (11, p)
        Grey matter at the factors `KNOTS`, ventricles as in the template.
    lost : ndarray of shape (6, p)
        Part that ventricles grown by `GROWTH` leave.
    wm : ndarray of shape (6,)
        White matter of the whole brain at `GROWTH`.
    """

    region: NDArray[np.intp]
    voxel: NDArray[np.intp]
    gm: NDArray[np.float64]
    lost: NDArray[np.float64]
    wm: NDArray[np.float64]


@dataclass(frozen=True)
class SiteEffect:
    """What a site does to maps and measures."""

    name: str
    gain: float
    blur: float  # voxels
    thickness: NDArray[np.float64]
    volume: NDArray[np.float64]
    scanner: Scanner | None = None


def simulate_arrays(
    folder: str | Path,
    people: int,
    seed: int = 0,
    overwrite: bool = False,
    severity: float = SEVERITY,
    scanners: int = 0,
    second_disease: bool = False,
) -> int:
    """Write ``volumes.npy``, ``rows.tsv``, ``arrays.json``, ``measures.tsv``, ``measures.json`` and ``truth.tsv``.

    Parameters
    ----------
    folder : path
        Empty or absent, unless it holds simulated arrays.
    people : int
        2 to 100,000; every ninth has two sessions.
    seed : int
    overwrite : bool
        Replace earlier simulated arrays.
    severity : float
        Mean severity of the patients, 0 (no effect) to 1 (that of the simulated images): a patient of severity 1 lost
        20 to 30 % of the thickness of ten cortical regions (`effects.DIAGNOSIS_EFFECT`).
    scanners : int
        Number of sites whose scanners differ in contrast and in errors of segmentation as well (`scanners`); people
        are dealt to them at random. 0: three sites, which differ in gain and blur.
    second_disease : bool
        Half of the patients, drawn at random, have another disease: diagnosis ``ventricular``, wide ventricles and a
        small hippocampus, the cortex as thick as in health.

    Returns
    -------
    int
        Number of volumes.
    """
    if not 2 <= people <= 100_000:
        raise InputError(
            f"Arrays of {plural(people, 'participant')} cannot be simulated.", remedy="Choose 2 to 100000."
        )
    if seed < 0:
        raise InputError(f"The seed {seed} is negative.", remedy="Choose 0 or more.")
    if not 0 <= severity <= 1:
        raise InputError(f"A severity of {severity} cannot be simulated.", remedy="Choose 0 to 1.")
    if not 0 <= scanners <= MOST_SCANNERS:
        raise InputError(f"{scanners} scanners cannot be simulated.", remedy=f"Choose 0 to {MOST_SCANNERS}.")
    folder = Path(folder)
    settings: dict[str, Any] = {"generator": "anatcl simulate --arrays", "format": 1, "people": people, "seed": seed}
    if severity != SEVERITY:
        settings["severity"] = severity
    settings |= ({"scanners": scanners} if scanners else {}) | ({"second_disease": True} if second_disease else {})
    prepare_folder(folder, settings, RECORD, MADE if overwrite else ())
    visits = [(k, session) for k in range(people) for session in ((1, 2) if k % 9 == 4 else (1,))]
    if (folder / "arrays.json").is_file():  # written last
        return len(visits)
    table = _table(anatomy())
    effects = [_scanner(seed, k) for k in range(scanners)] or [_site_effect(seed, k) for k in range(len(SITES))]
    rows, measures, truth = [], [], []
    with atomic_path(folder / "volumes.npy") as temporary:
        volumes = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(len(visits), *SHAPE))
        for n, (k, session) in enumerate(tqdm(visits, unit="volume", desc="simulate", disable=None)):
            who = _person(seed, k, severity, second_disease)
            at = int(who.rng(ARRAYS, SITE_OF).integers(scanners)) if scanners else k % len(SITES)
            row, volumes[n], measured, true = _visit(table, effects[at], who, session)
            rows.append(row)
            measures.append(measured)
            truth.append(true)
        volumes.flush()
        del volumes
    write_tsv(folder / "rows.tsv", pd.DataFrame(rows))
    write_tsv(folder / "measures.tsv", pd.DataFrame(measures))
    write_json(folder / "measures.json", _dictionary(measures[0]))
    write_tsv(folder / "truth.tsv", pd.DataFrame(truth))
    write_json(folder / "arrays.json", _description(len(visits)))
    return len(visits)


def _person(seed: int, index: int, typical: float, second_disease: bool = False) -> Person:
    """A person whose disease varies around `typical`, and whose score follows it."""
    who = person(seed, index)
    severity = float(np.clip(who.rng(ARRAYS).normal(typical, typical / 2), 0, 1)) if who.severity else 0.0
    score = 28.5 - (5.4 * severity / typical if severity else 0.0) + who.rng(ARRAYS, 7).normal(0, 1.5)
    who = replace(who, severity=severity, score=int(np.clip(round(score), 0, 30)))
    if second_disease and severity and who.rng(ARRAYS, DISEASE_OF).random() < 0.5:
        return replace(who, diagnosis=VENTRICULAR, disease=VENTRICULAR)
    return who


def _description(count: int) -> dict[str, Any]:
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = ORIGIN
    return {
        "format": 1,
        "shape": list(SHAPE),
        "axes": "RAS",
        "affine": affine.tolist(),
        "voxel_mm": VOXEL_MM,
        "dtype": "float16",
        "scale": 1.0,
        "map": "vbm",
        "crop": [[0, n] for n in SHAPE],
        "n": count,
        "simulated": True,
    }


@functools.cache
def _coarse_voxel() -> NDArray[np.intp]:
    """Flat index of the 4 mm voxel of each voxel of the brain mask."""
    base = anatomy()
    index = np.argwhere(base.mask) + base.affine[:3, 3] - (np.array(ORIGIN) - VOXEL_MM / 2 + 0.5)
    return np.ravel_multi_index(tuple((index / VOXEL_MM).astype(int).T), SHAPE)


def _table(base: Anatomy) -> Table:
    """Tabulate tissue per pair of region and coarse voxel."""
    key = base.region.astype(np.intp) * int(np.prod(SHAPE)) + _coarse_voxel()
    pairs, pair_of_voxel = np.unique(key, return_inverse=True)
    ones = np.ones(len(regions()))

    def tissue(factor: float, growth: float) -> tuple[Array, float]:
        gm, wm = tissue_fractions(base, Factors(ones * factor, ones, ones, growth))
        return np.bincount(pair_of_voxel, gm, minlength=len(pairs)), float(wm.sum(dtype=np.float64))

    gm = np.stack([tissue(f, GROWTH[0])[0] for f in KNOTS])
    grown, white = zip(*(tissue(1.0, g) for g in GROWTH), strict=True)
    lost = np.stack(grown) / np.maximum(grown[0], 1e-6)
    region, voxel = np.divmod(pairs, int(np.prod(SHAPE)))
    return Table(region, voxel, gm, lost, np.array(white))


def _grey(table: Table, effects: Factors) -> NDArray[np.float64]:
    """Grey matter (template mm3) of each pair for one person."""
    factor = np.append(1.0, effects.total)[table.region]
    place = np.clip((factor - KNOTS[0]) / (KNOTS[1] - KNOTS[0]), 0, len(KNOTS) - 1.001)
    low = place.astype(int)
    pair = np.arange(len(factor))
    grey = table.gm[low, pair] * (1 - place + low) + table.gm[low + 1, pair] * (place - low)
    place = float(np.clip((effects.ventricle_mm - GROWTH[0]) / (GROWTH[1] - GROWTH[0]), 0, len(GROWTH) - 1.001))
    low = int(place)
    return grey * (table.lost[low] * (1 - place + low) + table.lost[low + 1] * (place - low))


def _site_effect(seed: int, number: int) -> SiteEffect:
    """Draw a site's effect: overall gain and blur of the maps, an offset per region of the measures."""
    rng = np.random.default_rng([seed, SITE_EFFECT, number])
    count = len(regions())
    offsets = np.exp(rng.normal(0, 0.02, (2, count)))
    gain, blur = float(np.exp(rng.normal(0, 0.03))), float(rng.uniform(0.3, 0.7))
    return SiteEffect(SITES[number % len(SITES)], gain, blur, offsets[0], offsets[1])


def _scanner(seed: int, number: int) -> SiteEffect:
    """Draw a site whose scanner differs from others in contrast and segmentation, too."""
    drawn = Scanner.draw(np.random.default_rng([seed, SCANNER, number]), SHAPE, VOXEL_MM)
    return replace(_site_effect(seed, number), name=f"scanner-{number + 1:02d}", scanner=drawn)


def _jacobian(rng: np.random.Generator, size: NDArray[np.floating]) -> Array:
    """Smooth local volume change times the head's size, on the coarse grid."""
    field = sum(
        amplitude * (noise := ndimage.gaussian_filter(rng.standard_normal(SHAPE), smoothness)) / noise.std()
        for smoothness, amplitude in ((6.0, 0.10), (3.0, 0.06))
    )
    return (np.exp(field) * np.prod(size)).astype(np.float32)


def _visit(
    table: Table, site: SiteEffect, who: Person, session: int
) -> tuple[dict[str, Any], Array, dict[str, Any], dict[str, Any]]:
    """Row, volume, measures and truth of one participant at one session."""
    years = 0.0 if session == 1 else round(float(who.rng(ARRAYS, 9).uniform(1, 3)), 2)
    effects = who.factors(years)
    jacobian = _jacobian(who.rng(ARRAYS, 0), who.size).ravel()
    grey = _grey(table, effects) * jacobian[table.voxel]
    rng = who.rng(ARRAYS, session)
    erred = _erred(table, site.scanner, who.rng(ARRAYS, SCANNER, session), grey, jacobian)
    seen = grey * erred * np.append(1.0, site.volume)[table.region]
    volume = np.bincount(table.voxel, seen, minlength=int(np.prod(SHAPE))).reshape(SHAPE) / VOXEL_MM**3
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.8)
    volume = ndimage.gaussian_filter(volume * site.gain, site.blur)
    volume = np.clip(volume * (1 + 0.1 * noise / noise.std()), 0, None)
    stem = f"{who.participant_id}/ses-{session}/anat/{who.participant_id}_ses-{session}"
    names = {"scan": stem, "participant_id": who.participant_id, "session_id": f"ses-{session}"}
    row = names | {
        "age": round(who.age + years, 2),
        "sex": who.sex,
        "site": site.name,
        "diagnosis": who.diagnosis,
        "score": who.score,
    }
    volumes = np.bincount(table.region, grey, minlength=len(regions()) + 1)
    scale = np.bincount(table.region, jacobian[table.voxel]) / np.maximum(np.bincount(table.region), 1)
    thickness = anatomy().mean_thickness * effects.total * scale[1:] ** (1 / 3)
    if site.scanner is not None:
        wrong = np.bincount(table.region, grey * erred, minlength=len(volumes)) / np.maximum(volumes, 1e-6)
        volumes, thickness = volumes * wrong, thickness * wrong[1:] ** THICKNESS_SHARE
    measured = names | _measures(rng, site, who, volumes, thickness, _white(table, effects) * float(np.prod(who.size)))
    true = names | {"severity": round(who.severity, 4)}
    true |= {f"factor_{r.key}": f for r, f in zip(regions(), effects.total, strict=True)}
    return row, volume.astype(np.float32), measured, true


def _erred(table: Table, scanner: Scanner | None, rng: np.random.Generator, grey: Array, jacobian: Array) -> Array:
    """Factor of each pair's grey matter in the segmentation of one scan; 1 without a scanner."""
    if scanner is None:
        return np.ones(1)
    true = np.bincount(table.voxel, grey, minlength=len(jacobian)) / VOXEL_MM**3 / np.maximum(jacobian, 1e-6)
    factor = scanner.factor(rng, true.reshape(SHAPE)).ravel()[table.voxel]
    deep = np.array([False, *(not r.cortical for r in regions())])[table.region]
    return np.where(deep, factor * scanner.deep, factor)


def _white(table: Table, effects: Factors) -> float:
    return float(np.interp(effects.ventricle_mm, GROWTH, table.wm))


def _measures(
    rng: np.random.Generator,
    site: SiteEffect,
    who: Person,
    volumes: Array,
    thickness: Array,
    white: float,
) -> dict[str, Any]:
    """Measures of one scan: the truth with the errors of segmentation and of the site."""
    count = len(regions())
    error = np.exp(rng.normal(0, [[0.03], [0.03], [0.02], [0.08]], (4, count)))
    thick = thickness * site.thickness * error[0]
    volume = volumes[1:] * site.volume * error[1]
    area = volumes[1:] / thickness * error[2]
    tiv = TEMPLATE_TIV * float(np.prod(who.size)) * float(np.exp(rng.normal(0, 0.005)))
    grey = float(volumes.sum()) * float(np.exp(rng.normal(0, 0.01)))
    found: dict[str, Any] = {"tiv_mm3": tiv, "gm_mm3": grey, "wm_mm3": white, "csf_mm3": max(tiv - grey - white, 0.0)}
    cortical = [(i, r) for i, r in enumerate(regions()) if r.cortical]
    for name, values in (("thickness", thick), ("thicknessstd", 0.22 * thick * error[3]), ("volume", volume),
                         ("area", area)):  # fmt: skip
        found |= {f"{name}_{r.key}": float(values[i]) for i, r in cortical}
    found |= {f"volume_{r.key}": float(volume[i]) for i, r in enumerate(regions()) if not r.cortical}
    return found | {"thickness_method": "simulated"}


def _dictionary(columns: dict[str, Any]) -> dict[str, Any]:
    """Describe each column of measures.tsv."""
    units = {"thickness": "mm", "thicknessstd": "mm", "volume": "mm3", "area": "mm2"}
    words = {"thickness": "Mean cortical thickness", "thicknessstd": "Standard deviation of cortical thickness",
             "volume": "Grey-matter volume", "area": "Surface area"}  # fmt: skip
    described: dict[str, Any] = {}
    for column in columns:
        measure, _, region = column.partition("_")
        if measure in units:
            described[column] = {"Description": f"{words[measure]} of {region}", "Units": units[measure]}
        elif column.endswith("_mm3"):
            described[column] = {"Description": f"Volume of {measure}", "Units": "mm3"}
        else:
            described[column] = {"Description": column.replace("_", " ")}
    return described
