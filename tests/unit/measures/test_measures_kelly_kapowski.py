"""KellyKapowski through the private workspace, as the other ANTs programs."""

import numpy as np
import pytest
from measures_phantoms import shell

from anatcl.measures.kelly_kapowski import kelly_kapowski, segmentation
from anatcl.preprocess.ants import workspace

SHORT = {"convergence": "[6,0.0,10]", "gradient_step": 0.05}


def test_it_runs_and_repeats_to_the_byte():
    grey, white, spacing = shell(4, 2.5, 1.0)
    cortex = segmentation(grey, white) == 2
    first, second = (kelly_kapowski(grey, white, spacing, **SHORT) for _ in range(2))
    assert first.shape == grey.shape and not first[~cortex].any()
    assert 0.3 < first[cortex].mean() < 2.5  # six iterations have begun the way
    assert first.tobytes() == second.tobytes()


def test_the_workspace_finds_the_interface_without_help():
    """It lies in nipype's module of segmentation and is not exported beside the others."""
    with workspace() as room, pytest.raises(ValueError, match="segmentation_image"):
        room.run("KellyKapowski")


def test_an_interface_that_nipype_has_not_is_named():
    with workspace() as room, pytest.raises(ValueError, match="no ANTs interface 'Nonsense'"):
        room.run("Nonsense")


@pytest.mark.slow
def test_its_own_error_on_a_shell_is_what_the_docs_say():
    grey, white, spacing = shell(10, 3, 1.0)
    cortex = segmentation(grey, white) == 2
    assert kelly_kapowski(grey, white, spacing)[cortex].mean() == pytest.approx(3, rel=0.05)
    assert np.isfinite(kelly_kapowski(grey, white, spacing, **SHORT)).all()
