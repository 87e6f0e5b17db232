"""Write the simulated cohort as a BIDS dataset, with the truth in ``sourcedata/truth``."""

from __future__ import annotations

import functools
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from anatcl import __version__
from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_json, write_json, write_text, write_tsv
from anatcl.simulate import texts
from anatcl.simulate.anatomy import anatomy
from anatcl.simulate.effects import AGE_SLOPE, AGE_WEIGHT, DIAGNOSIS_EFFECT, REFERENCE_AGE
from anatcl.simulate.field import write_field
from anatcl.simulate.people import Person, Scan, person, scans
from anatcl.simulate.render import Truth, make_image, make_truth

TRUTH = Path("sourcedata") / "truth"
RECORD = TRUTH / "simulation.json"
DONE = TRUTH / "scans.tsv"  # written last
MADE = ("sub-*", "sourcedata/truth", "dataset_description.json", "participants.*", "README")
FIELD = "_from-MNI152NLin2009aSym_to-T1w_mode-image_xfm.nii.gz"
COARSEST_MM = 12.0  # largest voxel that still shows a head


def simulate_dataset(
    folder: str | Path,
    participants: int = 24,
    voxel_mm: float = 2.0,
    seed: int = 0,
    jobs: int = 1,
    overwrite: bool = False,
) -> int:
    """Write a simulated BIDS dataset; go on where an interrupted run of the same settings stopped.

    Parameters
    ----------
    folder : path
        Empty or absent, unless it holds this very dataset.
    participants : int
        Number of people; each has one scan or two.
    voxel_mm : float
        Size of the isotropic voxels, 1 to 12 mm.
    seed : int
        Not negative. Person number k depends on the seed and k alone.
    jobs : int
        Processes that work side by side.
    overwrite : bool
        Replace an earlier simulated dataset in `folder`.

    Returns
    -------
    int
        Number of scans in the dataset.

    Raises
    ------
    InputError
        If a setting is out of range, or `folder` holds anything else.
    """
    folder = Path(folder)
    _check(participants, voxel_mm, seed, jobs)
    settings = {"generator": "anatcl simulate", "format": 1, "participants": participants, "voxel_mm": float(voxel_mm)}
    prepare_folder(folder, settings | {"seed": seed}, RECORD, MADE if overwrite else ())
    people = [person(seed, k) for k in range(participants)]
    todo = [(who.index, scan) for who in people for scan in scans(who)]
    if (folder / DONE).is_file() and all(_image_path(folder, people[k], scan).is_file() for k, scan in todo):
        return len(todo)  # touch nothing: what follows looks at the files' times
    _write_tables(folder, people)
    work = functools.partial(_make, str(folder), seed, voxel_mm)
    for _ in tqdm(_parallel(work, todo, jobs), total=len(todo), unit="scan", desc="simulate", disable=None):
        pass
    _write_truth_table(folder, people)
    return len(todo)


