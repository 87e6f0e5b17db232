"""A copy of the repository to run and to change, and tiny datasets to run it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatcl.images import Volume, save
from tests.workflow.whole import dataset, finished, options  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("anatcl", "config.yaml", "envs", "rules", "workflow", "pyproject.toml", "setup.py", "MANIFEST.in",
           "README.md", "LICENSE", "THIRD_PARTY.md")  # fmt: skip
PARTS = ("anatcl", "rules", "workflow", "envs", "config.yaml")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of the repository the workflow needs, copied, so that a test may edit it."""
    target = tmp_path_factory.mktemp("copy") / "the repository"
    target.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)
    return target


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without a network."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools is not installed (pip install setuptools)")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(source),
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def snakemake(repository: Path) -> Run:
    """Run Snakemake on the copy in a folder of its own and return what it printed."""

    def run(folder: Path, *words: str, module: tuple[str, ...] = ("snakemake",)) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", *module]
        if module == ("snakemake",):
            command += ["--snakefile", str(repository / "workflow" / "Snakefile")]
        environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of nine readable scans that nobody preprocesses: two sessions, runs, an acquisition, no session."""
    root = tmp_path_factory.mktemp("heads") / "bids"
    stems = [f"sub-00{n}/ses-{s}/anat/sub-00{n}_ses-{s}" for n in (1, 2) for s in (1, 2)]
    stems += ["sub-003/anat/sub-003", "sub-010/ses-1/anat/sub-010_ses-1_acq-mprage"]
    stems += [f"sub-004/ses-1/anat/sub-004_ses-1_run-{r}" for r in (1, 2)] + ["sub-020/ses-1/anat/sub-020_ses-1"]
    data = np.random.default_rng(0).random((24, 26, 28)).astype(np.float32)
    for stem in stems:
        path = root / f"{stem}_T1w.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, Volume(data, np.diag([5.0, 5, 5, 1])))
    people = sorted({stem.split("/")[0] for stem in stems})
    rows = [f"{name}\t{30 + 5 * n}\t{'MF'[n % 2]}\tA\t{'HC' if n < 3 else 'patient'}" for n, name in enumerate(people)]
    head = "participant_id\tage\tsex\tsite\tdiagnosis\n"
    (root / "participants.tsv").write_text(head + "\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "heads", "BIDSVersion": "1.9.0"}')
    return root
