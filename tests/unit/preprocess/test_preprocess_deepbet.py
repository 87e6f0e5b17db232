"""deepbet: its process, what it may answer, and who is asked when; the network itself where it is installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.base.programs import Killed
from anatcl.images import Volume
from anatcl.preprocess import deepbet, skullstrip
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.geometry import largest_component
from anatcl.preprocess.mask_numbers import second_opinion
from anatcl.preprocess.second_opinion import Ask, broken, overlap
from anatcl.preprocess.skullstrip import Masks


def ball(radius: float, shape=(60, 72, 54), mm=3.0) -> np.ndarray:
    grid = np.meshgrid(*((np.arange(n) - n / 2) * mm for n in shape), indexing="ij")
    return np.sqrt(sum(g**2 for g in grid)) < radius


@pytest.fixture
def scan() -> Volume:
    data = 300 * ball(68) + 5 + np.random.default_rng(0).normal(0, 1, (60, 72, 54))
    return Volume(data.astype(np.float32), np.diag([3.0, 3, 3, 1]))


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Installed packages and a program of few lines in place of deepbet's: the process boundary is the real one."""

    def use(lines: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(f"import sys, shutil\nscan, mask, device, threads = sys.argv[1:]\n{lines}\n")
        monkeypatch.setattr(deepbet, "PROGRAM", program)
        monkeypatch.setattr(deepbet, "version", lambda: "deepbet 0")

    return use


def test_the_mask_is_what_the_process_writes(stand_in, scan):
    stand_in("assert (device, threads) == ('cpu', '3'); shutil.copy(scan, mask); print('cpu')")
    with workspace(threads=3) as room:
        found = deepbet.cranium(room, scan.like((scan.data > 100).astype(np.float32)), "cpu")
        (call,) = room.calls
    np.testing.assert_array_equal(found, scan.data > 100)
    assert call["interface"] == "deepbet" and call["command"].startswith("deepbet 0 on cpu:")


@pytest.mark.parametrize(
    ("lines", "error", "words"),
    [
        ("raise AssertionError('Not enough foreground to calculate bounding box')", InputError, "marks no voxel"),
        ("raise ValueError('attempt to get argmax of an empty sequence')", InputError, "marks no voxel"),
        ("raise SystemExit('no CUDA device is available')", InputError, "on a GPU"),
        ("raise MemoryError('no room')", RuntimeError, "no room"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Killed, "deepbet was ended .* memory"),
    ],
)
def test_what_goes_wrong_in_the_process_is_said(stand_in, scan, lines, error, words):
    stand_in(lines)
    with workspace() as room, pytest.raises(error, match=words):
        deepbet.cranium(room, scan, "auto")


def test_an_empty_mask_is_no_brain(stand_in, scan):
    stand_in("shutil.copy(scan, mask)")
    with workspace() as room, pytest.raises(InputError, match="empty") as caught:
        deepbet.cranium(room, scan.like(np.zeros_like(scan.data)))
    assert "corrections" in caught.value.remedy


def test_an_absent_package_is_a_sentence_with_both_remedies(monkeypatch):
    monkeypatch.setattr(deepbet.importlib.util, "find_spec", lambda name: None if name == "cc3d" else object())
    with pytest.raises(InputError, match="cc3d is not installed") as caught:
        deepbet.version()
    assert "anatcl-workflow[deepbet]" in caught.value.remedy and "method: ants" in caught.value.remedy


# -- who is asked -------------------------------------------------------------------------------------------------


def masks(radius: float) -> Masks:
    return Masks(ball(radius - 3), ball(radius), np.eye(4))


def nothing() -> Masks:
    raise InputError("no plausible brain was found (by a test).")


LIMITS = {"icv_ml": (700, 2400), "cjv": (None, 2.0), "mask_dice": (0.9, None)}


def decided(monkeypatch, scan, ants, ask, net=65.0, method="ants"):
    monkeypatch.setattr(deepbet, "cranium", lambda *rest: ball(net))
    monkeypatch.setattr(deepbet, "version", lambda: "deepbet 0")
    make = {"ants": ants, "deepbet": lambda: masks(net)}
    monkeypatch.setattr(skullstrip, "refuse_phantom", lambda *_: None)  # these masks are spheres
    return skullstrip._twice(None, scan, make, method, ask, None, "scan.nii.gz")  # type: ignore[arg-type]


def test_masks_that_are_plausible_are_kept(monkeypatch, scan):
    found, facts = decided(monkeypatch, scan, lambda: masks(66), Ask(retry="deepbet", limits=LIMITS))
    assert facts == {}
    np.testing.assert_array_equal(found.icv, ball(66))


@pytest.mark.parametrize(
    ("ants", "compare", "because"),
    [
        (nothing, "none", "no plausible brain was found"),
        (lambda: masks(30), "none", "no plausible brain was found (mask of"),
        (lambda: masks(86), "none", "icv_ml"),
        (lambda: masks(78), "deepbet", "mask_dice"),
    ],
)
def test_deepbet_tries_again_where_the_masks_are_implausible(monkeypatch, scan, ants, compare, because):
    found, facts = decided(monkeypatch, scan, ants, Ask(compare, "deepbet", LIMITS))
    np.testing.assert_array_equal(found.icv, ball(65))
    assert facts["Retry"]["Method"] == "deepbet 0" and because in facts["Retry"]["Because"]


def test_without_a_second_try_the_first_error_stands(monkeypatch, scan):
    with pytest.raises(InputError, match="by a test"):
        decided(monkeypatch, scan, nothing, Ask(compare="deepbet"))


def test_a_second_try_that_is_no_brain_either_is_an_error(monkeypatch, scan):
    with pytest.raises(InputError, match="no plausible brain"):
        decided(monkeypatch, scan, nothing, Ask(retry="deepbet"), net=20.0)


def test_the_second_opinion_is_a_number_in_the_sidecar(monkeypatch, scan):
    found, facts = decided(monkeypatch, scan, lambda: masks(66), Ask(compare="deepbet", limits=LIMITS))
    assert second_opinion(facts)["mask_dice"] == pytest.approx(overlap(found.icv, ball(65)))
    assert second_opinion({}) == {} and "Retry" not in facts


def test_limits_that_a_mask_cannot_break_are_not_looked_at(scan):
    assert broken(ball(63), ball(66), scan, {}, {"cjv": (None, 2.0), "template_dice": (0.8, None)}) == ""
    assert "icv_ml" in broken(ball(63), ball(66), scan, {}, {"icv_ml": (None, 900)})


# -- the network --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated():
    """A simulated head of 3 mm, with the true inside of its skull."""
    from anatcl.preprocess.head import packaged_head

    for name in ("deepbet", "cc3d", "fill_voids"):
        pytest.importorskip(name, reason="the optional extra deepbet is not installed")
    head = packaged_head(3.0)
    noise = np.random.default_rng(1).normal(0, 2, head.head_t1.shape)
    return Volume(np.maximum(head.head_t1 + noise, 0).astype(np.float32), head.affine), head.icv_mask > 0.5


def test_the_network_finds_the_inside_of_the_skull_twice_alike(simulated):
    scan, truth = simulated
    with workspace() as room:
        first = deepbet.cranium(room, scan, "cpu")
        again = deepbet.cranium(room, scan, "cpu")
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, largest_component(first))
    assert overlap(first, truth) > 0.85  # a built head; the network learnt from real ones


def test_the_process_needs_no_window(simulated, tmp_path):
    """deepbet's window toolkit is never imported."""
    words = ["-c", "import sys, deepbet; assert 'customtkinter' not in sys.modules and 'tkinter' not in sys.modules"]
    subprocess.run([sys.executable, *words], check=True, cwd=tmp_path)
