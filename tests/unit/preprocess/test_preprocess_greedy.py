"""Greedy's transforms are read by antsApplyTransforms, both ways, and mean what ANTs' own mean."""

from __future__ import annotations

import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.images import Volume
from anatcl.preprocess import greedy
from anatcl.preprocess.alignment import write_itk
from anatcl.preprocess.ants import workspace
from anatcl.spec.recipe import load_recipe

# What the recipe asks for, on two levels, since the images are small.
SETTINGS = load_recipe("fast", "register")["greedy"] | {"iterations": [30, 15]}
# Template to scan: a shift and a slight turn, so that a flipped axis or an inverted matrix cannot hide.
START = np.array([[0.995, -0.1, 0, 4.0], [0.1, 0.995, 0, -3.0], [0, 0, 1.03, 5.0], [0, 0, 0, 1]])


def points(volume: Volume) -> np.ndarray:
    index = np.indices(volume.data.shape).reshape(3, -1)
    return volume.affine[:3, :3] @ index + volume.affine[:3, 3:]


def texture(where: np.ndarray) -> np.ndarray:
    """Intensities of an object as a function of the place in mm."""
    x, y, z = where / 10
    inside = (x / 2.6) ** 2 + (y / 3.0) ** 2 + (z / 2.8) ** 2 < 1
    return inside * (100 + 30 * np.sin(1.9 * x + 0.3) + 30 * np.sin(1.6 * y - z) + 20 * np.cos(2.1 * z + 1))


def pair() -> tuple[Volume, Volume]:
    """A template, and a scan of it: moved by `START` after a smooth deformation; unequal grids, one of them oblique."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-36, -40, -38)
    fixed = Volume(np.zeros((37, 41, 39), np.float32), affine)
    fixed = fixed.like(texture(points(fixed)).reshape(fixed.data.shape).astype(np.float32))
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0.2, -2.2], [-2.5, 0, 0], [0, 1.8, 0.3]]
    u, _, v = np.linalg.svd(turned[:3, :3] / np.linalg.norm(turned[:3, :3], axis=0))
    turned[:3, :3] = (u @ v) * [2.5, 1.8, 2.2]
    shape = np.array([36, 48, 40])
    turned[:3, 3] = np.array([4.0, -3, 5]) - turned[:3, :3] @ (shape - 1) / 2
    moving = Volume(np.zeros(shape, np.float32), turned)
    where = np.linalg.inv(START) @ np.vstack([points(moving), np.ones(moving.data.size)])
    bent = where[:3] + 2.5 * np.sin(where[[1, 2, 0]] / 14)
    return fixed, moving.like(texture(bent).reshape(moving.data.shape).astype(np.float32))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def registered():
    """What two runs wrote: the images carried both ways, and there and back again."""
    pytest.importorskip("picsl_greedy", reason="the optional engine greedy is not installed")
    fixed, moving = pair()
    runs = []
    for _ in range(2):
        with workspace(threads=1) as room:
            room.put("fixed.nii", fixed)
            room.put("moving.nii", moving)
            write_itk(room.folder / "start.txt", START)
            room.run(
                "ApplyTransforms",
                dimension=3,
                input_image="moving.nii",
                reference_image="fixed.nii",
                transforms=["start.txt"],
                invert_transform_flags=[False],
                output_image="affine.nii",
            )
            matrix = mat_file(room)
            forward, inverse = greedy.deformable(room, "fixed.nii", "moving.nii", matrix, SETTINGS, "greedy_")
            ways = {
                "affine": room.get("affine.nii").data,
                "forward": room.apply("moving.nii", "fixed.nii", [forward], "forward.nii").data,
                "inverse": room.apply("fixed.nii", "moving.nii", [inverse], "inverse.nii").data,
                "round": room.apply("fixed.nii", "fixed.nii", [forward, inverse], "round.nii").data,
                "calls": room.calls,
            }
        runs.append(ways)
    return fixed, moving, runs


def mat_file(room) -> str:
    """`START` as the ``.mat`` that antsRegistration writes."""
    from scipy.io import savemat

    flip = np.diag([-1.0, -1, 1, 1])
    lps = flip @ START @ flip
    numbers = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])[:, None]
    content = {"AffineTransform_double_3_3": numbers, "fixed": np.zeros((3, 1))}
    savemat(room.folder / "start.mat", content, format="4")
    return "start.mat"


def test_ants_reads_the_forward_transform(registered):
    fixed, _, (run, _) = registered
    assert correlation(run["affine"], fixed.data) < 0.95, "the start alone must not do"
    assert correlation(run["forward"], fixed.data) > 0.97


def test_ants_reads_the_inverse_transform(registered):
    _, moving, (run, _) = registered
    assert correlation(run["inverse"], moving.data) > 0.96


def test_there_and_back_is_the_identity(registered):
    fixed, _, (run, _) = registered
    assert correlation(run["round"], fixed.data) > 0.99


def test_two_runs_with_one_thread_are_equal(registered):
    _, _, (one, two) = registered
    for way in ("forward", "inverse"):
        np.testing.assert_array_equal(one[way], two[way])


def test_the_call_is_kept_for_the_sidecar(registered):
    assert any(call["command"].startswith("greedy -d 3") for call in registered[2][0]["calls"])


def test_threads_and_options_are_those_that_were_given():
    words = greedy.command("f.nii", "m.nii", SETTINGS | {"stationary": False}, "p_", "near.nii", 3)
    assert "-threads 3" in words and "-gm near.nii" in words and "-n 30x15" in words and "-sv" not in words
    assert "-m NCC 2x2x2" in words and "-o p_warp.nii.gz" in words


def test_an_absent_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr(greedy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="picsl_greedy and SimpleITK is not installed") as caught:
        greedy.version()
    assert "deformable: ants" in caught.value.remedy
