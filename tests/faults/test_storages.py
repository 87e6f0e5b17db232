"""The same head in twenty-five storages: one mask, one volume.

All are read alike; what differs after that goes through the whole chain (scale, offset, axes, spikes, NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anatcl.bids.check import check
from anatcl.preprocess.bias_correct import bias_correct, conform
from anatcl.preprocess.head import packaged_head
from anatcl.preprocess.skullstrip import skullstrip
from anatcl.preprocess.template import Template, prepare
from anatcl.spec.bids import Options
from anatcl.spec.recipe import load_recipe

RECIPE = load_recipe(str(Path(__file__).resolve().parents[1] / "configs" / "tiny.json"))
Array = np.ndarray


@pytest.fixture(scope="module")
def head() -> tuple[Array, Array]:
    found = packaged_head(4.0)
    noise = np.random.default_rng(0).normal(0, 0.01, found.head_t1.shape)
    return np.abs(found.head_t1 / found.head_t1.max() + noise) * 900, found.affine


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("template")
    prepare("MNI152NLin2009aSym", RECIPE["template_mm"], folder)
    return Template(folder)


def plain(data: Array, affine: Array, dtype: str = "float32") -> nib.Nifti1Image:
    return nib.Nifti1Image(data.astype(dtype), affine)


def turned(codes: str) -> Callable[[Array, Array], nib.Nifti1Image]:
    def make(data: Array, affine: Array) -> nib.Nifti1Image:
        image = plain(data, affine)
        wanted = nib.orientations.axcodes2ornt(tuple(codes))
        return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))

    return make


def scaled(data: Array, affine: Array) -> nib.Nifti1Image:
    image = plain(data, affine)
    image.set_data_dtype("int16")
    return image


def forms(sform: int, qform: int) -> Callable[[Array, Array], nib.Nifti1Image]:
    def make(data: Array, affine: Array) -> nib.Nifti1Image:
        image = plain(data, affine)
        image.set_qform(affine, qform)
        image.set_sform(affine, sform)
        return image

    return make


def extended(data: Array, affine: Array) -> nib.Nifti1Image:
    image = plain(data, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 300))
    return image


STORAGES: dict[str, Callable[[Array, Array], nib.Nifti1Image]] = {
    **{f"as {kind}": lambda d, a, k=kind: plain(d, a, k) for kind in ("int16", "uint16", "int32", "float64")},
    "as uint8": lambda d, a: plain(d * 250 / d.max(), a, "uint8"),
    "scaled to int16": scaled,
    "times 1000": lambda d, a: plain(d * 1000, a),
    "divided by 1000": lambda d, a: plain(d / 1000, a),
    "less 500": lambda d, a: plain(d - 500, a),
    "z-scored": lambda d, a: plain((d - d.mean()) / d.std(), a),
    "big-endian": lambda d, a: nib.Nifti1Image(d.astype(">f4"), a, nib.Nifti1Header(endianness=">")),
    "NIfTI-2": lambda d, a: nib.Nifti2Image(d.astype("float32"), a),
    "four axes": lambda d, a: plain(d[..., None], a),
    **{f"stored {codes}": turned(codes) for codes in ("LPS", "LAS", "PSR", "ASL", "SRA", "RSP", "IPL")},
    "sform alone": forms(1, 0),
    "qform alone": forms(0, 1),
    "both, aligned": forms(2, 2),
    "with an extension": extended,
    "a few spikes": lambda d, a: plain(np.where(np.arange(d.size).reshape(d.shape) % 40_000 == 7, 1e8, d), a),
    "some NaN": lambda d, a: plain(np.where(np.arange(d.size).reshape(d.shape) % 9000 == 7, np.nan, d), a),
}


def mask_of(raw: Path, folder: Path, template: Template) -> tuple[Array, float]:
    """Brain mask on the axes R, A, S, and its volume in ml."""
    bias_correct(raw, folder / "out.nii.gz", RECIPE["bias_correct"])
    brain = folder / "brain.nii.gz"
    found = skullstrip(
        folder / "out.nii.gz",
        template,
        out_brain=brain,
        out_icv=folder / "icv.nii.gz",
        out_affine=folder / "affine.txt",
        settings=RECIPE["skullstrip"],
    )
    return nib.as_closest_canonical(nib.load(brain)).get_fdata() > 0.5, found["BrainMl"]


@pytest.fixture(scope="module")
def usual(
    head: tuple[Array, Array], template: Template, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Array, float]:
    folder = tmp_path_factory.mktemp("usual")
    plain(*head).to_filename(folder / "raw.nii.gz")
    return mask_of(folder / "raw.nii.gz", folder, template)


def test_there_are_twenty_five() -> None:
    assert len(STORAGES) + 1 >= 25


def stored(case: str, head: tuple[Array, Array], folder: Path) -> Path:
    """The head in one storage; qform alone is kept without compression, too."""
    raw = folder / ("sub-01_T1w.nii" if "qform" in case else "sub-01_T1w.nii.gz")
    STORAGES[case](*head).to_filename(raw)
    return raw


@pytest.mark.parametrize("case", STORAGES)
def test_a_head_in_any_storage(
    case: str, head: tuple[Array, Array], tmp_path: Path, see: Callable[[object], None]
) -> None:
    """The index takes it, and the steps work on the same grid and, up to a scale and a shift, the same intensities."""
    raw = stored(case, head, tmp_path)
    notes = check(raw, Options().limits())["notes"]
    scan = conform(raw)
    found = nib.as_closest_canonical(nib.Nifti1Image(scan.data, scan.affine))
    np.testing.assert_allclose(found.affine, head[1], atol=1e-3)
    assert scan.data.min() >= 0 and np.isfinite(scan.data).all()
    data = found.get_fdata()
    sound = data < np.percentile(data, 99.9)  # spikes end up among the brightest
    assert np.corrcoef(data[sound], head[0][sound])[0, 1] > 0.999
    see(" ".join(notes) or "read as it was meant")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["stored PSR", "z-scored", "less 500", "a few spikes", "some NaN"])
def test_one_mask(
    case: str, head: tuple[Array, Array], usual: tuple[Array, float], template: Template, tmp_path: Path
) -> None:
    mask, volume = mask_of(stored(case, head, tmp_path), tmp_path, template)
    dice = 2 * (mask & usual[0]).sum() / (mask.sum() + usual[0].sum())
    assert volume == pytest.approx(usual[1], rel=0.02) and dice > 0.97
