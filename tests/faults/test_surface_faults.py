"""Tissue maps that break surfaces: a measured hemisphere, a limit that leaves the scan out, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume, save
from anatcl.measures.surfaces import engine, scan
from anatcl.measures.surfaces.quality import broken
from anatcl.preprocess.template import prepare
from anatcl.spec.config import parse

pytest.importorskip("cat_surf", reason="the optional engine surface is not installed")
pytestmark = pytest.mark.slow

SPACE = "MNI152NLin2009aSym"
TISSUES = ("csf", "gm", "wm")
IDENTITY = """#Insight Transform File V1.0
#Transform 0
Transform: AffineTransform_double_3_3
Parameters: 1 0 0 0 1 0 0 0 1 0 0 0
FixedParameters: 0 0 0
"""
Maps = dict[str, NDArray]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hemisphere, on fewer triangles: the faults are the same, and a test takes a minute less."""
    registration = {"n_points": 1280, "n_steps": 1, "iters": 3, "rotate": False}
    monkeypatch.setattr(engine, "OPTIONS", engine.OPTIONS | {"faces_per_mm2": 0.6, "registration": registration})
    monkeypatch.setattr(scan, "HEMISPHERES", ("L",))
    monkeypatch.setattr(scan, "picture", lambda *args: None)  # of both hemispheres


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> tuple[Maps, NDArray]:
    """Tissue maps and head of the template, as those of a participant, 2 mm."""
    folder = tmp_path_factory.mktemp("template")
    made = prepare(SPACE, 2.0, folder)
    maps = {name: made.volume(name).data for name in (*TISSUES, "head", "icv_mask")}
    return maps, made.volume("gm").affine


def lesion(maps: Maps, affine: NDArray) -> None:
    """A hole of 25 mm through cortex and white matter into the left ventricle."""
    world = np.stack(np.indices(maps["gm"].shape), -1) @ affine[:3, :3].T + affine[:3, 3]
    hole = (np.linalg.norm(world - np.array([-38.0, -30, 25]), axis=-1) < 25) & (maps["icv_mask"] > 0)
    maps["csf"][hole], maps["gm"][hole], maps["wm"][hole] = 1, 0, 0


def cut(maps: Maps, affine: NDArray) -> None:
    """A field of view that ends above the middle of the brain."""
    for data in maps.values():
        data[:, :, data.shape[2] * 6 // 10 :] = 0


def slices(maps: Maps, affine: NDArray) -> None:
    """Slices of 6 mm."""
    for name in TISSUES:
        thick = ndimage.uniform_filter1d(maps[name], 3, axis=2)
        middle = np.minimum(np.arange(thick.shape[2]) // 3 * 3 + 1, thick.shape[2] - 1)
        maps[name][:] = thick[:, :, middle]


def half(maps: Maps, affine: NDArray) -> None:
    """A hemisphere that was taken out."""
    left = slice(0, maps["gm"].shape[0] // 2) if affine[0, 0] > 0 else slice(maps["gm"].shape[0] // 2, None)
    maps["gm"][left], maps["wm"][left], maps["csf"][left] = 0, 0, maps["icv_mask"][left]


def surfaces(maps: Maps, affine: NDArray, folder: Path) -> dict[str, dict[str, float]]:
    """Numbers of both hemispheres, as the step `surfaces` leaves them."""
    paths = {name: folder / f"{name}.nii.gz" for name in TISSUES}
    for name, path in paths.items():
        save(path, Volume(maps[name].astype(np.float32), affine), np.float32)
    whole = np.stack([maps[name] for name in TISSUES])
    labels = (whole.argmax(axis=0) + 1) * (whole.sum(axis=0) > 0.5)
    others = {"dseg": labels, "icv": maps["icv_mask"] > 0, "head": maps["head"]}
    for name, data in others.items():
        nib.Nifti1Image(data.astype(np.float32), affine).to_filename(folder / f"{name}.nii.gz")
    (folder / "xfm.txt").write_text(IDENTITY)
    return scan.run(
        paths | {name: folder / f"{name}.nii.gz" for name in ("dseg", "icv")}, folder / "head.nii.gz",
        folder / "xfm.txt", template=SPACE, voxel_mm=1.5, stem=folder / "sub-01",
        out_quality=folder / "quality.json", out_picture=folder / "picture.png",
    )  # fmt: skip


LIMITS = parse({}).measures.surface_qc


def test_the_whole_template_has_good_surfaces(template, tmp_path):
    maps, affine = template
    numbers = surfaces(maps, affine, tmp_path)
    assert broken(numbers, LIMITS) == ""
    assert {side: mine["euler"] for side, mine in numbers.items()} == {"L": 2}


@pytest.mark.parametrize(
    ("fault", "words"),
    [(lesion, ""), (cut, "left"), (slices, ""), (half, "left surface: ")],
    ids=["lesion as deep as a ventricle", "brain cut off", "slices of 6 mm", "a hemisphere taken out"],
)
def test_tissues_that_break_surfaces(
    template, tmp_path, fault: Callable[[Maps, NDArray], None], words: str, see: Callable[[object], None]
):
    maps, affine = template
    maps = {name: data.copy() for name, data in maps.items()}
    fault(maps, affine)
    try:
        numbers = surfaces(maps, affine, tmp_path)
    except InputError as error:
        said = f"{error.reason} {error.remedy}"
    else:
        assert all(mine["euler"] == 2 for mine in numbers.values())
        said = broken(numbers, LIMITS)
    see(said or "measured: both surfaces are spheres, and no image-quality limit is broken")
    assert words in said
