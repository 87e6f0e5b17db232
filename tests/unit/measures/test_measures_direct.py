import numpy as np
import pytest
from measures_phantoms import ribbon, shell

from anatcl.base.errors import InputError
from anatcl.measures.direct import MATCHED, direct
from anatcl.measures.kelly_kapowski import segmentation


@pytest.mark.parametrize("true", [2.0, 3.0, 4.5])
def test_shells_of_known_thickness(true):
    grey, white, spacing = shell(10, true, 1.0)
    found = direct(grey, white, spacing)[segmentation(grey, white) == 2]
    assert found.mean() == pytest.approx(true, rel=0.05)
    assert found.std() < 0.1


def test_a_coarse_grid_does_not_bias_it():
    grey, white, spacing = shell(16, 3, 2.0)
    assert direct(grey, white, spacing)[segmentation(grey, white) == 2].mean() == pytest.approx(3, rel=0.05)


def test_a_folded_ribbon_with_closed_sulci():
    grey, white, spacing, inner = ribbon(2.5)
    found = direct(grey, white, spacing)[inner & (segmentation(grey, white) == 2)]
    assert found.mean() == pytest.approx(2.5, rel=0.05)


def test_settings_hardly_matter():
    grey, white, spacing = shell(10, 3, 1.0)
    cortex = segmentation(grey, white) == 2
    usual = direct(grey, white, spacing)[cortex].mean()
    for change in ({"gradient_step": 0.025}, {"iterations": 10}, {"smoothing_velocity": 1.5}):
        assert direct(grey, white, spacing, **change)[cortex].mean() == pytest.approx(usual, rel=0.03)


def test_axes_are_treated_alike():
    """But for the triangles, which marching cubes lays differently along each axis."""
    grey, white, spacing = shell(8, 2.5, 1.0)
    turned = direct(grey.transpose(2, 0, 1), white.transpose(2, 0, 1), spacing).transpose(1, 2, 0)
    np.testing.assert_allclose(turned, direct(grey, white, spacing), atol=0.05)


def test_two_runs_give_the_same_bytes():
    grey, white, spacing = shell(8, 2.5, 1.0)
    assert direct(grey, white, spacing).tobytes() == direct(grey, white, spacing).tobytes()


def test_the_number_of_threads_changes_nothing():
    grey, white, spacing = shell(8, 2.5, 1.0)
    assert direct(grey, white, spacing, threads=3).tobytes() == direct(grey, white, spacing).tobytes()


def test_nothing_to_measure_gives_zeros():
    assert not direct(np.zeros((7, 8, 9)), np.zeros((7, 8, 9)), np.ones(3)).any()


def test_unknown_readout():
    with pytest.raises(InputError, match="readout"):
        direct(np.zeros((7, 8, 9)), np.zeros((7, 8, 9)), np.ones(3), readout="guess")


@pytest.mark.slow
def test_displacement_follows_kelly_kapowski():
    from anatcl.measures.kelly_kapowski import kelly_kapowski

    grey, white, spacing, inner = ribbon(2.5)
    cortex = inner & (segmentation(grey, white) == 2)
    ours = direct(grey, white, spacing, **MATCHED)[cortex]
    theirs = kelly_kapowski(grey, white, spacing)[cortex]
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.25)
