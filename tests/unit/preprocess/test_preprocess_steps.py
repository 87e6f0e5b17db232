"""Every step on one oblique, anisotropic head of unequal size, twice: equal bytes, and what is written is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anatcl.images import Volume, load, save
from anatcl.preprocess.head import packaged_head
from anatcl.preprocess.qc import picture
from anatcl.preprocess.template import prepare

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "tiny.json"
HOSTILE = "a $(touch pwned) 'scan'; \"b\"\nof two lines"
MASKS = ("brain", "icv")


def oblique_head() -> tuple[Volume, np.ndarray]:
    """The packaged head and its brain mask, seen on a slanted grid of 3 x 4.5 x 3.6 mm stored as PSR or so."""
    head = packaged_head(4.0)
    spacing, shape = np.array([4.5, 3.6, 3.0]), np.array([56, 70, 64])
    turn = Rotation.from_euler("xyz", (8, -6, 10), degrees=True).as_matrix()
    affine = np.eye(4)
    # First axis towards the back, second up, third to the right.
    affine[:3, :3] = turn @ np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]]) * spacing
    centre = head.affine @ np.append((np.array(head.head_t1.shape) - 1) / 2, 1)
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ (shape - 1) / 2
    to_head = np.linalg.inv(head.affine) @ affine

    def seen(data: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(data, to_head[:3, :3], to_head[:3, 3], tuple(shape), order=order)

    noise = np.random.default_rng(0).normal(0, 0.02, tuple(shape))
    image = np.maximum(seen(head.head_t1.astype(np.float32), 1) + noise, 0) * 300
    return Volume(image.astype(np.float32), affine), seen(head.brain_mask.astype(np.float32), 1) > 0.5


def run(step: str, *flags: str | Path, **paths: str | Path) -> None:
    """One step as the rules call it, with one thread."""
    command = [sys.executable, "-m", "anatcl", "preprocess", step, "--scan", "sub-1/anat/sub-1", "--seed", "0"]
    command += ["--recipe", str(RECIPE), *map(str, flags)]
    command += [str(word) for name, path in paths.items() for word in (f"--{name.replace('_', '-')}", path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def preprocess(raw: Path, folder: Path, template: Path) -> None:
    """All steps of one scan."""
    folder.mkdir()
    at = {
        name: folder / f"{name}.nii.gz" for name in ("image", "brain", "icv", "dseg", "CSF", "GM", "WM", "vbm", "raw")
    }
    run("bias_correct", image=raw, out=at["image"])
    head = folder / "head.txt"
    run(
        "skullstrip",
        image=at["image"],
        template_dir=template,
        out_brain=at["brain"],
        out_icv=at["icv"],
        out_affine=head,
    )
    warps = {"affine": folder / "affine.mat", "forward": folder / "forward.h5", "inverse": folder / "inverse.h5"}
    outputs = {f"out_{name}": path for name, path in warps.items()}
    run("register", image=at["image"], mask=at["brain"], start=head, template_dir=template, **outputs)
    outputs = {"out_dseg": at["dseg"], "out_csf": at["CSF"], "out_gm": at["GM"], "out_wm": at["WM"]}
    outputs |= {"out_vbm": at["vbm"], "out_quasi_raw": at["raw"]}
    run("segment", image=at["image"], brain=at["brain"], icv=at["icv"], template_dir=template, **warps, **outputs)
    outputs = {"out_json": folder / "qc.json", "out_png": folder / "qc.png", "forward": warps["forward"]}
    masks = {name: at[name] for name in ("image", "brain", "icv", "dseg", "vbm")}
    run("qc", template_dir=template, **masks, **outputs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of the first run and of the second, the raw scan, its true brain mask, the template's folder."""
    root = tmp_path_factory.mktemp("steps") / HOSTILE
    root.mkdir()
    scan, brain = oblique_head()
    raw = root / "scan.nii.gz"
    save(raw, scan, np.int16)
    template = prepare("MNI152NLin2009aSym", 5.0, root / "template").folder
    for name in ("one", "two"):
        preprocess(raw, root / name, template)
    return root, scan, brain