def prepare_folder(folder: Path, settings: dict[str, Any], record: Path, replace: tuple[str, ...]) -> None:
    """Create `folder` and note the settings in it; refuse a folder with other contents.

    An earlier simulation with other settings is removed if `replace` holds the patterns of its files; what else lies in
    the folder stays.
    """
    known = folder / record
    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file, not a folder.", folder, "Name a folder that is empty or does not exist.")
    if folder.is_dir() and any(folder.iterdir()):
        if not known.is_file() or read_json(known).get("generator") != settings["generator"]:
            raise InputError("the folder is not empty.", folder, "Name a folder that is empty or does not exist.")
        if read_json(known) == settings:
            return
        if not replace:
            raise InputError(
                f"the folder holds a simulated dataset with other settings ({json.dumps(read_json(known))}).",
                folder,
                "Give --overwrite to replace it, or name another folder.",
            )
        for path in sorted(p for pattern in replace for p in folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(known, settings)


def _check(participants: int, voxel_mm: float, seed: int, jobs: int) -> None:
    """Refuse settings out of range, each with its own sentence."""
    if not 1 <= participants <= 999:
        raise InputError(f"{participants} participants cannot be simulated.", remedy="Choose 1 to 999.")
    if not 1 <= voxel_mm <= COARSEST_MM:
        raise InputError(f"Voxels of {voxel_mm} mm cannot be simulated.", remedy="Choose 1 to 12 mm.")
    if seed < 0:
        raise InputError(f"The seed {seed} is negative.", remedy="Choose 0 or more.")
    if jobs < 1:
        raise InputError(f"{jobs} jobs cannot work.", remedy="Choose 1 or more.")


def _parallel(work: Any, todo: list[tuple[int, Scan]], jobs: int) -> Iterator[None]:
    """Do all the work, yielding once per item in whatever order they finish."""
    if jobs == 1 or len(todo) == 1:
        yield from map(work, todo)
        return
    methods = multiprocessing.get_all_start_methods()
    if "fork" in methods:
        anatomy()  # prepared once; forked workers share it
    context = multiprocessing.get_context("fork" if "fork" in methods else None)
    with ProcessPoolExecutor(min(jobs, len(todo)), mp_context=context) as pool:
        futures = [pool.submit(work, item) for item in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _make(folder: str, seed: int, voxel_mm: float, item: tuple[int, Scan]) -> None:
    """Make one scan with its truth; the image is written last, so that its presence means all is there."""
    index, scan = item
    who = person(seed, index)
    image = _image_path(Path(folder), who, scan)
    if image.exists():
        return
    truth = make_truth(anatomy(), who, scan, voxel_mm)
    _write_truth(Path(folder) / TRUTH / scan.stem(who.participant_id), truth, who, scan)
    write_json(image.with_name(image.name.replace(".nii.gz", ".json")), _sidecar(who))
    _write_image(image, make_image(truth, who, scan), truth.affine, who)


def _image_path(folder: Path, who: Person, scan: Scan) -> Path:
    return folder / f"{scan.stem(who.participant_id)}_T1w.nii.gz"


def _sidecar(who: Person) -> dict[str, Any]:
    return {"Modality": "MR", "MRAcquisitionType": "3D", "BodyPart": "HEAD", **dict(who.site.sidecar)}


def _write_image(path: Path, image: NDArray[np.float32], affine: NDArray[np.float64], who: Person) -> None:
    """Store as the site does: int16 as it is, or eight bits with a slope."""
    scale = 600.0  # white matter on the scanner's scale
    if who.site.eight_bit:
        slope = 2.0 * scale / 255
        stored = np.clip(np.round(image * (scale / slope)), 0, 255).astype(np.uint8)
    else:
        slope, stored = 1.0, np.clip(np.round(image * scale), 0, 32767).astype(np.int16)
    write_nifti(path, stored, affine, slope)


def write_nifti(path: Path, stored: NDArray[np.integer], affine: NDArray[np.float64], slope: float = 1.0) -> None:
    """Write integers as they are, with `slope` in the header (1 is left out), byte-equal on every run."""
    image = nib.Nifti1Image(stored, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    if slope != 1:
        # nibabel writes an array as it is when the header already has a slope.
        image.header.set_slope_inter(slope, 0)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _write_truth(base: Path, truth: Truth, who: Person, scan: Scan) -> None:
    """Write masks, tissue maps, labels, deformation, the table of regions and the summary of one scan."""
    for name, mask in (("brain", truth.brain), ("icv", truth.icv)):
        write_nifti(Path(f"{base}_desc-{name}_mask.nii.gz"), mask.astype(np.uint8), truth.affine)
    for name, fraction in (("GM", truth.gm), ("WM", truth.wm), ("CSF", truth.csf)):
        stored = np.round(np.clip(fraction, 0, 1) * 255).astype(np.uint8)
        write_nifti(Path(f"{base}_label-{name}_probseg.nii.gz"), stored, truth.affine, 1 / 255)
    write_nifti(Path(f"{base}_atlas-DesikanKilliany_dseg.nii.gz"), truth.labels, truth.affine)
    write_field(Path(f"{base}{FIELD}"), truth.points, truth.affine)
    write_tsv(f"{base}_regions.tsv", truth.table)
    effects = who.factors(scan.years)
    person_truth = {
        "age": round(who.age + scan.years, 2),
        "severity": round(who.severity, 4),
        "ventricle_growth_mm": round(effects.ventricle_mm, 3),
    }
    write_json(f"{base}_truth.json", person_truth | truth.summary)


def _write_tables(folder: Path, people: list[Person]) -> None:
    """Write the dataset's description, its participants and sessions, and how the effects were made."""
    write_json(folder / "dataset_description.json", texts.description(__version__))
    write_text(folder / "README", texts.README)
    write_text(folder / TRUTH / "README", texts.TRUTH_README)
    write_json(folder / "participants.json", texts.PARTICIPANTS)
    rows = [
        {"participant_id": p.participant_id, "age": p.age, "sex": p.sex, "site": p.site.name,
         "diagnosis": p.diagnosis, "score": p.score} for p in people
    ]  # fmt: skip
    write_tsv(folder / "participants.tsv", pd.DataFrame(rows))
    for p in people:
        sessions = {s.session: round(p.age + s.years, 2) for s in scans(p) if s.session}
        if len(sessions) > 1:
            table = pd.DataFrame({"session_id": [f"ses-{s}" for s in sessions], "age": list(sessions.values())})
            write_tsv(folder / p.participant_id / f"{p.participant_id}_sessions.tsv", table)
    effects = {
        "age": {"thinning_per_year": AGE_SLOPE, "reference_age_years": REFERENCE_AGE, "weight_of_region": AGE_WEIGHT},
        "diagnosis": {"loss_at_severity_1": DIAGNOSIS_EFFECT},
    }
    write_json(folder / TRUTH / "effects.json", effects)


def _write_truth_table(folder: Path, people: list[Person]) -> None:
    """Gather the scans' summaries in one table."""
    rows = []
    for who in people:
        for scan in scans(who):
            stem = scan.stem(who.participant_id)
            summary = read_json(folder / TRUTH / f"{stem}_truth.json")
            flat = {k: v for k, v in summary.items() if not isinstance(v, list | dict)}
            rows.append({"scan": stem, "participant_id": who.participant_id, **flat})
    write_tsv(folder / DONE, pd.DataFrame(rows), float_format="%.8g")
