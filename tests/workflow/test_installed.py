"""A wheel holds the workflow: an installed copy plans and runs away from the clone."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.pretrain.arrays import array_meta, write_arrays
from tests.unit.evaluate.test_own_baselines import FOREST
from tests.unit.pretrain.test_own import LOSS, NET

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
Anatcl = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's Python that has the wheel installed, and sees the packages that these tests run with."""
    environment = tmp_path_factory.mktemp("installed") / "a folder"
    venv.create(environment, with_pip=False, symlinks=True)
    place = next(environment.glob("lib/python*/site-packages"))
    (place / "others.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(place), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return environment / "bin" / "python"


@pytest.fixture(scope="module")
def anatcl(python: Path) -> Anatcl:
    """The command line of the installed copy, run in a folder that is not the clone."""

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        command = [str(python), "-m", "anatcl", *words]
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


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder with packed arrays of twelve people in it, to run in."""
    people = [f"sub-{n:02d}" for n in range(12)]
    rows = pd.DataFrame({"scan": [f"{p}/anat/{p}" for p in people], "participant_id": people, "session_id": None})
    rows = rows.assign(age=np.arange(20.0, 32.0), sex=["M", "F"] * 6, site="A")
    volumes = np.random.default_rng(0).random((12, 9, 10, 11))
    measured = rows[["scan", "participant_id"]].assign(thickness_lh_cuneus=rows["age"] / 20, thickness_rh_cuneus=2.0)
    write_tsv(tmp_path / "packed" / "measures.tsv", measured)
    write_arrays(tmp_path / "packed", volumes, rows, array_meta((9, 10, 11), np.diag([6, 6, 6, 1]), "vbm", []))
    return tmp_path


TRAINED = "arrays: packed, epochs: 1, batch_size: 6, folds: 2"
TASKS = "tasks: [{name: age, kind: regression, target: age, min_participants: 4}], untrained: false, rivals: []"


def check_run(done: subprocess.CompletedProcess, folder: Path, method: str, baseline: str) -> None:
    """A run with a loss, a network and a baseline that are not ours."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    about = read_json(folder / "results" / "pretrain" / method / "final" / "model.json")
    assert about["method"] == method and about["embedding_dim"] == 24 and len(about["train_participants"]) == 12
    scores = read_tsv(folder / "results" / "evaluate" / baseline / "age_scores.tsv").set_index("metric")
    assert scores.loc["mae", "n"] == 12 and scores.loc["mae", "value"] < 10


def targets(method: str, baseline: str) -> tuple[str, str]:
    return f"results/pretrain/{method}/final/model.json", f"results/evaluate/{baseline}/age_scores.tsv"


def test_it_runs_a_loss_a_network_and_a_baseline_of_the_users_own(anatcl: Anatcl, packed: Path) -> None:
    """From packed arrays, with classes that stand in files of the user's; the installed package is not touched."""
    for name, text in (("losses", LOSS), ("networks", NET), ("baselines", FOREST)):
        (packed / f"my_{name}.py").write_text(text)
    (packed / "my.yaml").write_text(
        f"pretrain: {{{TRAINED}, methods: [my-loss], final: [my-loss], encoder: 'my_networks.py:Net',"
        " own: {my-loss: {loss: 'my_losses.py:MyLoss'}}}\n"
        f"evaluate: {{{TASKS}, own: {{forest: {{baseline: 'my_baselines.py:forest', arguments: {{trees: 10}}}}}}}}\n"
    )
    done = anatcl(packed, "run", "--", *targets("my-loss", "forest"), "--configfile", "my.yaml", "--cores", "1")
    check_run(done, packed, "my-loss", "forest")


def test_it_runs_what_another_package_offers(anatcl: Anatcl, python: Path, packed: Path) -> None:
    """A loss, a network and a baseline by entry points of a package that is installed beside it."""
    place = next(python.parents[1].glob("lib/python*/site-packages"))
    (place / "theirs.py").write_text(f"{LOSS}\n{NET}\n{FOREST}")
    info = place / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    offered = {"losses": "their-loss = theirs:MyLoss", "encoders": "their-net = theirs:Net"}
    offered["baselines"] = "their-forest = theirs:forest"
    (info / "entry_points.txt").write_text("".join(f"[anatcl.{group}]\n{line}\n" for group, line in offered.items()))
    (packed / "my.yaml").write_text(
        f"pretrain: {{{TRAINED}, methods: [their-loss], final: [their-loss], encoder: their-net}}\n"
        f"evaluate: {{{TASKS}, baselines: [their-forest]}}\n"
    )
    done = anatcl(
        packed, "run", "--", *targets("their-loss", "their-forest"), "--configfile", "my.yaml", "--cores", "1"
    )
    check_run(done, packed, "their-loss", "their-forest")
