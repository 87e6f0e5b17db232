"""Change this, and these rules run again: key by key, on a cohort that looks finished.

Dry runs only. `EXPECTED` names the first rules; all that follow them must run again, and nothing else may.
docs/reruns.md is made by: python tests/workflow/test_reruns.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "reruns.md"
PARTS = ("anatcl", "rules", "workflow", "envs", "config.yaml")

# Snakemake is imported once; each dry run is a fork of that process.
SERVER = """
import json, os, signal, sys
import pandas, yaml
import snakemake.cli
import anatcl.plan.failed
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    request = json.loads(line)
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1); os.dup2(out, 2)
    os.chdir(request["folder"])
    try:
        status = snakemake.cli.main(request["options"])
    except SystemExit as end:
        status = end.code
    sys.stdout.flush(); sys.stderr.flush()
    open(request["log"] + ".status", "w").write(str(int(bool(status))) + ".")
    os._exit(0)
"""

# A change of the configuration -> the first rules that run again.
EXPECTED: dict[str, tuple[dict, tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "participants: include": ({"participants": {"include": ["sub-0[123]"]}}, ("preprocess_chunk",)),
    "participants: exclude": ({"participants": {"exclude": ["sub-04"]}}, ("preprocess_chunk",)),
    "participants: query": ({"participants": {"query": "age > 21"}}, ("preprocess_chunk",)),
    "seed": ({"seed": 1}, ("bias_correct",)),
    "device": ({"device": "cpu"}, ("train",)),
    "failures: retry": ({"failures": {"retry": True}}, ("report",)),
    "failures: fatal": ({"failures": {"fatal": True}}, ("report",)),
    "bids: runs": ({"bids": {"runs": "first"}}, ("report",)),
    "bids: verify": ({"bids": {"verify": "full"}}, ("report",)),
    "bids: columns": ({"bids": {"columns": {"site": "sex"}}}, ("measures",)),
    "bids: sex_levels": ({"bids": {"sex_levels": {"M": "F"}}}, ("measures",)),
    "preprocess: recipe": ({"preprocess": {"recipe": "testing"}}, ("bias_correct", "template")),
    "preprocess: deformable": ({"preprocess": {"deformable": "greedy"}}, ("register",)),
    "preprocess: qc": ({"preprocess": {"qc": {"cjv": [None, 1.9]}}}, ("preprocess",)),
    "preprocess: accept": ({"preprocess": {"accept": ["sub-01/anat/sub-01"]}}, ("preprocess",)),
    "preprocess: reject": ({"preprocess": {"reject": ["sub-01/anat/sub-01"]}}, ("preprocess",)),
    "measures: thickness": ({"measures": {"thickness": "distance"}}, ("measure",)),
    "measures: thickness_options": ({"measures": {"thickness_options": {"x": 1}}}, ("measure",)),
    "measures: chunk": ({"measures": {"chunk": 1}}, ("preprocess_chunk",)),
    "pretrain: methods": ({"pretrain": {"methods": ["y-aware"]}}, ("audit", "pretrain")),
    "pretrain: encoder": ({"pretrain": {"encoder": "resnet34"}}, ("train",)),
    "pretrain: map": ({"pretrain": {"map": "quasi-raw"}}, ("pack",)),
    "pretrain: voxel_mm": ({"pretrain": {"voxel_mm": 3.0}}, ("pack",)),
    "pretrain: crop": ({"pretrain": {"crop": [[0, 9], [0, 9], [0, 9]]}}, ("pack",)),
    "pretrain: dtype": ({"pretrain": {"dtype": "uint8"}}, ("pack",)),
    "pretrain: group": ({"pretrain": {"group": "site"}}, ("folds",)),
    "pretrain: precision": ({"pretrain": {"precision": "fp32"}}, ("train",)),
    "pretrain: options": ({"pretrain": {"options": {"weight_decay": 0.1}}}, ("train",)),
    "evaluate: tasks": ({"evaluate": {"tasks": ["age"]}}, ("evaluate",)),
    "evaluate: baselines": ({"evaluate": {"baselines": ["majority-median"]}}, ("evaluate",)),
    "evaluate: protocols": ({"evaluate": {"protocols": ["repeated"]}}, ("baseline", "probe")),
    "evaluate: subgroups": ({"evaluate": {"subgroups": ["sex"]}}, ("evaluate",)),
    "evaluate: site_column": ({"evaluate": {"site_column": "scanner"}}, ("baseline", "probe")),
    "report: title": ({"report": {"title": "x"}}, ("report",)),
    "measures: freesurfer": ({"measures": {"freesurfer": "/nowhere"}}, ("measures",)),
}
# A change of a file -> the first rules that run again. A line is added to it, or words in it are replaced.
EDITS: dict[str, tuple[str, tuple[str, str] | None, tuple[str, ...]]] = {
    "one step of preprocess": ("repository/anatcl/preprocess/skullstrip.py", None, ("skullstrip",)),
    "a module of all steps of preprocess": ("repository/anatcl/preprocess/ants.py", None, ("bias_correct",)),
    "quality numbers": ("repository/anatcl/preprocess/qc.py", None, ("qc",)),
    "limits of quality": ("repository/anatcl/preprocess/gate.py", None, ("preprocess_chunk",)),
    "a module of measures": ("repository/anatcl/measures/cohort.py", None, ("measure",)),
    "a module of the training": ("repository/anatcl/pretrain/train.py", None, ("train",)),
    "a loss": ("repository/anatcl/losses/anatcl.py", None, ("folds", "pack")),
    "a module of evaluate": ("repository/anatcl/evaluate/probe.py", None, ("baseline", "probe")),
    "the page": ("repository/anatcl/report/page.py", None, ("methods_text", "tables")),
    "the index": ("repository/anatcl/bids/walk.py", None, ()),
    "one image": ("bids/sub-01/anat/sub-01_T1w.nii.gz", None, ("bias_correct",)),
    "one row of participants.tsv": ("bids/participants.tsv", ("\t21\t", "\t35\t"), ("measures",)),
}
HEAD = """# What runs again

