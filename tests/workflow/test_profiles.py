"""What the cluster profiles ask a scheduler for, seen by a submit command that only writes it down and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "workflow" / "profiles"
PER_SCAN = {
    "bias_correct",
    "person_template",
    "person_align",
    "skullstrip",
    "register",
    "segment",
    "qc",
    "surfaces",
    "measure",
}


@pytest.mark.slow
def test_a_scan_is_one_job_that_asks_for_more_at_each_attempt(snakemake, heads, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="the plugin of this profile is absent")
    submit = tmp_path / "submit.sh"
    submit.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked.txt"\nexit 1\n')
    submit.chmod(0o755)
    made = tmp_path / "results" / "preprocess" / "template" / "template.json"
    made.parent.mkdir(parents=True)
    made.write_text("{}")
    options = ["--workflow-profile", str(PROFILES / "generic"), "--until", "qc", "measure"]
    options += [
        "--cluster-generic-submit-cmd",
        f"{submit} cpus={{threads}} mb={{resources.mem_mb}} minutes={{resources.runtime}}",
    ]
    options += ["--config", f"bids_dir={heads}", "participants={include: [sub-003]}"]
    done = snakemake(tmp_path, *options)
    assert done.returncode != 0
    asked = re.findall(r"cpus=(\d+) mb=(\d+) minutes=(\d+)", (tmp_path / "asked.txt").read_text())
    first, second, third = [tuple(map(int, row)) for row in asked]
    assert first == (1, 4000, 30 + 60 + 240 + 60 + 60 + 120 + 15)  # surfaces: 60
    assert second == (1, 8000, 2 * first[2]) and third == (1, 12000, 3 * first[2])


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_the_rules_of_a_scan_are_one_job_with_one_lane(name):
    profile = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert {rule for rule, group in profile["groups"].items() if group == "scan"} == PER_SCAN
    assert profile["default-resources"]["lane"] == profile["resources"]["lane"] == 1
    assert profile["set-resource-scopes"] == {"lane": "local"}
