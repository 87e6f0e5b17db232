"""The lowest and the newest Snakemake that the package admits plan the same jobs, with mends and without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def admitted() -> Requirement:
    """The requirement of Snakemake as the package states it."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["workflow"]
    return next(need for need in map(Requirement, extra) if need.name == "snakemake")


LOWEST = next(part.version for part in admitted().specifier if part.operator == ">=")


def test_the_lowest_version_is_stated_alike_everywhere():
    assert f'min_version("{LOWEST}")' in (ROOT / "workflow" / "Snakefile").read_text()
    assert f"snakemake-minimal >={LOWEST},<10" in (ROOT / "envs" / "main.yaml").read_text()
    assert f"Snakemake {LOWEST} or any later version 9" in (ROOT / "README.md").read_text()


def planned(snakemake, folder: Path, heads: Path) -> list[str]:
    """Every job of a dry run with its files, its reason and its command, in order of the alphabet."""
    folder.mkdir()
    tiny = ROOT / "tests" / "configs" / "tiny.yaml"
    done = snakemake(folder, "-n", "-p", "--configfile", str(tiny), "--config", f"bids_dir={heads}")
    assert done.returncode == 0, done.stderr[-3000:]
    text = re.sub(r"jobid: \d+|\[\w{3} \w{3} .*?\d{4}\]|reason: .*", "", done.stdout + done.stderr)
    return sorted(re.split(r"\n\s*\n", text.replace(str(folder), "")))


def test_the_plan_is_the_same_without_mends(snakemake, heads, tmp_path, monkeypatch):
    monkeypatch.delenv("ANATCL_PLAIN_SNAKEMAKE", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    mended = planned(snakemake, tmp_path / "mended", heads)
    monkeypatch.setenv("ANATCL_PLAIN_SNAKEMAKE", "1")
    alone = planned(snakemake, tmp_path / "alone", heads)
    lines = [part for part in alone if "ANATCL_PLAIN_SNAKEMAKE is set" in part]
    assert len(lines) == 1
    assert sum("rule bias_correct:" in part for part in mended) == 9
    assert [part for part in mended if "rule " in part] == [part for part in alone if "rule " in part]


def pip(python: Path | str, *words: str) -> str:
    """What `pip install` prints; the test is skipped where it fails, as without a network."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip install {words[-1]} failed: {done.stderr.strip().splitlines()[-1][:200]}")
    return done.stdout


def newest() -> str:
    """The newest version that the package admits and the index of pip has."""
    said = pip(sys.executable, "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", str(admitted()))
    return json.loads(said)["install"][0]["metadata"]["version"]


@pytest.fixture(scope="module", params=["lowest", "newest"])
def python(request, tmp_path_factory) -> Path:
    """A Python with one version of Snakemake, and everything else that is installed here."""
    wanted = LOWEST if request.param == "lowest" else newest()
    if wanted == version("snakemake"):
        pytest.skip(f"Snakemake {wanted} is the {request.param} version and is installed: every other test runs it")
    folder = tmp_path_factory.mktemp("snakemake")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    own = folder / "bin" / "python"
    pip(own, f"snakemake=={wanted}")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([own, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return own


@pytest.mark.slow
def test_dry_runs_and_mends_with_the_bounds_of_snakemake(python):
    """The tests of dry runs and of mends pass with the lowest and with the newest version."""
    files = [str(Path(__file__).parent / "test_dry_runs.py"), str(ROOT / "tests" / "unit" / "workflow")]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
