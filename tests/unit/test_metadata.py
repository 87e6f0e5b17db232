"""What catalogues read of the project agrees with the project."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.licenses import canonicalize_license_expression

import anatcl
from anatcl.cli import run as command

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTOR = json.loads((ROOT / "workflow" / "boutiques.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTICES = (ROOT / "THIRD_PARTY.md").read_text()


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    codemeta = json.loads((ROOT / "codemeta.json").read_text())
    assert {citation["version"], codemeta["version"], DESCRIPTOR["tool-version"]} == {anatcl.__version__}


def test_one_licence_and_one_description_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    codemeta = json.loads((ROOT / "codemeta.json").read_text())
    assert PROJECT["license"] == citation["license"] == codemeta["license"].rpartition("/")[2]
    assert PROJECT["description"] == codemeta["description"] == DESCRIPTOR["description"]
    assert PROJECT["keywords"] == codemeta["keywords"]


def test_the_descriptor_is_valid_to_its_own_tool() -> None:
    pytest.importorskip("boutiques", reason="boutiques is not installed (pip install boutiques)")
    check = "import sys; from boutiques.bosh import bosh; bosh(['validate', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", check, str(ROOT / "workflow" / "boutiques.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_descriptor_names_the_options_of_the_command() -> None:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    [app] = parser._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
    known = {action.dest for action in app._actions} - {"help", "show_all"}
    described = {item["id"] for item in DESCRIPTOR["inputs"]}
    assert described - {"configfile"} == known - {"level"} | {"level"}
    flags = {item["command-line-flag"] for item in DESCRIPTOR["inputs"] if "command-line-flag" in item}
    taken = {flag for action in app._actions for flag in action.option_strings}
    assert flags - {"-- --configfile"} <= taken
    assert all(item["value-key"] in DESCRIPTOR["command-line"] for item in DESCRIPTOR["inputs"])


def test_every_data_file_that_ships_says_its_source_and_licence() -> None:
    shipped = [p for end in ("*.nii.gz", "*.tsv", "*.gii", "*.annot", "*.npz") for p in (ROOT / "anatcl").rglob(end)]
    assert shipped
    assert not [p for p in shipped if f"`{p.relative_to(ROOT).as_posix()}`" not in NOTICES]


def test_every_licence_is_an_spdx_expression_and_its_terms_are_there() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in NOTICES.splitlines() if line.startswith("| ")]
    licences = [row[2] for row in rows if not row[2].startswith("licence")]
    assert len(licences) > 10 and "LicenseRef-ICBM-152" in licences
    for licence in [*licences, PROJECT["license"]]:
        assert canonicalize_license_expression(licence) == licence
        assert all(f"- {term}: " in NOTICES for term in re.findall(r"LicenseRef-[\w-]+", licence))


# Extras that bring the workflow itself or developers' tools; the others bring a program.
PLAIN = {"imaging", "workflow", "slurm", "generic", "options", "docs", "dev"}


@pytest.mark.parametrize("extra", sorted(set(PROJECT["optional-dependencies"]) - PLAIN))
def test_the_licence_of_each_optional_program_is_said(extra: str) -> None:
    for wanted in PROJECT["optional-dependencies"][extra]:
        name = re.match(r"[\w.-]+", wanted)
        assert name
        if name[0] != PROJECT["name"]:
            assert f"| `{extra}` | {name[0]} |" in NOTICES
