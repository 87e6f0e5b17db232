"""Voxels that mislead: stripped scans in every guise, spikes, lost slices, phantoms; whole heads stay whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume, load, save
from anatcl.preprocess.bias_correct import bias_correct, conform
from anatcl.preprocess.defects import refuse_stripped
from anatcl.preprocess.head import packaged_head
from anatcl.preprocess.plausible import LEAST, tissue_share
from anatcl.preprocess.skullstrip import skullstrip
from anatcl.preprocess.template import Template, prepare
from anatcl.spec.recipe import load_recipe

Say = Callable[[object], None]
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
RECIPE = load_recipe(str(Path(__file__).resolve().parents[1] / "configs" / "tiny.json"))


@pytest.fixture(scope="module")
def head() -> tuple[Volume, np.ndarray]:
    """A head of 4 mm with noise everywhere, and its brain mask."""
    found = packaged_head(4.0)
    noise = np.random.default_rng(0).normal(0, 0.01, found.head_t1.shape)
    data = np.abs(found.head_t1 / found.head_t1.max() + noise) * 900
    return Volume(data.astype(np.float32), found.affine), found.brain_mask > 0


def written(folder: Path, volume: Volume, data: np.ndarray) -> Path:
    save(folder / "scan.nii.gz", Volume(np.asarray(data, np.float32), volume.affine))
    return folder / "scan.nii.gz"


def z(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def inside_z(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
    out = np.zeros_like(data)
    out[brain] = z(data[brain])
    return out


def slab(data: np.ndarray, brain: np.ndarray, share: float = 0.9) -> np.ndarray:
    """The slices of a field of view that ends within the brain at the top and at the base, around them zeros."""
    filled = np.flatnonzero(brain.any(axis=(0, 1)))
    middle, half = (filled[0] + filled[-1]) / 2, share * (filled[-1] - filled[0]) / 2
    kept = slice(int(middle - half), int(middle + half))
    return np.where(ndimage.binary_closing(data > 60, iterations=3), data, 0)[:, :, kept]


STRIPPED: dict[str, Change] = {
    "a slab of a brain": lambda d, b: slab(d * b, b),
    "zeros outside": lambda d, b: d * b,
    "z-scored inside, zeros outside": inside_z,
    "z-scored inside, NaN outside": lambda d, b: np.where(b, inside_z(d, b), np.nan),
    "NaN outside": lambda d, b: np.where(b, d, np.nan),
    "z-scored as a whole": lambda d, b: z(d * b),
    "minus 1024 outside": lambda d, b: np.where(b, d, -1024),
    "scaled to -1 to 1, -1 outside": lambda d, b: np.where(b, 2 * d / d.max() - 1, -1),
    "bright outside": lambda d, b: np.where(b, d, 2000),
    "faint ringing outside": lambda d, b: np.where(b, d, np.abs(np.random.default_rng(1).normal(0, 2, d.shape))),
    "smoothed edge": lambda d, b: ndimage.gaussian_filter(d * b, 0.5),
    "cut to its box": lambda d, b: (d * b)[ndimage.find_objects(b.astype(int))[0]],
}


@pytest.mark.parametrize("case", STRIPPED)
def test_a_stripped_scan_is_detected(case: str, head: tuple[Volume, np.ndarray], tmp_path: Path, see: Say) -> None:
    volume, brain = head
    scan = conform(written(tmp_path, volume, STRIPPED[case](volume.data, brain)))
    with pytest.raises(InputError, match="skull-stripped already") as caught:
        refuse_stripped(scan, "scan.nii.gz")
    assert "corrections" in caught.value.remedy
    see(caught.value)


@pytest.mark.parametrize("case", ["z-scored inside, zeros outside", "z-scored inside, NaN outside", "zeros outside"])
def test_a_stripped_brain_keeps_its_voxels(case: str, head: tuple[Volume, np.ndarray], tmp_path: Path) -> None:
    volume, brain = head
    scan = conform(written(tmp_path, volume, STRIPPED[case](volume.data, brain)))
    assert not scan.data[~brain].any()
    assert (scan.data[brain] > 0).mean() > 0.998
    assert np.corrcoef(scan.data[brain], volume.data[brain])[0, 1] > 0.999


def defaced(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
    out = data.copy()
    out[:, int(0.75 * data.shape[1]) :, : data.shape[2] // 2] = 0
    return out


WHOLE: dict[str, Change] = {
    "as it is": lambda d, b: d,
    "z-scored": lambda d, b: z(d),
    "zeros outside the head": lambda d, b: np.where(ndimage.binary_closing(d > 60, iterations=3), d, 0),
    "NaN outside the head": lambda d, b: np.where(ndimage.binary_closing(d > 60, iterations=3), d, np.nan),
    "defaced": defaced,
    "neck cut": lambda d, b: np.where(np.arange(d.shape[2]) > 12, d, 0),
    "offset": lambda d, b: d + 3000,
    "a slab of a head": slab,
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_head_is_not_taken_for_a_stripped_one(
    case: str, head: tuple[Volume, np.ndarray], tmp_path: Path
) -> None:
    volume, brain = head
    refuse_stripped(conform(written(tmp_path, volume, WHOLE[case](volume.data, brain))), "scan.nii.gz")


def test_real_heads_of_few_slices_are_not_taken_for_stripped_ones(shared_data: Path) -> None:
    """Their bone is thin, and one shows less than 2.2 litres within its field of view."""
    heads = sorted((shared_data / "ms_two_sessions").rglob("*_T1w.nii.gz"))
    assert len(heads) == 4
    for path in heads:
        refuse_stripped(conform(path), path)


def test_a_scalp_of_bright_fat_is_no_surface_of_a_brain() -> None:
    """Almost no bone to be seen between: the fat alone says that it is a head."""
    axes = np.meshgrid(*(np.arange(n) - n / 2 for n in (90, 90, 90)), indexing="ij", sparse=True)
    radius = 2 * np.sqrt(sum(a**2 for a in axes))
    rng = np.random.default_rng(0)
    brain = np.where(radius < 70, 100 + 10 * rng.normal(size=radius.shape), 0)
    whole = np.where((radius >= 74) & (radius < 77), 260, np.where(radius < 74, np.where(radius < 70, brain, 95), 0))
    refuse_stripped(Volume(whole.astype(np.float32), np.diag([2.0, 2, 2, 1])), "head.nii.gz")
    with pytest.raises(InputError, match="skull-stripped already"):
        refuse_stripped(Volume(brain.astype(np.float32), np.diag([2.0, 2, 2, 1])), "brain.nii.gz")


def spiked(value: float, count: int) -> Change:
    def change(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
        out = data.copy()
        where = np.random.default_rng(3).choice(out.size, count, replace=False)
        out.flat[where] = value
        return out

    return change


@pytest.mark.parametrize(
    "change", [spiked(1e9, 12), spiked(3e7, 40), spiked(65535, 25), spiked(-1e9, 12), spiked(np.inf, 9)]
)
def test_spikes_take_no_grey_levels(change: Change, head: tuple[Volume, np.ndarray], tmp_path: Path) -> None:
    volume, brain = head
    raw = written(tmp_path, volume, change(volume.data, brain))
    bias_correct(raw, tmp_path / "out.nii.gz", RECIPE["bias_correct"])
    found = load(tmp_path / "out.nii.gz").data
    assert len(np.unique(found[brain])) > 500
    refuse_stripped(load(tmp_path / "out.nii.gz"), raw)


def without(axis: int, *slices: slice) -> Change:
    def change(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
        out = np.moveaxis(data.copy(), axis, 0)
        for part in slices:
            out[part] = 0
        return np.moveaxis(out, 0, axis)

    return change


LOST = {
    "one axial slice": without(2, slice(30, 31)),
    "eight axial slices": without(2, slice(28, 36)),
    "three coronal slices": without(1, slice(25, 28)),
    "one sagittal slice": without(0, slice(24, 25)),
    "every second axial slice": without(2, slice(20, 50, 2)),
    "axial slices in two places": without(2, slice(25, 26), slice(40, 42)),
}


@pytest.mark.parametrize("case", LOST)
def test_lost_slices(case: str, head: tuple[Volume, np.ndarray], tmp_path: Path, see: Say) -> None:
    volume, brain = head
    raw = written(tmp_path, volume, LOST[case](volume.data, brain))
    with pytest.raises(InputError, match="slices inside the head are empty") as caught:
        bias_correct(raw, tmp_path / "out.nii.gz", RECIPE["bias_correct"])
    see(caught.value)


def test_empty_slices_around_the_head_are_no_loss(head: tuple[Volume, np.ndarray], tmp_path: Path) -> None:
    volume, _ = head
    raw = written(tmp_path, volume, np.pad(volume.data, [(3, 5), (2, 2), (6, 0)]))
    bias_correct(raw, tmp_path / "out.nii.gz", RECIPE["bias_correct"])


def sphere(radius: float, noise: float, shells: bool = False) -> np.ndarray:
    x, y, z = np.meshgrid(*(np.arange(56) * 4.0 - 112,) * 3, indexing="ij")
    far = np.sqrt(x**2 + y**2 + z**2)
    data = 500.0 * (far < radius)
    if shells:
        data = data - 450 * ((far > radius - 12) & (far < radius - 6))
    return np.abs(data + np.random.default_rng(0).normal(0, noise, data.shape))


def rings() -> np.ndarray:
    x, y, z = np.meshgrid(*(np.arange(56) * 4.0 - 112,) * 3, indexing="ij")
    far = np.sqrt(x**2 + y**2 + z**2)
    waves = 250 * (far < 95) * (1.2 + np.cos(far / 6))
    return np.abs(waves + np.random.default_rng(0).normal(0, 5, far.shape))


def box(noise: float) -> np.ndarray:
    data = np.zeros((56, 56, 56))
    data[10:46, 8:50, 10:46] = 500
    return np.abs(data + np.random.default_rng(0).normal(0, noise, data.shape))


PHANTOMS = {
    "bottle of water": sphere(90, 5),
    "water without noise": sphere(95, 0),
    "shells": sphere(95, 5, shells=True),
    "noise alone": np.abs(np.random.default_rng(0).normal(0, 50, (56, 56, 56))),
    "small bottle": sphere(45, 5),
    "bottle of a brain's size before black": np.where(sphere(75, 0) > 0, sphere(75, 20), 0),
    "bottle with much noise": sphere(82, 60),
    "rings": rings(),
    "box": box(0),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("template")
    prepare("MNI152NLin2009aSym", RECIPE["template_mm"], folder)
    return Template(folder)


@pytest.mark.slow
@pytest.mark.parametrize("case", PHANTOMS)
def test_a_phantom_has_no_brain(case: str, template: Template, tmp_path: Path, see: Say) -> None:
    save(tmp_path / "raw.nii.gz", Volume(PHANTOMS[case].astype(np.float32), np.diag([4.0, 4, 4, 1])))
    with pytest.raises(InputError) as caught:
        bias_correct(tmp_path / "raw.nii.gz", tmp_path / "out.nii.gz", RECIPE["bias_correct"])
        outputs = {f"out_{name}": tmp_path / f"{name}.nii.gz" for name in ("brain", "icv")}
        outputs["out_affine"] = tmp_path / "affine.txt"
        skullstrip(tmp_path / "out.nii.gz", template, **outputs, settings=RECIPE["skullstrip"])
    assert "no plausible brain was found" in caught.value.reason
    assert caught.value.remedy and "\n" not in caught.value.reason
    see(caught.value)


INSIDES: dict[str, tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], bool]] = {
    "brain": (lambda d, x, depth: d, True),
    "brain of T2-like contrast": (lambda d, x, depth: 900 - d, True),
    "brain under a strong field": (lambda d, x, depth: d * (1 + 0.4 * x), True),
    "noisy brain": (lambda d, x, depth: d + np.random.default_rng(5).normal(0, 150, d.shape), True),
    "water": (lambda d, x, depth: 500 + np.random.default_rng(5).normal(0, 5, d.shape), False),
    "water without noise": (lambda d, x, depth: np.full_like(d, 500), False),
    "water under a strong field": (lambda d, x, depth: 500 * (1 + 0.4 * x - 0.3 * x**2), False),
    "shells": (lambda d, x, depth: 300 + 200 * np.cos(depth / 4), False),
    "bright middle": (lambda d, x, depth: 300 + 5 * depth, False),
}


@pytest.mark.parametrize("case", INSIDES)
def test_tissue_tells_a_brain_from_what_is_none(case: str, head: tuple[Volume, np.ndarray], template: Template) -> None:
    volume, brain = head
    change, is_brain = INSIDES[case]
    depth = ndimage.distance_transform_edt(brain, sampling=volume.spacing)
    x = np.linspace(-1, 1, brain.shape[0])[:, None, None] * np.ones(brain.shape)
    data = np.where(brain, change(volume.data, x, depth), 0)
    share = tissue_share(volume.like(data), brain, np.eye(4), template)
    assert share > 2 * LEAST if is_brain else share < LEAST / 2
