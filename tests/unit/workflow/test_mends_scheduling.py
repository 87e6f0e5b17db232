"""The scheduler's default limit is lifted, a given one stays."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mends import catalogue
from mends.bounds import find
from mends.scheduling import format_once, lift_default_rate, mark, match_once, screen_folders
from snakemake.settings.types import MaxJobsPerTimespan

limits_rate = pytest.mark.skipif(bool(catalogue.RATE.absent), reason="this Snakemake limits no rate of jobs")

SNAKEFILE = """
import sys, threading
sys.path.insert(0, {root!r})
from mends.scheduling import lift_default_rate

rule all:
    input: expand("{{n}}.txt", n=range(8))

rule one:
    output: "{{n}}.txt"
    shell: "echo > {{output}}"

onstart:
    lift_default_rate(workflow.scheduler)

onsuccess:
    timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    print("timers:", len(timers), "limit:", workflow.scheduler.job_rate_limiter)
"""


def limited(rate: str) -> SimpleNamespace:
    (limiter,) = map(find, catalogue.RATE.targets)
    return SimpleNamespace(job_rate_limiter=limiter(MaxJobsPerTimespan.parse_choice(rate)))


@limits_rate
def test_the_limit_that_nobody_asked_for_is_lifted():
    scheduler = limited("100/1s")
    lift_default_rate(scheduler)
    assert scheduler.job_rate_limiter is None
    lift_default_rate(scheduler)
    lift_default_rate(None)


@limits_rate
def test_a_limit_that_a_user_gave_stays():
    scheduler = limited("50/1m")
    lift_default_rate(scheduler)
    assert scheduler.job_rate_limiter.max_jobs == 50


@limits_rate
@pytest.mark.parametrize(("options", "words"), [((), "limit: None"), (("--max-jobs-per-timespan", "9/1s"), "limit: <")])
def test_a_run_leaves_no_timers_unless_a_limit_was_asked_for(tmp_path, options, words):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(root=str(Path(__file__).parents[3] / "workflow")))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert words in done.stdout + done.stderr
    assert options or "timers: 0 " in done.stdout + done.stderr


def test_a_marked_function_tells_snakemake_its_parameters():
    from snakemake.common import get_function_params, get_input_function_aux_params

    @mark
    def resource(wildcards, attempt):
        return attempt

    assert list(get_function_params(resource)) == ["wildcards", "attempt"]
    assert get_input_function_aux_params(resource, {"attempt": 2, "input": []}) == {"attempt": 2}


def test_a_marked_method_is_called_as_before():
    from snakemake.common import get_input_function_aux_params

    class Thing:
        def evaluate(self, *args, **kwargs):
            return args, kwargs

    mark(Thing.evaluate)
    given = {"attempt": 2}
    assert get_input_function_aux_params(Thing().evaluate, given) == given
    assert Thing().evaluate(1, **given) == ((1,), given)


def test_a_command_is_formatted_once_for_each_job_and_attempt():
    class Job:
        def __init__(self, name):
            self.name, self.attempt, self.asked = name, 1, 0

        @property
        def shellcmd(self):
            self.asked += 1
            return f"run {self.name} {self.attempt}"

    format_once(Job)
    format_once(Job)  # a second reading of the rules changes nothing
    one, two = Job("one"), Job("two")
    assert [one.shellcmd, one.shellcmd, two.shellcmd, one.shellcmd] == [
        "run one 1",
        "run one 1",
        "run two 1",
        "run one 1",
    ]
    assert (one.asked, two.asked) == (2, 1)
    one.attempt = 2
    assert one.shellcmd == "run one 2"


def test_a_class_without_commands_is_left_alone():
    format_once(int)
    assert not hasattr(int, "shellcmd")


def test_the_rules_that_make_a_file_are_looked_up_once():
    class Index:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def match_producers(self, targetfile: str) -> set[str]:
            self.asked.append(targetfile)
            return {f"rule of {targetfile}"}

    match_once(Index)
    match_once(Index)
    one, two = Index(), Index()
    assert [one.match_producers(name) for name in ("a", "b", "a")] == [{"rule of a"}, {"rule of b"}, {"rule of a"}]
    assert one.asked == ["a", "b"]
    # Another index has other rules.
    two.match_producers("a")
    assert two.asked == ["a"]


def graph(*jobs: list[str]) -> tuple[Any, list[str]]:
    """A graph of jobs with these outputs, and a list that grows when Snakemake's own check is called."""
    called: list[str] = []

    class Graph:
        def __init__(self) -> None:
            self.jobs = [SimpleNamespace(output=outputs) for outputs in jobs]

        def check_directory_outputs(self) -> None:
            called.append("checked")

    screen_folders(Graph)
    screen_folders(Graph)
    return Graph(), called


@pytest.mark.parametrize(
    ("jobs", "asked"),
    [
        ([["a/b", "a/b.txt"], ["a/b-c", "a.txt"]], 0),  # a folder whose name begins another one's
        ([["a/b"], ["a/b-c", "a/b/c"]], 1),
        ([["a/b/"], ["a/b/../b/c"]], 1),
        ([["a"], ["a"]], 1),
        ([[], ["a"]], 0),
    ],
)
def test_outputs_are_compared_part_by_part_only_where_one_may_lie_in_another(jobs, asked):
    found, called = graph(*jobs)
    found.check_directory_outputs()
    assert len(called) == asked


FOLDERS = """
import sys
sys.path.insert(0, {root!r})
from mends.scheduling import match_once, screen_folders
from snakemake.dag import DAG
from snakemake.output_index import OutputIndex

match_once(OutputIndex)
screen_folders(DAG)

rule all:
    input: "made", "made/inside.txt"

rule folder:
    output: directory("made")
    shell: "mkdir {{output}}"

rule inside:
    output: "made/inside.txt"
    shell: "touch {{output}}"
"""


def test_an_output_inside_another_jobs_folder_is_still_refused(tmp_path):
    root = Path(__file__).resolve().parents[3] / "workflow"
    (tmp_path / "Snakefile").write_text(FOLDERS.format(root=str(root)))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-n"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "ChildIOException" in done.stdout + done.stderr
