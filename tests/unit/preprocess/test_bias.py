"""N4 with splines fine enough takes out what the coil leaves at the vertex, and strong fields that wide ones miss."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anatcl.images import Volume, load, save
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.bias_correct import bias_correct, n4
from anatcl.preprocess.head import packaged_head
from anatcl.spec.recipe import load_recipe


def test_the_second_correction_of_the_fast_recipe_flattens_a_fall_at_the_vertex(rng):
    spacing = np.array([4.0, 4.5, 3.5])
    shape = (40, 44, 46)
    x, y, z = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    brain = x**2 + y**2 + z**2 < 70**2
    white = brain & (np.sin(x / 6) * np.sin(y / 7) * np.sin(z / 5) > 0)
    fall = 1 / (1 + np.exp((z - 60) / 8))
    tissues = np.where(white, 100, 75) * brain * fall + rng.normal(0, 1, shape)
    volume = Volume(np.maximum(tissues, 0).astype(np.float32), np.diag([*spacing, 1.0]))
    with workspace(1, 1) as room:
        room.put("scan.nii", volume)
        room.put("brain.nii", volume.like(brain.astype(np.uint8)))
        n4(room, "scan.nii", "flat.nii", load_recipe("fast", "segment")["n4"], spacing, "brain.nii")
        flat = room.get("flat.nii").data
    # The mean of white matter in the highest 2 cm, beside that of the rest.
    top = white & (z > 48)
    before, after = (v[top].mean() / v[white & (z < 40)].mean() for v in (volume.data, flat))
    assert before < 0.8
    assert 0.93 < after < 1.07


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged head with a little noise."""
    found = packaged_head(4.0)
    noise = np.random.default_rng(0).normal(0, 0.01, found.head_t1.shape)
    path = tmp_path_factory.mktemp("head") / "scan.nii.gz"
    save(path, Volume(np.maximum(found.head_t1 * 300 * (1 + noise), 0).astype(np.float32), found.affine))
    return path


def corrected(raw: Path, settings: dict, out: Path) -> tuple[np.ndarray, list[float]]:
    """Intensities after the step, and the fields that it found in its looks again."""
    about = bias_correct(raw, out, settings, seed=1)
    return load(out).data, about["FieldsFoundAgain"]


def test_a_weak_field_is_left_in(head, tmp_path):
    settings = load_recipe("fast", "bias_correct")
    with_look, fields = corrected(head, settings, tmp_path / "look.nii.gz")
    without, none = corrected(head, {k: v for k, v in settings.items() if k != "again"}, tmp_path / "none.nii.gz")
    assert none == []
    assert len(fields) == 1
    assert fields[0] <= settings["again"]["above"]
    assert np.array_equal(with_look, without)


def test_a_strong_and_narrow_field_is_taken_out(head, tmp_path):
    settings = load_recipe("fast", "bias_correct")
    scan = load(head)
    field = ndimage.zoom(np.random.default_rng(3).normal(size=(4, 4, 4)), np.array(scan.data.shape) / 4, order=3)
    field = 3.0 ** ((field - field.min()) / np.ptp(field) * 2 - 1)
    save(tmp_path / "biased.nii.gz", scan.like((scan.data * field).astype(np.float32)))
    clean, _ = corrected(head, settings, tmp_path / "clean.nii.gz")
    again, fields = corrected(tmp_path / "biased.nii.gz", settings, tmp_path / "again.nii.gz")
    settings = {k: v for k, v in settings.items() if k != "again"}
    once, _ = corrected(tmp_path / "biased.nii.gz", settings, tmp_path / "once.nii.gz")
    assert fields[0] > 0.115 > fields[-1]
    inside = (clean > 20) & (once > 0) & (again > 0)
    left_once, left_again = (np.std(np.log(v[inside] / clean[inside])) for v in (once, again))
    assert left_again < 0.9 * left_once
