"""A small release in the true layout of OpenBHB: tables, raw heads, maps, measures, resources; its people age."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from anatcl.measures.openbhb import CHANNELS, REGIONS

SHAPE = (25, 29, 25)  # of the maps, on the grid of the release's masks: LAS
AFFINE = np.array([[-7.5, 0, 0, 90], [0, 7.5, 0, -126], [0, 0, 7.5, -72], [0, 0, 0, 1.0]])
HEAD = (24, 26, 28)
SPLITS = ("train", "train", "train", "internal_test", "external_test")
LABELS = [f"{side}-{region}" for side in ("lh", "rh") for region in REGIONS]


def make_release(
    root: Path, people: int = 20, *, heads: bool = True, maps: bool = True, table: bool = True
) -> pd.DataFrame:
    """Write a release below `root`; return its table of participants.

    Parameters
    ----------
    people : int
        Three fifths are in the part train, the others in val.
    heads, maps : bool
        Which images there are.
    table : bool
        Measures as one table for each part (the newer release), or as a file for each person.
    """
    rng = np.random.default_rng(0)
    participants = _participants(people, rng)
    root.mkdir(parents=True)
    participants.to_csv(root / "participants.tsv", sep="\t", index=False)
    quality = participants[["participant_id"]].assign(**{"reconall-euler": -20, "cat12vbm-iqr": 2.1})
    quality.to_csv(root / "qc.tsv", sep="\t", index=False)
    _resources(root / "resource")
    measures = np.stack([_measures(age, rng) for age in participants["age"]])
    for number, row in enumerate(participants.itertuples()):
        part = root / ("train" if row.split == "train" else "val")
        person = f"sub-{row.participant_id}/ses-1"
        if heads:
            _head(part / "rawdata" / person / f"sub-{row.participant_id}_ses-1_T1w.nii.gz", rng)
        folder = part / "derivatives" / person
        folder.mkdir(parents=True)
        if maps:
            stem = folder / f"sub-{row.participant_id}"
            np.save(f"{stem}_preproc-cat12vbm_desc-gm_T1w.npy", _map(row.age, rng)[None, None])
            np.save(f"{stem}_preproc-quasiraw_T1w.npy", 900 * _map(row.age, rng)[None, None])
        if not table:
            np.save(
                f"{folder}/sub-{row.participant_id}_preproc-freesurfer_desc-desikan_ROI.npy", measures[number][None]
            )
    if table:
        _tables(root, participants, measures)
    return participants


def _participants(people: int, rng: np.random.Generator) -> pd.DataFrame:
    numbers = np.arange(people)
    return pd.DataFrame(
        {
            "participant_id": 100000000000 + 7 * numbers,
            "study": numbers % 2 + 1,
            "sex": np.where(numbers % 2, "female", "male"),
            "age": np.round(rng.uniform(18, 80, people), 2),
            "site": numbers % 3 + 1,
            "diagnosis": "control",
            "tiv": np.round(rng.normal(1500, 100, people), 1),
            "csfv": np.round(rng.normal(300, 20, people), 1),
            "gmv": np.round(rng.normal(650, 30, people), 1),
            "wmv": np.round(rng.normal(550, 30, people), 1),
            "magnetic_field_strength": 3.0,
            "acquisition_setting": 1,
            "siteXacq": numbers % 4,
            "split": [SPLITS[n % len(SPLITS)] for n in numbers],
        }
    )


def _resources(folder: Path) -> None:
    folder.mkdir()
    mask = nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE)
    nib.save(mask, folder / "cat12vbm_space-MNI152_desc-gm_TPM.nii.gz")
    nib.save(mask, folder / "quasiraw_space-MNI152_desc-brain_T1w.nii.gz")
    (folder / "resources.json").write_text(json.dumps({"desikan_roi": {"features": LABELS, "channels": CHANNELS}}))


def _measures(age: float, rng: np.random.Generator) -> np.ndarray:
    """Seven measures of 68 regions; the cortex thins with age."""
    values = rng.uniform(500, 3000, (len(CHANNELS), len(LABELS)))
    values[CHANNELS.index("thickness")] = 3.0 - 0.008 * age + rng.normal(0, 0.05, len(LABELS))
    return values.astype(np.float32)


def _map(age: float, rng: np.random.Generator) -> np.ndarray:
    """A ball of tissue that shrinks with age."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    ball = (np.sqrt((grid**2).sum(0)) < 0.9).astype(np.float32)
    return (ball * (0.9 - 0.006 * age) + ball * rng.normal(0, 0.02, SHAPE)).astype(np.float32).clip(0)


def _head(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(rng.random(HEAD).astype(np.float32), np.diag([5.0, 5, 5, 1])), path)


def _tables(root: Path, participants: pd.DataFrame, measures: np.ndarray) -> None:
    names = [f"{label}_{channel}" for channel in CHANNELS for label in LABELS]
    flat = pd.DataFrame(measures.reshape(len(measures), -1), columns=names)
    table = pd.concat([participants[["participant_id"]].assign(session=1), flat], axis=1)
    for part, mine in table.groupby(np.where(participants["split"] == "train", "train", "val")):
        file = root / part / "derivatives" / "freesurfer_roi" / "desikan_roi_features.csv"
        file.parent.mkdir(parents=True)
        mine.to_csv(file, index=False)
