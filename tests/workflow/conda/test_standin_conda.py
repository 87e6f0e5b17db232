"""Every environment is made, and every rule runs in its own; the tables are those of a run without conda.

Conda and its channel are stand-ins (`standin.py`), since neither works without a network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import standin
import yaml
from environments import PACKAGES, ROOT, declared, reached, rules, started, step_imports

pytest.importorskip("rattler", reason="py-rattler is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conda")]

TINY = ROOT / "tests" / "configs" / "tiny.yaml"
# What an environment must not have, though it is installed here: what only other environments declare.
FOREIGN = {
    "main": ("torch", "ants", "nipype", "sklearn", "pytest"),
    "preprocess": ("safetensors", "snakemake", "combatlearn", "pytest", "ants"),
    "report": ("torch", "nipype", "snakemake", "pydantic_settings", "picsl_greedy", "pytest"),
    "torch": ("nibabel", "nipype", "abagen", "skimage", "snakemake", "pytest"),
    "torch-cuda": ("nibabel", "nipype", "abagen", "skimage", "snakemake", "pytest"),
}
TRIGGERS = ("--rerun-triggers", "mtime", "params", "input", "code")
# Every rule, with as little work as that takes: six people of one scan each, one method, one task, one baseline.
# The regions are measured by `direct`, which needs PyTorch.
TASK = {"name": "diagnosis", "kind": "binary", "target": "diagnosis", "positives": ["patient"], "negatives": ["HC"]}
OWN = {
    "participants": {"include": ["sub-001", "sub-003", "sub-004", "sub-006", "sub-007", "sub-009"]},
    "measures": {"thickness": "direct"},
    "evaluate": {"tasks": [TASK | {"min_per_class": 2}], "baselines": ["regional-measures"], "untrained": False},
}


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> Path:
    """The root of the stand-in."""
    root = tmp_path_factory.mktemp("conda")
    standin.make(root)
    return root


def test_every_environment_has_a_list_of_what_is_foreign():
    assert set(FOREIGN) == {file.stem for file in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_an_environment_is_made_and_holds_what_it_declares_alone(name, conda, tmp_path, monkeypatch):
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.8" if "cuda" in name else "")
    file = ROOT / "envs" / f"{name}.yaml"
    command = [conda / "bin" / "conda", "env", "create", "--quiet", "--file", file, "--prefix", tmp_path / "env"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    # By import name; programs and plugins have none.
    imports = {package: name for name, packages in PACKAGES.items() for package in packages}
    apart = {"ants", "pip", "python", "cuda-version"}
    own = {imports.get(p, p.replace("-", "_")) for p in declared(file.name) - apart}
    own = {"tensorboard" if name == "torch.utils.tensorboard" else name for name in own}
    asked = sorted(own | {*FOREIGN[name]})
    code = f"from importlib.util import find_spec; print(*[name for name in {asked} if find_spec(name)])"
    assert standin.run(tmp_path / "env", code).split() == sorted(own)
    assert standin.run(tmp_path / "env", "import sys; print(sys.prefix)") == str(tmp_path / "env")


@pytest.mark.parametrize("name", sorted(set(FOREIGN) - {"main"}))
def test_every_module_that_a_step_reaches_is_imported_in_its_environment(name, conda, tmp_path, monkeypatch):
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.8")
    standin.create(conda, ROOT / "envs" / f"{name}.yaml", tmp_path / "env")
    steps = [(stage, step) for stage, step, files in rules().values() if f"{name}.yaml" in files]
    modules = {module for step in steps for module in reached(step_imports(*step))}
    programs = {program for module in modules for program in started(module)}
    code = (
        "import importlib, sys; sys.path.insert(0, {root!r}); print(len([importlib.import_module(m) for m in {names}]))"
    )
    assert len(steps) >= 3 and len(modules) > 5
    names = sorted(modules - programs)
    assert standin.run(tmp_path / "env", code.format(root=str(ROOT), names=names)) == str(len(names))


def test_the_cuda_environment_says_what_a_machine_without_gpu_lacks(conda, tmp_path, monkeypatch):
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "")
    file = ROOT / "envs" / "torch-cuda.yaml"
    command = [conda / "bin" / "conda", "env", "create", "--file", file, "--prefix", tmp_path / "env"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "__cuda" in done.stderr
    assert "CONDA_OVERRIDE_CUDA" in file.read_text()


class Study:
    """A folder in which the workflow is run, with the stand-in on the PATH."""

    def __init__(self, folder: Path, conda: Path, repository: Path) -> None:
        self.folder, self.log = folder, folder / "prefixes.tsv"
        self.snakefile = repository / "workflow" / "Snakefile"
        path = os.pathsep.join([str(conda / "bin"), os.environ["PATH"]])
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONDA", "PYTEST"))
        }
        self.environment = plain | {"PATH": path, "OMP_NUM_THREADS": "1", "STANDIN_LOG": str(self.log)}

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile), "--cores", "2"]
        command += ["--configfile", str(TINY), str(self.folder.parent / "own.yaml"), *options]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment | variables, capture_output=True, text=True
        )

    def planned(self, *options: str) -> set[str]:
        """Rules that would run."""
        done = self.run("-n", "--quiet", "rules", *options)
        assert done.returncode == 0, done.stderr[-3000:]
        return set(re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, re.MULTILINE)) - {"total", "all"}

    def prefixes(self) -> dict[tuple[str, str], set[str]]:
        """Environments, by the names of their files, in which each step was started."""
        names = {file.read_bytes(): file.name for file in (ROOT / "envs").glob("*.yaml")}
        found: dict[tuple[str, str], set[str]] = {}
        for line in self.log.read_text().splitlines():
            prefix, words = line.split("\t")
            if match := re.fullmatch(r"-m anatcl (\w+) ([\w-]+)", words):
                file = names[Path(f"{prefix}.yaml").read_bytes()]
                found.setdefault((match[1], match[2]), set()).add(file)
        return found


@pytest.fixture(scope="module")
def studies(conda, repository, tmp_path_factory) -> tuple[Study, Study]:
    """One cohort run twice: with conda and without."""
    root = tmp_path_factory.mktemp("studies")
    simulate = [sys.executable, "-m", "anatcl", "simulate", "bids", "--participants", "9", "--voxel-mm", "5"]
    subprocess.run([*simulate, "--jobs", "2"], cwd=root, check=True, capture_output=True)
    (root / "own.yaml").write_text(yaml.safe_dump({"bids_dir": str(root / "bids")} | OWN))
    made = []
    for name, options in (("with", ["--sdm", "conda"]), ("without", [])):
        (root / name).mkdir()
        study = Study(root / name, conda, repository)
        done = study.run(*options)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        made.append(study)
    return made[0], made[1]


# Rules that the study's configuration does not plan; tests/unit/test_environments.py looks at what they import.
OF_OPTIONS = {"surfaces", "embed_given", "finetune", "person_template", "person_align", "take_measures", "take_arrays"}
OF_OPTIONS |= {"decode", "embed_perturbed", "rival_perturbed", "perturbed"}


def test_every_rule_ran_in_its_own_environment(studies):
    study, without = studies
    found = study.prefixes()
    for name, (stage, step, files) in rules().items():
        if name in OF_OPTIONS:
            continue
        assert found[stage, step] == {next(file for file in sorted(files, reverse=True) if "cuda" not in file)}, name
        print(f"{name}: {found[stage, step]}")
    assert not without.log.exists(), "a Python of the stand-in was started without conda"


def test_the_tables_are_those_of_a_run_without_conda(studies):
    tables = [
        {
            file.relative_to(study.folder).as_posix(): file.read_bytes()
            for pattern in ("measures/*.tsv", "evaluate/**/*.tsv", "report/tables/*", "report/benchmark.tsv")
            for file in (study.folder / "results").glob(pattern)
        }
        for study in studies
    ]
    assert len(tables[0]) > 20 and "results/evaluate/scores.tsv" in tables[0]
    assert set(tables[0]) == set(tables[1])
    assert [name for name, content in tables[0].items() if tables[1][name] != content] == []


# A queue of one machine, as strict as PBS: a job begins in another folder, and has this environment only with -V.
QSUB = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked.txt"
keep=
for word; do [ "$word" = -V ] && keep=1; script=$word; done
script=$(realpath "$script")
cd /
if [ "$keep" ]; then nohup "$script" >/dev/null 2>&1 & else nohup env -i "$script" >/dev/null 2>&1 & fi
echo $!
"""


