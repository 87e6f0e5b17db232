"""The mean scan of a participant: halfway between the scans, whoever comes first, and what scans take from it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatcl.base.errors import InputError
from anatcl.base.files import write_json
from anatcl.images import Volume, load, save
from anatcl.preprocess import person, registration
from anatcl.preprocess.alignment import read_itk, read_matrix, write_itk, write_matrix
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.head import packaged_head
from anatcl.preprocess.person_start import Start
from anatcl.preprocess.template import Template, prepare
from anatcl.spec.recipe import load_recipe

CENTRE = np.array([0.0, -20.0, 10.0])


def move(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """A rigid matrix: a turn about the middle of the head, then a shift (mm)."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    return matrix


def off(found: np.ndarray, true: np.ndarray) -> float:
    """Largest distance (mm) by which two matrices differ on a sphere of 70 mm in the head."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 3))
    points = 70 * points / np.linalg.norm(points, axis=1, keepdims=True) + CENTRE
    there = [points @ m[:3, :3].T + m[:3, 3] for m in (found, true)]
    return float(np.linalg.norm(there[0] - there[1], axis=1).max())


def test_transforms_are_read_as_they_were_written(tmp_path):
    matrix = move((5, -20, 31), (3, 4, -5)) @ np.diag([1.1, 0.9, 1.0, 1.0])
    write_itk(tmp_path / "a.txt", matrix)
    write_matrix(tmp_path / "a.mat", matrix)
    np.testing.assert_allclose(read_itk(tmp_path / "a.txt"), matrix, atol=1e-7)
    np.testing.assert_allclose(read_matrix(tmp_path / "a.mat"), matrix, atol=1e-12)
    (tmp_path / "b.txt").write_text("nothing\n")
    with pytest.raises(InputError, match="no affine transform"):
        read_itk(tmp_path / "b.txt")


def test_ants_reads_both_files_alike(rng, tmp_path):
    image = Volume(rng.random((12, 14, 10)).astype(np.float32), np.diag([2.0, 2, 3, 1]))
    matrix = move((3, 0, 2), (1, 2, 0))
    with workspace() as room:
        room.put("x.nii", image)
        write_itk(room.folder / "a.txt", matrix)
        write_matrix(room.folder / "a.mat", matrix)
        by_text, by_binary = (room.apply("x.nii", "x.nii", [f"a.{end}"], f"{end}.nii").data for end in ("txt", "mat"))
    np.testing.assert_allclose(by_text, by_binary, atol=1e-5)


def test_the_middle_favours_no_scan():
    moves = [np.eye(4), move((10, 4, -6), (8, -3, 5)), move((-3, 0, 9), (0, 6, -2))]
    middle = person._to_middle(moves, "abc")
    logs = np.mean([person.logm(m) for m in middle], axis=0)
    assert abs(logs).max() < 1e-6
    for i, (one, two) in enumerate(zip(middle, moves, strict=True)):
        np.testing.assert_allclose(one @ np.linalg.inv(middle[0]), two @ np.linalg.inv(moves[0]), atol=1e-9, err_msg=i)
    turned = person._to_middle(moves[::-1], "abc")
    for one, two in zip(middle, turned[::-1], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_head_upside_down_is_named():
    with pytest.raises(InputError, match="turned by more than 150 degrees") as raised:
        person._to_middle([np.eye(4), move((180, 0, 0), (0, 0, 0))], ["one.nii", "two.nii"])
    assert raised.value.file == "two.nii"


def test_a_chain_in_one_file_does_what_the_chain_does(rng):
    grid = Volume(np.zeros((20, 22, 18), np.float32), np.diag([3.0, 3, 3, 1]))
    image = grid.like(rng.random(grid.data.shape).astype(np.float32))
    with workspace() as room:
        room.put("fixed.nii", image)
        room.put("moving.nii", grid.like(np.roll(image.data, 1, 0)))
        for name, matrix in (("a.txt", move((4, 2, 0), (2, 0, 1))), ("b.txt", move((0, -5, 3), (0, 3, 0)))):
            write_itk(room.folder / name, matrix)
        chain = registration.composite(room, "fixed.nii", "moving.nii", ["a.txt", "b.txt"], "whole_")
        one = room.apply("moving.nii", "fixed.nii", [chain], "one.nii").data
        many = room.apply("moving.nii", "fixed.nii", ["a.txt", "b.txt"], "many.nii").data
        turned = room.apply("moving.nii", "fixed.nii", ["b.txt", "a.txt"], "turned.nii").data
    np.testing.assert_allclose(one, many, atol=1e-4)
    assert abs(turned - many).max() > 0.01, "the order matters here"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two scans of one simulated head at 3 mm, apart by a known rigid movement, and the template at hand."""
    folder = tmp_path_factory.mktemp("pair")
    head = packaged_head(3.0)
    relative = move((7, -4, 5), (6, -5, 8))
    scans = []
    for i, matrix in enumerate((np.eye(4), relative)):
        noise = np.random.default_rng(i).normal(0, 2, head.head_t1.shape)
        data = np.maximum(head.head_t1 * (100 / np.median(head.head_t1[head.icv_mask > 0.5])) + noise, 0)
        save(folder / f"scan-{i}_desc-preproc_T1w.nii.gz", Volume(data.astype(np.float32), matrix @ head.affine))
        scans.append(folder / f"scan-{i}_desc-preproc_T1w.nii.gz")
    prepare("MNI152NLin2009aSym", 3.0, folder / "template")
    return folder, scans, relative, head