Made by `python tests/workflow/test_reruns.py`; each row is a test. The rules named run again, all that follow them do,
and nothing else does. Keys that change nothing but the record of the configuration make the page anew, which shows it.
With `--sdm conda`, an edited environment file runs its rules again. Adding or leaving out `--sdm conda` runs the whole
cohort again, since the software of every job has changed; `--rerun-triggers mtime params input code` prevents that.

| change | runs again |
|---|---|
"""


class Cohort:
    """Two scans, the workflow's files copied, and a run of them that looks finished."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository, self.run = folder, folder / "repository", folder / "run"
        self.bids, self.count = folder / "bids", 0
        self.repository.mkdir(parents=True)
        self.run.mkdir()
        for part in PARTS:
            source, target = ROOT / part, self.repository / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self._data()
        environment = os.environ | {"PYTHONPATH": str(self.repository), "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(  # in a folder of its own: Python looks for modules where it starts, first
            [sys.executable, "-c", SERVER], cwd=self.folder, stdin=subprocess.PIPE, env=environment, text=True
        )
        self._finish()

    def _data(self) -> None:
        for number in (1, 2, 3, 4):
            path = self.bids / f"sub-0{number}" / "anat" / f"sub-0{number}_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            self._image(path, number)
        rows = "".join(f"sub-0{n}\t{20 + n}\t{'MF'[n % 2]}\tA\n" for n in (1, 2, 3, 4))
        (self.bids / "participants.tsv").write_text("participant_id\tage\tsex\tsite\n" + rows)

    @staticmethod
    def _image(path: Path, seed: int) -> None:
        import nibabel as nib
        import numpy as np

        data = np.random.default_rng(seed).integers(1, 99, (20, 21, 22)).astype("uint8")
        nib.Nifti1Image(data, np.diag([5.0, 5, 5, 1])).to_filename(path)

    def _finish(self) -> None:
        listed = self.snakemake(self.run, "--summary").splitlines()
        start = next(n for n, line in enumerate(listed) if line.startswith("output_file\t")) + 1
        for line in listed[start:]:
            path = self.run / line.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path.suffix else path.mkdir(exist_ok=True)
        self.snakemake(self.run, "--touch", "--forceall", "--quiet", "all")

    def start(self, folder: Path, *options: str, config: dict | None = None) -> Path:
        """Start Snakemake in a fork; return the file of what it prints."""
        self.count += 1
        log = self.folder / f"{self.count}.log"
        given = [f"{key}={json.dumps(value)}" for key, value in ({"bids_dir": str(self.bids)} | (config or {})).items()]
        command = ["--snakefile", str(self.repository / "workflow" / "Snakefile"), "--cores", "2", *options]
        request = {"log": str(log), "folder": str(folder), "options": [*command, "--config", *given]}
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return log

    def end(self, log: Path) -> str:
        """Wait for what was started; return what it printed."""
        status = log.with_name(f"{log.name}.status")
        while not (status.exists() and status.read_text().endswith(".")):
            assert self.server.poll() is None
            time.sleep(0.05)
        text = log.read_text()
        assert status.read_text() == "0.", text[-3000:]
        return text

    def snakemake(self, folder: Path, *options: str) -> str:
        """Run Snakemake in a fork; return what it printed."""
        return self.end(self.start(folder, *options))

    def reruns(self, configs: dict[str, dict], at_once: int = 3) -> dict[str, set[str]]:
        """Rules that a dry run plans under each configuration, in copies of the finished folder."""
        waiting: dict[str, tuple[Path, Path]] = {}
        found: dict[str, set[str]] = {}
        for name, config in [*configs.items(), *[("", {})] * at_once]:
            if len(waiting) == at_once or (waiting and not name):
                first = next(iter(waiting))
                copy, log = waiting.pop(first)
                planned = re.findall(r"^(\w+) +\d+$", self.end(log), re.MULTILINE)
                found[first] = set(planned) - {"total", "all"}
                shutil.rmtree(copy)
            if name:
                copy = self.folder / f"copy-{self.count}"
                shutil.copytree(self.run, copy)
                waiting[name] = copy, self.start(copy, "-n", "--quiet", "rules", config=config)
        return found

    def after_edit(self, name: str, words: tuple[str, str] | None) -> set[str]:
        """Rules that a dry run plans after an edit of a file, which is taken back."""
        file, copy = self.folder / name, self.folder / "edited"
        content, stat = file.read_bytes(), file.stat()
        if words:
            file.write_text(file.read_text().replace(*words))
        elif file.suffix == ".py":
            file.write_bytes(content + b"# edited\n")
        else:
            self._image(file, 9)
        shutil.copytree(self.run, copy)
        try:
            planned = re.findall(r"^(\w+) +\d+$", self.snakemake(copy, "-n", "--quiet", "rules"), re.MULTILINE)
        finally:
            file.write_bytes(content)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            shutil.rmtree(copy)
        return set(planned) - {"total", "all"}

    def edges(self) -> set[tuple[str, str]]:
        """Pairs of rules of which the second uses what the first makes."""
        text = self.snakemake(self.run, "--rulegraph", "--forceall")
        names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', text, re.MULTILINE))
        return {(names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", text, re.MULTILINE)}

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(30)


def first_of(rules: set[str], edges: set[tuple[str, str]]) -> tuple[str, ...]:
    """Rules that run again by themselves, not for what they use."""
    return tuple(sorted(rules - {b for a, b in edges if a in rules}))


def after(first: tuple[str, ...], edges: set[tuple[str, str]]) -> set[str]:
    """The rules and all that follow them."""
    found = set(first)
    while more := {b for a, b in edges if a in found} - found:
        found |= more
    return found - {"all"}


def table() -> str:
    """The table of the docs."""
    firsts = [(f"`{change}`" if change != "nothing" else change, first) for change, (_, first) in EXPECTED.items()]
    firsts += [
        (f"{what}: {_code(file.removeprefix('repository/'))}", first) for what, (file, _, first) in EDITS.items()
    ]
    rows = [f"| {change} | {', '.join(map(_code, first)) or 'nothing'} |" for change, first in firsts]
    return HEAD + "\n".join(rows) + "\n"


def _code(rule: str) -> str:
    return f"`{rule}`"


Planned = tuple[dict[str, set[str]], set[tuple[str, str]]]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """What each change plans, and which rule uses which."""
    cohort = Cohort(tmp_path_factory.mktemp("reruns"))
    try:
        found = cohort.reruns({change: config for change, (config, _) in EXPECTED.items()})
        found |= {change: cohort.after_edit(file, words) for change, (file, words, _) in EDITS.items()}
        yield found, cohort.edges()
    finally:
        cohort.close()


@pytest.mark.slow
@pytest.mark.xdist_group("reruns")
@pytest.mark.parametrize("change", [*EXPECTED, *EDITS])
def test_a_change_reruns_what_it_concerns_and_nothing_else(change, planned):
    plans, edges = planned
    first = (EXPECTED | EDITS)[change][-1]
    assert first_of(plans[change], edges) == first
    assert plans[change] == after(first, edges)


def test_the_table_in_the_docs_is_up_to_date():
    assert DOCS.read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    DOCS.write_text(table(), encoding="utf-8")