@pytest.fixture
def template(conda, heads, tmp_path):
    """Run the rule `template` by the workflow of a clone or an installed copy, with its environment."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"bids_dir": str(heads)}))

    def run(name: str, repository: Path, *options: str, **variables: str) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        study = Study(tmp_path / name, conda, repository)
        path = os.pathsep.join([str(tmp_path), study.environment["PATH"]])
        done = study.run("--sdm", "conda", "--until", "template", *options, PATH=path, **variables)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        assert study.prefixes() == {("preprocess", "template"): {"preprocess.yaml"}}
        made = study.folder / "results" / "preprocess" / "template"
        return {file.name: file.read_bytes() for file in made.glob("*.nii.gz")}

    return run


def test_an_installed_copy_and_a_scheduler_do_as_the_clone_does(template, repository, wheel, tmp_path):
    """The environment does not have the library: the job finds that of the clone, or of the wheel, by its path."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="the plugin of this profile is absent")
    volumes = template("clone", repository)
    assert len(volumes) > 5
    place = tmp_path / "a place"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(place), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    assert template("wheel", place / "anatcl" / "shipped", PYTHONPATH=str(place)) == volumes
    (tmp_path / "qsub").write_text(QSUB)
    (tmp_path / "qsub").chmod(0o755)
    profile = str(repository / "workflow" / "profiles" / "generic")
    assert template("queue", repository, "--workflow-profile", profile) == volumes
    [asked] = (tmp_path / "asked.txt").read_text().splitlines()
    assert asked.startswith("-V -N anatcl-template -l select=1:ncpus=1:mem=4000mb -l walltime=00:15:00 ")


def test_adding_conda_redoes_the_cohort_unless_software_is_no_trigger(studies):
    with_conda, without = studies
    assert with_conda.planned("--sdm", "conda") == without.planned() == set()
    assert "bias_correct" in without.planned("--sdm", "conda")
    assert "bias_correct" in with_conda.planned()
    assert without.planned("--sdm", "conda", *TRIGGERS) == with_conda.planned(*TRIGGERS) == set()


def test_environments_that_were_carried_are_used_with_their_flags_alone(studies, tmp_path):
    """As the page for machines without a network says: folder, file and flag; without the flag it would be deleted."""
    study, _ = studies
    envs = study.folder / ".snakemake" / "conda"
    with tarfile.open(tmp_path / "envs.tar", "w") as tar:
        tar.add(envs, arcname="conda")
    shutil.rmtree(envs)
    assert "will be created" in told(study)
    with tarfile.open(tmp_path / "envs.tar") as tar:
        tar.extractall(envs.parent, filter="fully_trusted")
    assert "will be" not in told(study)
    for flag in envs.glob("*.env_setup_done"):
        flag.unlink()
    assert "will be recreated" in told(study)


def told(study: Study) -> str:
    done = study.run("-n", "--sdm", "conda", "--forcerun", "tables", "--until", "tables")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr
