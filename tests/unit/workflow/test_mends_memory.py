"""Jobs share what they hold alike; the plan, the flags of files and what a run makes stay as Snakemake has them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mends.bounds import find
from mends.memory import NOTHING, follow, share_files, share_guards, share_wildcards, slim
from snakemake.io import IOFile, flag

# They have moved between versions.
InputFiles, Wildcards = (
    find(f"snakemake.iocontainers:{n}") or find(f"snakemake.io:{n}") for n in ("InputFiles", "Wildcards")
)

# Every sort of file that a job can have: plain, temporary, protected, a folder, touched, ancient, of a function.
SNAKEFILE = """
import sys
sys.path.insert(0, {root!r})
from mends.memory import slim
from snakemake.jobs import Job
from snakemake.rules import Rule

if {slim}:
    slim(Job, Rule)
    slim(Job, Rule)

rule all:
    input: "all.txt"

def first(wildcards):
    return f"{{wildcards.n}}.first"

rule first:
    output: temp("{{n}}.first"), kept=protected("{{n}}.kept")
    log: "logs/{{n}}.first.log"
    benchmark: "benchmarks/{{n}}.tsv"
    params: number=lambda wildcards: int(wildcards.n) + 1
    shell: "echo {{params.number}} | tee {{output[0]}} {{output.kept}} > {{log}}"

rule second:
    input: first, old=ancient("{{n}}.kept")
    output: folder=directory("{{n}}.folder"), done=touch("{{n}}.done")
    shell: "mkdir {{output.folder}}; cat {{input}} > {{output.folder}}/numbers.txt"

rule joined:
    input: folders=expand("{{n}}.folder", n=range(3)), done=expand("{{n}}.done", n=range(3))
    output: "all.txt"
    shell: "cat {{input.folders[0]}}/numbers.txt {{input.folders[2]}}/numbers.txt > {{output}}"
"""


def run(folder: Path, repository: Path, slimmed: bool, *options: str) -> list[str]:
    """The lines of Snakemake's own output in order of the alphabet, without what differs between any two runs."""
    folder.mkdir(exist_ok=True)
    (folder / "Snakefile").write_text(SNAKEFILE.format(root=str(repository / "workflow"), slim=slimmed))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options]
    fixed = os.environ | {"PYTHONHASHSEED": "0"}  # names stand in sets, and are printed in their order
    done = subprocess.run(command, cwd=folder, env=fixed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    times = r"\[.*?\d{4}\]|\d{4}-\d\d-\d\d [\d:]+|Workflow ID: \S+|jobid: \d+|\S*snakemake\.log"
    return sorted(re.sub(times, "", (done.stdout + done.stderr).replace(str(folder), "")).splitlines())


def test_plan_and_results_are_those_of_snakemake_alone(tmp_path, request):
    plans, made = [], []
    for name, slimmed in (("alone", False), ("slim", True)):
        folder = tmp_path / name
        plans.append(run(folder, request.config.rootpath, slimmed, "-n", "-p"))
        run(folder, request.config.rootpath, slimmed)
        made.append({p.relative_to(folder).as_posix(): p.stat().st_mode for p in folder.glob("[!.]*") if p.is_file()})
        assert (folder / "all.txt").read_text() == "1\n1\n3\n3\n"
        assert any("Nothing to be done" in line for line in run(folder, request.config.rootpath, slimmed, "-n"))
        # A temporary file that is wanted again is made again, with what depends on it.
        plans.append(run(folder, request.config.rootpath, slimmed, "-n", "--forcerun", "second"))
    assert plans[0] == plans[2]
    assert plans[1] == plans[3]
    # Temporary files are gone, protected ones cannot be written, touched ones are there: as without.
    assert made[0] == made[1]
    assert "0.first" not in made[1]
    assert "0.done" in made[1]
    assert made[1]["0.kept"] & 0o222 == 0


def files(*paths: object) -> list:
    return InputFiles(fromdict={f"name{n}": IOFile(path).apply_wildcards({}) for n, path in enumerate(paths)})


def test_a_path_is_held_once_and_without_flags_that_are_not_there():
    one, two = files("results/some/path.txt"), files("results/some/path.txt")
    assert one[0]._file is not two[0]._file
    share_files(one, {})
    share_files(two, {})
    assert one[0]._file is two[0]._file
    assert type(one[0]._file) is str
    assert one[0] == two[0] == "results/some/path.txt"
    assert one[0].flags == {}
    assert not one[0].is_directory
    # A flag that comes later stays with the one file.
    one[0].set_flags({"directory": True})
    assert one[0].is_directory
    assert not two[0].is_directory


@pytest.mark.parametrize("name", ["directory", "temp", "ancient"])
def test_a_file_with_a_flag_stays_as_it_is(name):
    held = files(flag("results/other", name))
    before = held[0]._file
    share_files(held, {})
    assert held[0]._file is before
    assert getattr(held[0], f"is_{name}")


def test_one_file_or_none_may_be_given():
    one = IOFile("log.txt").apply_wildcards({})
    share_files(one, {})
    share_files(None, {})
    assert type(one._file) is str


def test_shared_guards_still_say_what_they_guard():
    shelf: dict = {}
    one, two = files("a"), files("b")
    share_guards(one, shelf)
    share_guards(two, shelf)
    assert one.sort is two.sort
    assert one.index is not one.sort
    with pytest.raises(AttributeError, match=r"sort\(\) cannot be used"):
        two.sort()


def test_an_item_called_sort_is_not_taken_for_a_guard():
    shelf: dict = {}
    share_guards(files("a"), shelf)
    named = InputFiles(fromdict={"sort": "mine.txt"})
    share_guards(named, shelf)
    assert named.sort == "mine.txt"


def wild(**values: str) -> SimpleNamespace:
    own = Wildcards(fromdict=values)
    return SimpleNamespace(wildcards_dict=values, _wildcards=own, _format_wildcards=own)


def test_wildcards_are_shared_by_name_and_value_alone():
    shelf: dict = {}
    jobs = [wild(scan="sub-1"), wild(scan="sub-1"), wild(scan="sub-2"), wild(method="sub-1")]
    for job in jobs:
        share_wildcards(job, shelf)
    assert jobs[0]._wildcards is jobs[1]._wildcards is jobs[1]._format_wildcards
    assert jobs[0].wildcards_dict is jobs[1].wildcards_dict
    assert [dict(job._wildcards.items()) for job in jobs[2:]] == [{"scan": "sub-2"}, {"method": "sub-1"}]


def test_wildcards_for_formatting_of_a_job_own_stay():
    shelf: dict = {}
    share_wildcards(wild(scan="sub-1"), shelf)
    job = wild(scan="sub-1")
    job._format_wildcards = "its own"
    share_wildcards(job, shelf)
    assert job._format_wildcards == "its own"


class Strange:
    """A job of some other Snakemake."""

    def __init__(self) -> None:
        self.temp_output = {"kept"}
        self.touch_output: set = set()


def test_an_unknown_job_is_left_alone_but_for_its_empty_sets():
    slim(Strange, type("Rule", (), {}))
    job = Strange()
    assert job.temp_output == {"kept"}
    assert job.touch_output is NOTHING
    assert not hasattr(job, "input")


def test_a_method_is_followed_once():
    calls = []
    owner = type("Owner", (), {"double": lambda self, n: 2 * n})
    for _ in range(2):
        follow(owner, "double", lambda _, result: calls.append(result))
    follow(owner, "absent", lambda _, result: calls.append(result))
    assert owner().double(4) == 8
    assert calls == [8]