@pytest.fixture(scope="module")
def mean(pair):
    """The mean of the two, its facts and a brain mask for it."""
    folder, scans, _, head = pair
    out = folder / "mean.nii.gz"
    facts = person.person_template(
        scans, Template(folder / "template"), out, load_recipe("testing", "register"), threads=1, seed=0
    )
    write_json(folder / "mean.json", facts)
    moves = [np.array(facts["Alignments"][scan.name]) for scan in scans]
    save(folder / "head.nii.gz", Volume((head.icv_mask > 0.5).astype(np.float32), head.affine))
    with workspace() as room:  # the true mask, carried to the mean by the first scan
        write_itk(room.folder / "move.txt", moves[0])
        room.link("brain.nii.gz", folder / "head.nii.gz")
        room.link("mean.nii.gz", out)
        brain = room.apply("brain.nii.gz", "mean.nii.gz", ["move.txt"], "here.nii")
    save(folder / "brain.nii.gz", brain.like((brain.data > 0.5).astype(np.uint8)))
    return out, moves, folder / "brain.nii.gz"


@pytest.mark.slow
def test_the_mean_lies_halfway_and_as_its_scans_lie_to_each_other(pair, mean):
    _, _, relative, _ = pair
    out, moves, _ = mean
    assert off(moves[1] @ np.linalg.inv(moves[0]), relative) < 0.6, "a fifth of a voxel"
    np.testing.assert_allclose(moves[0] @ moves[1], np.eye(4), atol=0.02)  # one goes as far as the other comes
    image = load(out)
    assert np.allclose(image.spacing, 3.0) and image.data.max() > 50


@pytest.mark.slow
def test_what_a_scan_takes_from_the_mean_fits_it(pair, mean, tmp_path):
    folder, scans, relative, head = pair
    out, moves, brain = mean
    settings = load_recipe("testing", "register")
    person.person_align(scans[1], out, brain, folder / "mean.json", tmp_path / "align.txt", settings)
    align = read_itk(tmp_path / "align.txt")
    assert off(align, moves[1]) < 1.0
    write_itk(tmp_path / "pose.txt", np.linalg.inv(moves[0]))
    start = Start(tmp_path / "align.txt", brain, brain, tmp_path / "pose.txt")
    with workspace() as room:
        found, icv, pose = start.masks(room, load(scans[1]))
    truth = head.icv_mask > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97
    np.testing.assert_array_equal(found, icv)
    assert off(pose, relative) < 1.2
