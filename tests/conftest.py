"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("anatcl", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("anatcl")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    """The one seeded source of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans: ``$ANATCL_SHARED_DATA``, or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("ANATCL_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder} is not a folder (set ANATCL_SHARED_DATA)")
    return folder
