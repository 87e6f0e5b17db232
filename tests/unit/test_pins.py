"""The pinned versions can be installed with every Python that `requires-python` admits."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PINS = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
# First and newest releases of each: Debian 12 has 3.11.2.
PYTHONS = ("3.11.0", "3.11.2", "3.12.0", "3.13.0", "3.13.9")


def test_these_pythons_are_admitted() -> None:
    admitted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    assert all(version in admitted for version in PYTHONS)


@pytest.mark.parametrize(("name", "version"), PINS)
def test_a_pin_admits_them(name: str, version: str) -> None:
    try:
        found = metadata(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    if found["Version"] != version:
        pytest.skip(f"{name} is installed as {found['Version']}")
    asked = SpecifierSet(found["Requires-Python"] or "")
    assert [python for python in PYTHONS if python not in asked] == []
