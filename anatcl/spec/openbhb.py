"""Names of the public OpenBHB release: its parts, tables, maps and measures.

Source: Dufumier et al. 2022 and the readers of the release that its authors published. Below its folder lie
``participants.tsv`` and ``qc.tsv``; ``resource/``; and for each part ``rawdata/sub-*/ses-*/*_T1w.nii.gz`` and
``derivatives/sub-*/ses-*/*.npy``.
"""

from __future__ import annotations

from pathlib import Path

LAYOUT = "openbhb"
RELEASE = "release"  # in pretrain: arrays, the maps that the dataset brings
MAPS = "maps"  # where pretrain: maps names a folder
PARTS = ("train", "val")
RAW, DERIVATIVES, RESOURCE = "rawdata", "derivatives", "resource"
# Tables of people, one level above the folders of people; later ones add columns.
TABLES = ("participants.tsv", "qc.tsv")
SPLIT = "split"  # column of the official split: train, internal_test, external_test
# End of the name of each file of a person, in the release that has one file for each.
SUFFIX = {
    "vbm": "_preproc-cat12vbm_desc-gm_T1w.npy",
    "quasi-raw": "_preproc-quasiraw_T1w.npy",
    "desikan": "_preproc-freesurfer_desc-desikan_ROI.npy",
}
# Where the release has one table for each part instead.
DESIKAN_TABLE = "freesurfer_roi/desikan_roi_features.csv"
# Names of the regions, below `RESOURCE`: the newer file, and the older one.
RESOURCES, DESIKAN_LABELS = "resources.json", "freesurfer_atlas-desikan_labels.txt"
# Mask of each map below `RESOURCE`, and the value above which a voxel belongs to it.
MASKS = {
    "vbm": ("cat12vbm_space-MNI152_desc-gm_TPM.nii.gz", 0.05),
    "quasi-raw": ("quasiraw_space-MNI152_desc-brain_T1w.nii.gz", 0.0),
}
# Volumes of participants.tsv, in cm3, and our names for them.
VOLUMES = {"tiv": "tiv_mm3", "gmv": "gm_mm3", "wmv": "wm_mm3", "csfv": "csf_mm3"}


def desikan_files(root: Path) -> list[Path]:
    """A file of Desikan measures for each participant, in either part; none in the release that has tables."""
    return sorted(f for part in PARTS for f in (root / part / DERIVATIVES).glob(f"sub-*/**/sub-*{SUFFIX['desikan']}"))


def desikan_tables(root: Path) -> list[Path]:
    """The tables of Desikan measures of the parts, those that are there."""
    return [path for part in PARTS if (path := root / part / DERIVATIVES / DESIKAN_TABLE).is_file()]


def measure_files(root: Path) -> list[Path]:
    """All files that measures and the names of their regions are read from."""
    named = [path for name in (RESOURCES, DESIKAN_LABELS) if (path := root / RESOURCE / name).is_file()]
    return [*desikan_files(root), *desikan_tables(root), *named]
