"""Which programs run: ANTs' own where they are on the PATH, those of antspyx elsewhere; greedy where asked for."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from anatcl.images import Volume, load
from anatcl.preprocess import ants, greedy, register, registration
from anatcl.preprocess.template import prepare
from anatcl.spec.template import load_spec

FAKE = """#!/bin/sh
echo "ANTs Version: 2.6.0-faked"
"""


@pytest.fixture
def native(tmp_path, monkeypatch):
    """A PATH on which an antsRegistration lies first."""
    program = tmp_path / "bin" / "antsRegistration"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def node(interface: str = "ApplyTransforms"):
    return ants._node(interface, {"dimension": 3}, 2, 7, print)


def test_native_ants_is_used_where_it_is_installed(native):
    assert ants.engine() == "native"
    assert ants.engine_version() == "ANTs Version: 2.6.0-faked"
    assert node().cmd == "antsApplyTransforms"


def test_antspyx_is_used_elsewhere_by_the_same_call(native, monkeypatch):
    with_native = node()
    monkeypatch.setattr(ants.shutil, "which", lambda name: None)
    assert ants.engine() == "antspyx" and ants.engine_version().startswith("antspyx ")
    without = node()
    assert without.cmd.endswith("ants_program.py antsApplyTransforms")
    assert without.inputs.get() == with_native.inputs.get()
    assert without.inputs.environ["NSLOTS"] == "2" and without.inputs.environ["ANTS_RANDOM_SEED"] == "8"


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """Run `register` without ANTs: which engine gets the deformable part, and with which settings?"""
    seen: dict = {}
    grids: list[Volume] = []

    def stand_in(name):
        def deform(room, fixed, moving, start, settings, prefix, mask=""):
            seen[name] = settings
            grids[:] = room.get(fixed), room.get(mask)
            for file in ("forward.h5", "inverse.h5"):
                (room.folder / file).touch()
            return "forward.h5", "inverse.h5"

        return deform

    def linear(room, *rest):
        (room.folder / "affine.mat").touch()
        return "affine.mat"

    monkeypatch.setattr(registration, "linear", linear)
    monkeypatch.setattr(registration, "deformable", stand_in("ants"))
    monkeypatch.setattr(greedy, "deformable", stand_in("greedy"))
    monkeypatch.setattr(greedy, "version", lambda: "picsl-greedy 0")
    template = prepare("MNI152NLin2009aSym", 12.0, tmp_path / "template")
    start = tmp_path / "start.txt"
    start.touch()

    def run(settings, engine):
        seen.clear()
        scan, mask = template.path("head"), template.path("brain_mask")
        named = {"out_affine": "a.mat", "out_forward": "f.h5", "out_inverse": "i.h5"}
        paths = {key: tmp_path / name for key, name in named.items()}
        facts = register.register(scan, mask, start, template, **paths, settings=settings, engine=engine)
        return seen, facts, template, grids

    return run


@pytest.mark.parametrize(
    ("recipe", "asked", "engine"),
    [
        ({}, "auto", "ants"),
        ({"engine": "greedy"}, "auto", "greedy"),
        ({}, "greedy", "greedy"),
        ({"engine": "greedy"}, "ants", "ants"),
    ],
)
def test_the_recipe_or_the_configuration_chooses_the_deformable_engine(chosen, recipe, asked, engine):
    seen, facts, *_ = chosen(recipe, asked)
    assert set(seen) == {engine}
    assert ("greedy" in facts["DeformableEngine"]) == (engine == "greedy")
    assert engine == "ants" or {"radius", "iterations", "smoothing_vox"} <= set(seen["greedy"])


@pytest.mark.parametrize("engine", ["ants", "greedy"])
def test_a_margin_cuts_the_grid_around_the_brain_and_nothing_of_the_brain(chosen, engine):
    _, _, template, (whole, near) = chosen({}, engine)
    brain = template.volume("brain")
    np.testing.assert_array_equal(whole.data, brain.data)
    _, _, _, (cut, cut_near) = chosen({"margin_mm": 12.0}, engine)
    assert cut.data.size < 0.9 * whole.data.size
    assert cut.data.shape == cut_near.data.shape
    assert cut.data.sum() == whole.data.sum() and cut_near.data.sum() == near.data.sum()
    first = np.round(np.linalg.inv(brain.affine) @ cut.affine[:, 3]).astype(int)[:3]
    box = tuple(slice(f, f + n) for f, n in zip(first, cut.data.shape, strict=True))
    np.testing.assert_array_equal(cut.data, brain.data[box])


def test_a_template_from_files(shared_data, tmp_path):
    """The ICBM 2009c head with its own mask and priors, on whatever grid they come."""
    folder = shared_data / "mni152_2009c_asym"
    names = {"head": "T1", "brain_mask": "brainmask", "gm": "tpm_gm", "wm": "tpm_wm", "csf": "tpm_csf"}
    files = {kind: folder / f"2mm_{name}.nii.gz" for kind, name in names.items()}
    if not all(file.is_file() for file in files.values()):
        pytest.skip(f"{folder} lacks some of {sorted(file.name for file in files.values())}")
    lines = ["name: Icbm2009c", "space: MNI152NLin2009cAsym", *(f"{k}: {v}" for k, v in files.items())]
    (tmp_path / "icbm.yaml").write_text("\n".join(lines) + "\n")
    assert load_spec(tmp_path / "icbm.yaml")["head"] == str(files["head"].resolve())
    made = prepare(tmp_path / "icbm.yaml", 4.0, tmp_path / "out")
    brain, icv, head = (made.volume(name) for name in ("brain_mask", "icv_mask", "head"))
    litres = {name: float((v.data > 0.5).sum() * v.voxel_volume / 1e6) for name, v in (("b", brain), ("i", icv))}
    assert 1.5 < litres["b"] < 2.1 and 1.05 < litres["i"] / litres["b"] < 1.15
    assert not ((brain.data > 0.5) & (icv.data < 0.5)).any()
    original = load(files["head"])
    # The middle of the brain did not move on the way: same intensity at the same place.
    assert centre(brain) == pytest.approx(centre(Volume(load(files["brain_mask"]).data, original.affine)), abs=1.5)
    assert made.about["space"] == "MNI152NLin2009cAsym" and set(made.about["sources"]) == set(files)
    assert head.data[icv.data > 0.5].mean() > 0


def centre(mask: Volume) -> np.ndarray:
    index = np.argwhere(mask.data > 0.5).mean(axis=0)
    return mask.affine[:3, :3] @ index + mask.affine[:3, 3]
