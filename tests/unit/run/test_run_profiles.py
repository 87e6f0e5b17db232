"""Profiles are found without a clone; one that is not there is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.cli.main import main
from anatcl.run.profiles import check, names, text
from anatcl.spec import layout


def test_every_shipped_profile_is_printed(capsys):
    assert main(["profile"]) == 0
    listed = capsys.readouterr().out.split()
    assert listed == names() and {"slurm", "generic", "gpu"} <= set(listed)
    for name in listed:
        assert main(["profile", name]) == 0
        printed = capsys.readouterr().out
        assert printed == text(name) and isinstance(yaml.safe_load(printed), dict)


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_all_rules_of_a_scan_are_in_one_group(name):
    """A rule outside, between two of the group, would wait for the group and the group for it."""
    groups = yaml.safe_load(text(name))["groups"]
    assert {rule for rule, group in groups.items() if group == "scan"} == {*layout.STEPS, *layout.OF_PERSONS}


def test_an_unknown_name_names_the_nearest(caplog):
    assert main(["profile", "slrum"]) == 1
    assert "no profile 'slrum'" in caplog.text and "anatcl profile slurm" in caplog.text


@pytest.mark.parametrize(
    "options", [["--workflow-profile", "nowhere/slurm"], ["--workflow-profile=slurm"], ["-n", "--profile", "./slurm"]]
)
def test_a_profile_that_is_not_there_is_refused(options, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no profile here.*mkdir slurm"):
        check(options)
    assert main(["run", "--", *options]) == 1
    assert "there is no profile here" in caplog.text
    assert not (tmp_path / ".snakemake").exists()


def test_what_is_there_and_what_may_be_elsewhere_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/config.yaml").write_text("jobs: 1\n")
    check(["--workflow-profile", "mine", "-n"])
    check(["--profile", "of-my-home", "--workflow-profile", "none"])
    check(["--cores", "2", "--configfile", "x.yaml"])
