"""A wheel holds the workflow: an installed copy plans and runs away from the clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.files import read_json
from anatcl.pretrain.arrays import array_meta, write_arrays
from tests.unit.pretrain.test_own import LOSS, NET

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
Anatcl = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def anatcl(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Anatcl:
    """The command line of the installed copy, run in a folder that is not the clone."""
    target = tmp_path_factory.mktemp("installed") / "a folder"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "anatcl", *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_holds_every_file_of_the_workflow(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = [p for name in ("envs", "rules", "workflow") for p in (ROOT / name).rglob("*")]
    tracked = [p for p in tracked if p.is_file() and "__pycache__" not in p.parts]
    wanted = {f"anatcl/shipped/{path.relative_to(ROOT).as_posix()}" for path in [*tracked, ROOT / "config.yaml"]}
    assert wanted <= held
    data = [p for p in (ROOT / "anatcl").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.relative_to(ROOT).as_posix() for p in data} <= held


def test_the_wheel_says_its_licence_and_has_the_notices(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [folder] = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        about = archive.read(f"{folder}/METADATA").decode()
        notices = archive.read(f"{folder}/licenses/THIRD_PARTY.md").decode()
    said = {"License-Expression: MIT", "License-File: LICENSE", "License-File: THIRD_PARTY.md"}
    assert said <= set(about.splitlines())
    assert notices == (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")


def test_an_installed_copy_plans_as_the_clone_does(anatcl: Anatcl, heads: Path, tmp_path: Path) -> None:
    done = anatcl(tmp_path, "run", str(heads), "out", "group", "--", "-n", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-3000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert jobs["bias_correct"] == "9" and jobs["report"] == "1"
    one = ("--participant-label", "001")
    done = anatcl(tmp_path, "run", str(heads), "out", "participant", *one, "--", "-n", "--quiet", "rules")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert jobs["measure"] == "2" and "report" not in jobs and "measures" not in jobs


def test_its_jobs_find_the_library(anatcl: Anatcl, heads: Path, tmp_path: Path) -> None:
    """One real job, the template: the shell finds the installed package through its stand-in."""
    (tmp_path / "tiny.yaml").write_text(f"preprocess: {{recipe: {ROOT / 'tests' / 'configs' / 'tiny.json'}}}\n")
    words = (
        "run",
        str(heads),
        "out",
        "group",
        "--n-cpus",
        "1",
        "--",
        "--configfile",
        "tiny.yaml",
        "--until",
        "template",
    )
    done = anatcl(tmp_path, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "results" / "preprocess" / "template").is_dir()
    told = anatcl(tmp_path, "status", "out")
    assert "bias_correct       0 of 9" in told.stdout


def test_it_trains_a_loss_and_a_network_of_the_users_own(anatcl: Anatcl, tmp_path: Path) -> None:
    """From packed arrays, with classes that stand in files of the user's; the installed package is not touched."""
    people = [f"sub-{n:02d}" for n in range(12)]
    rows = pd.DataFrame({"scan": [f"{p}/anat/{p}" for p in people], "participant_id": people, "session_id": None})
    rows = rows.assign(age=np.arange(20.0, 32.0), sex=["M", "F"] * 6, site="A")
    volumes = np.random.default_rng(0).random((12, 9, 10, 11))
    write_arrays(tmp_path / "packed", volumes, rows, array_meta((9, 10, 11), np.diag([6, 6, 6, 1]), "vbm", []))
    (tmp_path / "my_losses.py").write_text(LOSS)
    (tmp_path / "my_networks.py").write_text(NET)
    (tmp_path / "my.yaml").write_text(
        "pretrain: {arrays: packed, methods: [my-loss], final: [my-loss], encoder: 'my_networks.py:Net', epochs: 1,"
        " batch_size: 6, folds: 2, own: {my-loss: {loss: 'my_losses.py:MyLoss'}}}\n"
        "evaluate: {tasks: [{name: age, kind: regression, target: age, min_participants: 4}], untrained: false}\n"
    )
    model = "results/pretrain/my-loss/final/model.json"
    done = anatcl(tmp_path, "run", "--", model, "--configfile", "my.yaml", "--cores", "1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    about = read_json(tmp_path / model)
    assert about["method"] == "my-loss" and about["embedding_dim"] == 24 and len(about["train_participants"]) == 12
