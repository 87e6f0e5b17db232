"""The simulated cohort: a pure function of the seed and of a person's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anatcl.simulate.effects import CORTICAL, Factors, factors, person_factors

GOLDEN = 0.6180339887498949
DIAGNOSES = ("HC", "patient")
LINEAR_SIZE = 0.915  # an adult's brain beside ICBM152, which is larger than life


@dataclass(frozen=True)
class Site:
    """A scanner: contrast (fractions of white matter), noise, bias field, and how it stores its images."""

    name: str
    csf: float
    gm: float
    scalp: float
    noise: float
    bias: float
    orientations: tuple[str, ...]
    tilt_deg: float
    eight_bit: bool
    field_of_view_mm: tuple[float, float, float]  # right-left, posterior-anterior, inferior-superior
    sidecar: tuple[tuple[str, object], ...] = ()


SITES = (
    Site(
        "alpha",
        csf=0.20,
        gm=0.68,
        scalp=1.0,
        noise=0.020,
        bias=0.12,
        orientations=("PSR", "ASL", "PIR"),
        tilt_deg=0.0,
        eight_bit=False,
        field_of_view_mm=(188.0, 240.0, 220.0),
        sidecar=(
            ("Manufacturer", "Simulated A"),
            ("MagneticFieldStrength", 3),
            ("RepetitionTime", 2.3),
            ("FlipAngle", 9),
        ),
    ),
    Site(
        "beta",
        csf=0.27,
        gm=0.74,
        scalp=0.85,
        noise=0.030,
        bias=0.08,
        orientations=("LAS", "RAS", "LPS"),
        tilt_deg=6.0,
        eight_bit=True,
        field_of_view_mm=(196.0, 248.0, 210.0),
        sidecar=(
            ("Manufacturer", "Simulated B"),
            ("MagneticFieldStrength", 1.5),
            ("RepetitionTime", 2.0),
            ("FlipAngle", 8),
        ),
    ),
)


@dataclass(frozen=True)
class Person:
    """What stays the same in all scans of a person.

    Attributes
    ----------
    index : int
        Number in the cohort, from 0.
    age : float
        Years at the first session.
    severity : float
        0 in health, near 1 in a typical patient.
    score : int
        Clinical score, 0 to 30; low is ill.
    size : ndarray of shape (3,)
        Linear size relative to the ICBM152 brain along x, y, z.
    own : ndarray of shape (83,)
        The person's own factors, see `anatcl.simulate.effects.person_factors`.
    disease : str
        Which disease `severity` is of, see `anatcl.simulate.effects.DISEASES`.
    """

    seed: int
    index: int
    age: float
    sex: str
    site: Site
    diagnosis: str
    severity: float
    score: int
    size: NDArray[np.float64]
    own: NDArray[np.float64]
    ventricle_mm: float
    disease: str = CORTICAL

    @property
    def participant_id(self) -> str:
        """BIDS label, ``sub-001``."""
        return f"sub-{self.index + 1:03d}"

    def rng(self, *purpose: int) -> np.random.Generator:
        """Source of random numbers for one purpose, independent of all others."""
        return np.random.default_rng([self.seed, self.index, *purpose])

    def factors(self, years: float = 0.0) -> Factors:
        """Effects on the person `years` after the first session; a patient's disease goes on."""
        severity = self.severity * (1 + 0.08 * years)
        return factors(self.age + years, severity, self.own, self.ventricle_mm, self.disease)


@dataclass(frozen=True)
class Scan:
    """One image of a person: its BIDS entities and when it was taken."""

    session: str | None
    entities: tuple[str, ...]
    years: float
    number: int

    def stem(self, participant_id: str) -> str:
        """Path without suffix: ``sub-001/ses-1/anat/sub-001_ses-1_run-1``."""
        folders = [participant_id] + ([f"ses-{self.session}"] if self.session else [])
        return "/".join([*folders, "anat", "_".join([*folders, *self.entities])])


def person(seed: int, index: int) -> Person:
    """Draw person number `index`; no other person changes it.

    Site and diagnosis alternate so that every combination occurs among any four neighbours; ages follow a
    low-discrepancy sequence from 20 to 80, so that they are spread evenly in each group.
    """
    rng = np.random.default_rng([seed, index, 0])
    start = np.random.default_rng([seed, 0xA6E]).random()
    age = round(20 + 60 * ((start + (index // 4) * GOLDEN + (index % 4) * 0.25) % 1), 2)
    diagnosis = DIAGNOSES[(index // 2 + index // 4) % 2]
    sex = "MF"[int(rng.integers(2))]
    severity = float(np.clip(rng.normal(1.0, 0.2), 0.5, 1.5)) if diagnosis == "patient" else 0.0
    score = int(np.clip(round(28.5 - 9 * severity + rng.normal(0, 1.2)), 0, 30))
    size = LINEAR_SIZE * (1.025 if sex == "M" else 0.985) * np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.012, 3))
    ventricle = float(rng.normal(0, 0.35))
    return Person(
        seed,
        index=index,
        age=age,
        sex=sex,
        site=SITES[index % 2],
        diagnosis=diagnosis,
        severity=severity,
        score=score,
        size=size,
        own=person_factors(rng),
        ventricle_mm=ventricle,
    )


def scans(who: Person) -> list[Scan]:
    """List the scans of a person: sessions, runs and acquisitions are mixed, as in real datasets."""
    k = who.index
    if k == 3:
        return [Scan(None, (), 0.0, 0)]
    if k % 6 == 1:
        years = round(float(who.rng(1).uniform(1.0, 2.5)), 2)
        return [Scan("1", (), 0.0, 0), Scan("2", (), years, 1)]
    if k % 12 == 4:
        return [Scan("1", ("run-1",), 0.0, 0), Scan("1", ("run-2",), 0.0, 1)]
    if k % 12 == 7 or k % 12 == 10:
        return [Scan("1", ("acq-mprage",), 0.0, 0)]
    return [Scan("1", (), 0.0, 0)]
