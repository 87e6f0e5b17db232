"""N4 with splines fine enough takes out what the coil leaves at the vertex."""

import numpy as np

from anatcl.images import Volume
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.bias_correct import n4
from anatcl.preprocess.recipe import load_recipe


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
