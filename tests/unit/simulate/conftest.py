"""One small simulated dataset for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from anatcl.simulate.dataset import simulate_dataset

VOXEL_MM = 7.0


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people, eleven scans, 7 mm."""
    folder = tmp_path_factory.mktemp("simulated") / "bids"
    assert simulate_dataset(folder, participants=8, voxel_mm=VOXEL_MM, seed=3) == 11
    return folder
