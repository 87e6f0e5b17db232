"""Errors beside the truth of a simulation: known volumes, both ways of measuring side by side."""

import numpy as np
import pandas as pd
import pytest

from anatcl.base.files import write_tsv
from anatcl.images import Volume, save
from benchmarks.measures_reliability import TRUE, both_errors


def test_errors_are_percent_of_the_true_volume(tmp_path):
    scan = "sub-1/anat/sub-1"
    half = np.full((4, 5, 6), 0.5, np.float32)  # 120 voxels of 8 mm3, half full: 480 mm3
    for ending in TRUE.values():
        (tmp_path / "truth/sub-1/anat").mkdir(parents=True, exist_ok=True)
        save(tmp_path / "truth" / f"{scan}_{ending}.nii.gz", Volume(half, np.diag([-2.0, 2, 2, 1])), np.float32)
    for folder, volume in (("separate", 504.0), ("together", 470.4)):
        (tmp_path / folder / "measures").mkdir(parents=True)
        write_tsv(
            tmp_path / folder / "measures/measures.tsv", pd.DataFrame([{"scan": scan} | dict.fromkeys(TRUE, volume)])
        )
    table = both_errors({"": tmp_path / "separate", " longitudinal": tmp_path / "together"}, tmp_path / "truth")
    assert list(table["scan"]) == [scan, "mean of the sizes"]
    for column in TRUE:
        assert table[column].to_list() == pytest.approx([5, 5])
        assert table[f"{column} longitudinal"].to_list() == pytest.approx([-2, 2])
