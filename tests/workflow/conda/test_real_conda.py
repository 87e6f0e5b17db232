"""The measures of two scans with every rule in its conda environment, where there is a conda."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("conda"),
    pytest.mark.skipif(shutil.which("conda") is None, reason="no program 'conda' on the PATH"),
]


def test_rules_run_in_their_environments(snakemake, tmp_path):
    simulate = [sys.executable, "-m", "anatcl", "simulate", "bids", "--participants", "2", "--voxel-mm", "6"]
    subprocess.run(simulate, cwd=tmp_path, check=True, capture_output=True)
    options = ["--cores", "2", "--sdm", "conda", "--until", "measures", "--configfile", str(CONFIGS / "tiny.yaml")]
    done = snakemake(tmp_path, *options, "--config", "bids_dir=bids")
    assert done.returncode == 0, done.stderr[-5000:]
    assert (tmp_path / "results" / "measures" / "measures.tsv").stat().st_size > 0
    assert list((tmp_path / ".snakemake" / "conda").glob("*/bin/python"))
