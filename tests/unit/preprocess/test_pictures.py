"""Small pictures: the brain can be seen beside bright fat, and outlines keep their colours."""

import numpy as np
import pytest

from anatcl.images import Volume
from anatcl.preprocess import pictures, qc

BLUE = (0x3F, 0xA7, 0xD6)


def test_white_is_a_little_more_than_the_brain_has():
    assert pictures.brightest(np.full(100, 80.0)) == pytest.approx(pictures.BRIGHTEST * 80)
    assert pictures.brightest(np.zeros(0)) == pictures.brightest(np.zeros(5)) == 1


def test_a_thin_outline_keeps_its_colour_among_greys(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure = pyplot.figure(figsize=(3, 3), dpi=80)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(np.random.default_rng(0).normal(0.5, 0.1, (240, 240)), cmap="gray", vmin=0, vmax=1)
    axis.axhline(120, color=np.array(BLUE) / 255, linewidth=2)
    axis.set_axis_off()
    pictures.save_small(figure, tmp_path / "a.png")
    pyplot.close(figure)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3).astype(int)
    assert np.abs(pixels - BLUE).max(axis=1).min() <= 8


def test_the_brain_is_as_bright_in_the_picture_with_and_without_fat(tmp_path):
    from PIL import Image

    radius = np.sqrt(((np.indices((48, 48, 48)) - 23.5) ** 2).sum(axis=0))
    brain = np.where(radius < 14, 100.0, 0)
    mask, tissue = (Volume((radius < size).astype(np.float32), np.eye(4)) for size in (14, 10))
    shades = []
    for name, fat in (("thin", 0.0), ("fat", 1500.0)):
        scan = Volume(np.where((radius > 17) & (radius < 22), fat, brain).astype(np.float32), np.eye(4))
        out = tmp_path / f"{name}.png"
        qc.picture(scan, mask, mask, tissue, Volume(brain.astype(np.float32), np.eye(4)), mask, out=out)
        picture = np.asarray(Image.open(out).convert("L")).astype(int)
        slice_ = picture[: picture.shape[0] // 3, : picture.shape[1] // 7]  # the first of the row of masks
        shades.append(slice_[slice_.shape[0] // 2, slice_.shape[1] // 2])
    assert abs(shades[0] - shades[1]) <= 6
    assert shades[0] == pytest.approx(255 / pictures.BRIGHTEST, abs=12)