@pytest.mark.slow
def test_two_runs_of_every_step_are_equal_bytes(made):
    root = made[0]
    # HDF5 may note the time of writing; what the composites do shows in the warped maps.
    names = sorted(p.name for p in (root / "one").iterdir() if p.suffix in (".gz", ".png", ".txt", ".mat"))
    assert len(names) > 10
    differ = [n for n in [*names, "qc.json"] if (root / "one" / n).read_bytes() != (root / "two" / n).read_bytes()]
    assert not differ


@pytest.mark.slow
def test_native_outputs_lie_where_the_scan_lies(made):
    root, scan, _ = made
    for name in ("image", "brain", "icv", "dseg", "GM", "WM", "CSF"):
        found = load(root / "one" / f"{name}.nii.gz")
        assert found.data.shape == scan.data.shape, name
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_the_mask_is_that_of_the_head_behind(made):
    root, _, brain = made
    found = load(root / "one" / "brain.nii.gz").data > 0.5
    # Voxels of 4.5 mm: a rim of CSF counts for a tenth of the brain.
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.87


@pytest.mark.slow
def test_maps_lie_on_their_grids(made):
    vbm, raw = (nib.load(made[0] / "one" / f"{name}.nii.gz") for name in ("vbm", "raw"))
    assert vbm.shape == (121, 145, 121) and raw.shape == (182, 218, 182)
    np.testing.assert_allclose(vbm.affine, [[1.5, 0, 0, -90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1]])
    np.testing.assert_allclose(np.diag(raw.affine), 1)
    assert nib.aff2axcodes(vbm.affine) == nib.aff2axcodes(raw.affine) == ("R", "A", "S")


@pytest.mark.slow
def test_each_output_is_interpolated_once(made):
    """Each warped output comes from an image on the scan's own grid, by one call with one composite transform."""
    calls = json.loads((made[0] / "one" / "vbm.json").read_text())["Calls"]
    applied = [c["command"] for c in calls if c["interface"] == "ApplyTransforms"]
    inputs = {
        word for c in applied for before, word in zip(c.split(), c.split()[1:], strict=False) if before == "--input"
    }
    assert inputs == {"gm.nii", "stripped.nii", "template-CSF.nii.gz", "template-GM.nii.gz", "template-WM.nii.gz"} | {
        "template-nuclei.nii.gz"
    }
    assert all(c.count("--transform") == 1 for c in applied)


@pytest.mark.slow
def test_quality_numbers_and_picture(made):
    one = made[0] / "one"
    numbers = json.loads((one / "qc.json").read_text())
    wanted = "brain_ml icv_ml csf_ml gm_ml wm_ml template_correlation template_dice cjv cnr jacobian_min jacobian_max "
    wanted += "jacobian_nonpositive_share modulation_ratio cut_cm2"
    assert set(wanted.split()) <= set(numbers)
    assert (one / "qc.png").stat().st_size <= 300_000
    assert 0.97 < numbers["modulation_ratio"] < 1.03 and numbers["jacobian_nonpositive_share"] == 0


@pytest.mark.slow
def test_sidecars_name_the_engine_and_nothing_hostile_ran(made):
    root = made[0]
    for name in ("image", "brain", "forward", "dseg", "vbm", "raw"):
        sidecar = json.loads((root / "one" / f"{name}.json").read_text())
        assert "ntspy" in sidecar["Engine"] or "ANTs" in sidecar["Engine"]
    assert "ant" in json.loads((root / "one" / "forward.json").read_text())["DeformableEngine"].lower()
    assert not list(root.parent.rglob("pwned")) and not Path("pwned").exists()


def test_a_picture_of_a_large_scan_is_light(tmp_path, rng):
    """Noise in every voxel of a 1 mm head compresses worst."""
    data = rng.normal(100, 30, (180, 220, 170)).astype(np.float32)
    scan = Volume(np.abs(data), np.diag([1.0, 1, 1, 1]))
    mask = scan.like((data > 60).astype(np.float32))
    tissue = scan.like(np.clip(np.round(data / 40), 0, 3))
    picture(scan, mask, mask, tissue, scan, scan.like((data > 100).astype(np.float32)), out=tmp_path / "qc.png")
    assert (tmp_path / "qc.png").stat().st_size <= 300_000
