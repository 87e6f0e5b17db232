"""A package that is not installed is a sentence with the extra that brings it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from environments import PACKAGES

from anatcl.base.errors import InputError
from anatcl.cli.main import explained
from anatcl.cli.missing import EXTRAS, sentence

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OTHER = {"torch": "torch", "ants": "antspyx", "matplotlib": "matplotlib", "snakemake": "snakemake"}
BROUGHT = {"contourpy": "matplotlib", "SimpleITK": "picsl-greedy"}


@pytest.mark.parametrize(("module", "extra"), [(name, extra) for extra, names in EXTRAS.items() for name in names])
def test_the_extra_that_is_named_brings_the_package(module, extra):
    needs = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    brought = {re.split(r"[\[<>=]", need)[0].lower() for need in needs}
    package = BROUGHT.get(module) or OTHER.get(module) or PACKAGES.get(module, (module,))[0]
    assert {package.lower(), module.lower()} & brought


@pytest.mark.parametrize(
    ("module", "words"), [("nibabel.nifti1", "[imaging]"), ("pydantic", "anatcl-workflow;"), ("psutil", "[workflow]")]
)
def test_a_missing_package_is_a_sentence(module, words):
    error = explained(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert isinstance(error, InputError)
    assert f"the package {module.partition('.')[0]} is not installed." in str(error) and words in str(error)


def test_other_errors_stay():
    for error in (ModuleNotFoundError("x", name="nobody_knows"), ModuleNotFoundError("x"), ValueError("y")):
        assert explained(error) is error
    assert sentence("anatcl.nothing") is None


@pytest.mark.parametrize("extra", ["slurm", "generic", "greedy", "surfaces"])
def test_an_extra_brings_what_it_needs(extra):
    """A plugin of Snakemake comes with Snakemake, greedy with the imaging that calls it."""
    needs = PROJECT["optional-dependencies"][extra]
    assert any(need.startswith("anatcl-workflow[") for need in needs)
