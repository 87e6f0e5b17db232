"""Names of files and scans, the steps of a scan, and the columns of exclusions."""

from __future__ import annotations

from pathlib import Path

# -- names ------------------------------------------------------------------------------------------------------

# Long names of the BIDS specification to the short ones in file names, of raw images.
ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "run": "run",
    "echo": "echo",
    "part": "part",
    "chunk": "chunk",
}
INDICES = ("run", "echo", "chunk")
LABEL = "[A-Za-z0-9+]+"
RAW = tuple(short for short in ENTITIES.values() if short not in ("sub", "ses"))
# The stem of a raw T1w scan. No other entities, so that it cannot swallow `_space-`, `_desc-` or `_atlas-`.
SCAN_PATTERN = rf"sub-{LABEL}(?:/ses-{LABEL})?/anat/sub-{LABEL}(?:_ses-{LABEL})?(?:_(?:{'|'.join(RAW)})-{LABEL})*"
# The mean of a participant's scans has the name of a scan, so that the rules of scans make its masks and its
# registration.
PERSON_MARK = "_rec-person"
RAW_PATTERN = rf"(?!.*{PERSON_MARK}_desc-){SCAN_PATTERN}"
PERSON_PATTERN = rf"sub-{LABEL}/anat/sub-{LABEL}{PERSON_MARK}"
# Methods stand before an underscore in file names, tasks behind it.
METHOD_PATTERN = "[A-Za-z0-9-]+"
TASK_PATTERN = "[A-Za-z0-9_.-]+"

# -- folders and files, relative to the folder of a run -----------------------------------------------------------

RESULTS = Path("results")
INDEX = RESULTS / "bids"
PREPROCESS = RESULTS / "preprocess"
MEASURES = RESULTS / "measures"
PRETRAIN = RESULTS / "pretrain"
EVALUATE = RESULTS / "evaluate"
REPORT = RESULTS / "report"
INTERPRETATION = EVALUATE / "interpretation"
# Embeddings of changed scans, {perturbation}/{method}/..., as those of clean scans lie in EVALUATE.
PERTURBED = EVALUATE / "perturbed"
FAILURES = RESULTS / "failures"
LOGS = Path("logs")
BENCHMARKS = RESULTS / "benchmarks"
SAVED = RESULTS / "config.json"
RECORD = RESULTS / "run.json"
MEASURES_TABLE = MEASURES / "measures.tsv"
PAGE = REPORT / "index.html"
ARRAYS = PRETRAIN / "arrays"
# What the stages between index and evaluation left out.
EXCLUDED_TABLES = tuple(folder / "excluded.tsv" for folder in (PREPROCESS, MEASURES, ARRAYS))
COHORT_PAGE = REPORT / "cohort.html"
PARTICIPANTS = REPORT / "participants"

# -- scans --------------------------------------------------------------------------------------------------------

# Rules that work on scans, in the order of the data, with the file that each leaves last (relative to RESULTS).
STEPS = {
    "bias_correct": "preprocess/{scan}_desc-preproc_T1w.nii.gz",
    "skullstrip": "preprocess/{scan}_desc-icv_mask.nii.gz",
    "register": "preprocess/{scan}_from-{template}_to-T1w_mode-image_xfm.h5",
    "segment": "preprocess/{scan}_dseg.nii.gz",
    "qc": "preprocess/{scan}_desc-qc.json",
    "surfaces": "measures/{scan}_desc-surfaces_qc.json",
    "measure": "measures/{scan}_atlas-{atlas}_measures.tsv",
}
# Rules of participants whose scans share masks and registration: their mean scan, and how a scan lies to it.
OF_PERSONS = {
    "person_template": "preprocess/{scan}_desc-preproc_T1w.nii.gz",
    "person_align": "preprocess/{scan}_from-person_to-T1w_xfm.txt",
}
ONLY_WITH = {"surfaces": "surface"}  # rules that one engine of the measures has

# What `surfaces` leaves of each hemisphere (`{scan}_hemi-L_...gii`), and its numbers and picture of the scan.
SURFACE_FILES = (
    "white.surf",
    "midthickness.surf",
    "pial.surf",
    "sphere.surf",
    "desc-reg_sphere.surf",
    "thickness.shape",
    "curv.shape",
)
SURFACE_NUMBERS = "desc-surfaces_qc.json"
SURFACE_PICTURE = "desc-surfaces_qc.png"

# All rules that end at the scans, and the folders of their results: with them nothing is trained or scored.
OF_SCANS = (
    "bids",
    "template",
    *STEPS,
    *OF_PERSONS,
    "participant",
    "preprocess_chunk",
    "preprocess",
    "measures_chunk",
    "measures",
    "participant_pages",
    "cohort_page",
)
FOLDERS_OF_SCANS = (INDEX, PREPROCESS, MEASURES, PARTICIPANTS, COHORT_PAGE)

# What is said of a scan that is left out; in the report's table also where the log is.
EXCLUDED = ("scan", "participant_id", "stage", "reason", "file", "remedy")
EXCLUDED_WITH_LOG = (*EXCLUDED, "log")


def person_stem(scan: str) -> str:
    """Stem under which the template of a scan's person lies."""
    subject = scan.split("/")[0]
    return f"{subject}/anat/{subject}{PERSON_MARK}"


def steps(engine: str) -> list[str]:
    """Rules that work on scans with an engine of the measures, in the order of the data."""
    return [step for step in STEPS if ONLY_WITH.get(step, engine) == engine]


def result(step: str, scan: str, template: str, atlas: str) -> Path:
    """The file that a step of a scan leaves last."""
    return RESULTS / (STEPS | OF_PERSONS)[step].format(scan=scan, template=template, atlas=atlas)
