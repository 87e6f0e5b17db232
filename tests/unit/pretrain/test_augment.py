"""Augmentations: replayable, per volume, and each does what it says."""

from __future__ import annotations

import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.pretrain.augment import TRANSFORMS, Affine, Augment, BiasField, Blur, Crop, Cutout, Flip, Noise
from anatcl.spec.augmentation import DEFAULT
from anatcl.spec.names import MAPS

SHAPE = (4, 1, 14, 16, 12)


@pytest.fixture
def volumes():
    random = torch.Generator().manual_seed(0)
    x = torch.zeros(SHAPE)
    x[:, :, 3:11, 3:13, 3:9] = torch.rand(4, 1, 8, 10, 6, generator=random) + 0.5
    return x


@pytest.mark.parametrize("name", TRANSFORMS)
def test_same_seed_same_result_and_shape(volumes, name):
    augment = Augment([TRANSFORMS[name](p=1.0)])
    one, two, other = augment(volumes, 1), augment(volumes, 1), augment(volumes, 2)
    assert one.shape == volumes.shape and torch.isfinite(one).all() and one.dtype == torch.float32
    assert torch.equal(one, two) and not torch.equal(one, volumes)
    if name != "flip":
        assert not torch.equal(one, other)
        assert not torch.equal(augment(volumes[:1].repeat(2, 1, 1, 1, 1), 1)[0], augment(volumes[:1], 3)[0])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_probability_zero_changes_nothing(volumes, name):
    assert torch.equal(Augment([TRANSFORMS[name](p=0.0)])(volumes, 5), volumes)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_volume_has_its_own_parameters(volumes, name):
    twins = volumes[:1].repeat(4, 1, 1, 1, 1)
    out = Augment([TRANSFORMS[name](p=1.0)])(twins, 7)
    assert torch.equal(out[0], out[1]) == (name == "flip")


def test_flip_mirrors_left_and_right(volumes):
    assert torch.equal(Flip(p=1).apply(volumes, {}), volumes.flip(2))


def test_neutral_parameters_are_the_identity(volumes):
    n = len(volumes)
    neutral = {"angles": torch.zeros(n, 3), "scale": torch.ones(n, 1), "shift": torch.zeros(n, 3)}
    torch.testing.assert_close(Affine().apply(volumes, neutral), volumes, atol=1e-5, rtol=0)
    box = {"side": torch.ones(n, 3), "centre": torch.zeros(n, 3)}
    torch.testing.assert_close(Crop().apply(volumes, box), volumes, atol=1e-5, rtol=0)
    torch.testing.assert_close(BiasField().apply(volumes, {"coefficients": torch.zeros(n, 9)}), volumes)
    torch.testing.assert_close(Blur().apply(volumes, {"sigma": torch.full((n, 1), 0.05)}), volumes)


def test_affine_shift_moves_along_the_right_axis():
    x = torch.zeros(1, 1, 14, 16, 12)
    x[0, 0, 7, 8, 6] = 1.0
    for axis, n in enumerate((14, 16, 12)):
        shift = torch.zeros(1, 3)
        shift[0, 2 - axis] = 2 * 2 / n  # two voxels; grid_sample names the last axis first
        out = Affine().apply(x, {"angles": torch.zeros(1, 3), "scale": torch.ones(1, 1), "shift": shift})
        expected = [7, 8, 6]
        expected[axis] -= 2
        assert out[0, 0][tuple(expected)] == pytest.approx(1, abs=1e-4)


def test_quarter_turn_keeps_proportions():
    """In a volume of unequal sides a rotation must not shear: a quarter turn in a plane permutes voxels exactly."""
    x = torch.rand(1, 1, 9, 7, 7, generator=torch.Generator().manual_seed(0))
    angles = torch.tensor([[0.0, 0.0, torch.pi / 2]])  # about the third name of grid_sample, i.e. in the last two axes
    out = Affine().apply(x, {"angles": angles, "scale": torch.ones(1, 1), "shift": torch.zeros(1, 3)})
    turned = [torch.rot90(x, k, (3, 4)) for k in (1, -1)]
    assert min((out - t).abs().max() for t in turned) < 1e-4


def test_scale_up_makes_the_brain_larger(volumes):
    n = len(volumes)
    big = {"angles": torch.zeros(n, 3), "scale": torch.full((n, 1), 1.2), "shift": torch.zeros(n, 3)}
    assert (Affine().apply(volumes, big) > 0.25).sum() > (volumes > 0.25).sum()


def test_cutout_clears_one_box(volumes):
    full = torch.ones_like(volumes)
    out = Cutout(side=0.5).apply(full, {"corner": torch.tensor([[0.0, 0.25, 0.5]]).repeat(4, 1)})
    assert (out[0, 0, :7, 4:12, 6:] == 0).all() and out[0].sum() == 14 * 16 * 12 - 7 * 8 * 6


def test_blur_keeps_the_mean_and_lowers_the_variance():
    x = torch.rand(2, 1, 14, 16, 12, generator=torch.Generator().manual_seed(0))
    out = Blur(sigma=1.0).apply(x, {"sigma": torch.ones(2, 1)})
    inner = (slice(None), slice(None), slice(3, -3), slice(3, -3), slice(3, -3))
    assert out[inner].mean() == pytest.approx(float(x[inner].mean()), abs=0.02)
    assert out[inner].var() < x[inner].var() / 4


def test_noise_is_scaled_to_the_volume(volumes):
    added = Noise(p=1).add(volumes * 100, torch.full((4, 1, 1, 1, 1), 0.1), 3) - volumes * 100
    assert added.std() == pytest.approx(0.1 * float((volumes * 100).std()), rel=0.1)


def test_names_and_values_are_checked():
    for transforms in DEFAULT.values():
        assert len(Augment.parse(transforms).transforms) == len(transforms)
    with pytest.raises(InputError, match="unknown"):
        Augment.parse({"flipp": {}})
    with pytest.raises(InputError, match="degrees"):
        Augment.parse({"affine": {"angle": 3}})


def test_the_default_keeps_the_volume_of_a_modulated_map():
    """The tissue of a blob well inside the box is the same after flips, rotations and blurs, whatever was drawn."""
    assert set(DEFAULT) == set(MAPS)
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 24)] * 3, indexing="ij"))
    x = torch.exp(-(grid**2).sum(0) / 0.08).expand(16, 1, -1, -1, -1).contiguous()
    before = x.sum((1, 2, 3, 4))

    def largest_change(transforms):
        smooth = {name: {**told, "p": 1.0} for name, told in transforms.items() if name not in ("noise", "cutout")}
        return float((Augment.parse(smooth)(x, 5).sum((1, 2, 3, 4)) / before - 1).abs().max())

    assert largest_change(DEFAULT["vbm"]) < 0.01
    assert largest_change(DEFAULT["quasi-raw"]) > 0.1
