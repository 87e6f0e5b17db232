"""What the validator of the BIDS standard finds in a dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = "from bids_validator_deno import cli; cli()"


def issues(dataset: Path) -> dict[str, set[tuple[str, str]]]:
    """``error`` and ``warning``, each with the codes and places found."""
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    command = [sys.executable, "-c", PROGRAM, str(dataset), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, set[tuple[str, str]]] = {"error": set(), "warning": set()}
    for issue in json.loads(done.stdout)["issues"]["issues"]:
        found[issue["severity"]].add(
            (" ".join([issue["code"], issue.get("subCode", "")]).strip(), issue.get("location", ""))
        )
    return found
