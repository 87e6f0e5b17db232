"""ANTs through nipype: nothing hostile reaches the shell, two runs give equal bytes, failures have words."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.base.programs import Crashed, Killed
from anatcl.images import Volume, save
from anatcl.preprocess import registration
from anatcl.preprocess.alignment import read_matrix, write_itk
from anatcl.preprocess.ants import apply_transforms, workspace

skullstrip = importlib.import_module("anatcl.preprocess.skullstrip")
HOSTILE = "it's $(touch pwned) \"a; name`\nof two lines"
SETTINGS = {
    "linear": [15, 10],
    "deformable": [8, 4],
    "shrink": [2, 1],
    "sigmas_mm": [4, 2],
    "metric": "Mattes",
    "metric_parameter": 16,
    "gradient_step": 0.2,
    "flow_sigma": 3.0,
}


def blob(rng: np.random.Generator, shift: float) -> Volume:
    """A blob with texture on a grid of unequal axes and voxels."""
    shape = (22, 26, 18)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = (x - shift) ** 2 + 1.2 * y**2 + 0.8 * z**2
    data = 100 * (radius < 0.6) + 50 * (radius < 0.3) + rng.normal(0, 2, shape)
    affine = np.diag([3.0, 2.5, 4.0, 1.0])
    affine[:3, 3] = (-30, -30, -30)
    return Volume(data.astype(np.float32), affine)


def register(room, moving: Volume, fixed: Volume) -> tuple[str, str]:
    room.put("fixed.nii", fixed)
    room.put("moving.nii", moving)
    write_itk(room.folder / "start.txt", np.eye(4))
    affine = registration.linear(room, "fixed.nii", "moving.nii", "start.txt", SETTINGS, "affine_")
    forward, _ = registration.deformable(room, "fixed.nii", "moving.nii", affine, SETTINGS, "syn_")
    return affine, forward


def test_two_registrations_are_equal_and_recover_a_shift(rng):
    fixed, moving = blob(rng, 0.0), blob(rng, 0.15)
    warped = []
    for _ in range(2):
        with workspace(threads=1, seed=0) as room:
            affine, forward = register(room, moving, fixed)
            matrix = read_matrix(room.folder / affine)
            warped.append(room.apply("moving.nii", "fixed.nii", [forward], "warped.nii").data)
    np.testing.assert_array_equal(*warped)
    assert np.corrcoef(warped[0].ravel(), fixed.data.ravel())[0, 1] > 0.95
    # The blob's centre moved by 0.15 of half the field of view along the first axis: 0.15 * 10.5 voxels * 3 mm.
    assert abs(matrix[0, 3] + (matrix[0, :3] - [1, 0, 0]) @ np.zeros(3) - 4.7) < 2.0


def test_no_name_of_the_user_reaches_the_shell(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / HOSTILE
    folder.mkdir()
    volume = blob(rng, 0.0)
    save(folder / "moving.nii.gz", volume)
    write_itk(folder / "identity.txt", np.eye(4))
    out = folder / "out;$(touch pwned).nii.gz"
    apply_transforms(folder / "moving.nii.gz", folder / "moving.nii.gz", [folder / "identity.txt"], out)
    assert out.exists()
    assert not list(tmp_path.rglob("pwned")) and not Path("pwned").exists()


def test_a_failing_program_says_why():
    with workspace() as room:
        (room.folder / "bad.nii.gz").write_bytes(b"no image")
        with pytest.raises(RuntimeError, match="N4BiasFieldCorrection"):
            room.run(
                "N4BiasFieldCorrection",
                dimension=3,
                input_image="bad.nii.gz",
                output_image="out.nii.gz",
                shrink_factor=2,
            )


@pytest.mark.parametrize(("number", "kind"), [("KILL", Killed), ("TERM", Killed), ("SEGV", Crashed)])
@pytest.mark.parametrize("found", [False, True])
def test_a_program_ended_by_a_signal_says_nothing_against_the_scan(rng, tmp_path, monkeypatch, number, kind, found):
    """nipype looks for the result, not for the exit status: a killed program used to be one that made no result."""
    for name in ("antsRegistration", "N4BiasFieldCorrection"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{'touch out.nii' if found else ':'}\nkill -{number} $$\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with workspace() as room, pytest.raises(kind, match=f"N4BiasFieldCorrection .*SIG{number}"):
        room.put("scan.nii", blob(rng, 0))
        room.run("N4BiasFieldCorrection", dimension=3, input_image="scan.nii", output_image="out.nii")


@pytest.mark.parametrize("raised", [Killed("N4 was ended from outside"), Crashed("N4 crashed")])
def test_a_killed_program_is_no_missing_brain(rng, monkeypatch, raised):
    def ended(*_):
        raise raised

    monkeypatch.setattr(skullstrip, "by_template", ended)
    with workspace() as room, pytest.raises(type(raised), match="N4"):
        skullstrip._found(room, blob(rng, 0), None, {}, "scan.nii")


def test_a_missing_file_is_a_sentence():
    with workspace() as room, pytest.raises(InputError, match="does not exist"):
        room.link("scan.nii.gz", "nowhere.nii.gz")


def test_threads_are_those_that_were_given():
    from anatcl.preprocess.ants import _node

    node = _node("ApplyTransforms", {"dimension": 3}, 3, 0, print)
    assert node.inputs.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == node.inputs.environ["NSLOTS"] == "3"
    assert node.inputs.num_threads == 3
