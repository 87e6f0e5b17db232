"""The GPU's benchmark runs through on a CPU, without imaging libraries, and writes what it found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anatcl.base.files import read_json
from anatcl.models import build_model
from benchmarks.gpu_common import flops_per_subject, with_plain_layers
from benchmarks.gpu_layers import POOLS, STEMS, plain

ROOT = Path(__file__).resolve().parents[3]
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("nibabel", "nipype", "ants", "snakemake", "matplotlib"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script from the root of the repository, as on a machine that has no imaging library."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--out", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_whole_run(tmp_path):
    done = run(tmp_path, "--minutes", "8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = read_json(tmp_path / "gpu.json")
    assert {"about", "losses", "steps", "layers", "profile", "loop", "resume", "network"} <= set(found)
    assert {"embedding", "thickness", "processes"} <= set(found)
    assert all(max(row["fp32"]) < 1e-3 for row in found["losses"].values() if isinstance(row, dict))
    assert found["layers"]["pool"]["placed"]["values_equal"]
    assert all(row["two_runs_equal"] for row in found["steps"].values() if isinstance(row, dict))
    assert found["resume"]["resumed"]["equal"] and found["resume"]["exit_status_when_stopped"] == 143
    assert found["processes"]["two, beside a lone run"]["equal"]
    assert found["thickness"]["largest_difference_mm"] == 0
    assert found["about"]["hardware"]["cores"] and found["about"]["versions"]["torch"]


def test_parts_without_time_are_skipped_with_a_sentence(tmp_path):
    done = run(tmp_path, "--minutes", "0.05", "--only", "losses", "steps")
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "gpu.json")
    assert found["losses"].startswith("skipped: needs about") and "s are left" in found["steps"]


def test_operations_of_the_published_network():
    """ResNet-18 at 121 x 128 x 121: 169.5 GFLOP a subject forward and backward."""
    assert flops_per_subject("resnet18", (121, 128, 121)) == pytest.approx(169.47e9, rel=1e-3)


def test_plain_layers_compute_the_same():
    torch.manual_seed(0)
    model = build_model("resnet-tiny").eval()
    x = torch.rand(2, 1, 25, 28, 25)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(with_plain_layers(model)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STEMS)
def test_forms_of_the_first_convolution_compute_the_same(name):
    random = torch.Generator().manual_seed(0)
    for shape in ((9, 8, 7), (10, 11, 12)):
        x = torch.rand(2, 1, *shape, generator=random, dtype=torch.float64)
        weight = torch.rand(5, 1, 7, 7, 7, generator=random, dtype=torch.float64)
        torch.testing.assert_close(STEMS[name](x, weight), plain(x, weight), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", POOLS)
def test_forms_of_the_pool_compute_the_same(name):
    x = torch.rand(2, 3, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(POOLS[name](x), POOLS["torch's"](x))
