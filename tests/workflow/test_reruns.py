"""Change this, and these rules run again: key by key, on a cohort that looks finished.

Dry runs only. `rerun_changes.py` names the first rules; all that follow them must run again, and nothing else may.
docs/reruns.md is made by: python -m tests.workflow.test_reruns
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workflow.rerun_changes import EDITS, EXPECTED, FIRST, GIVEN, MOVES, MOVES_FIRST, Edit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "reruns.md"
AT_ONCE = min(4, os.cpu_count() or 1)  # dry runs
PARTS = ("anatcl", "rules", "workflow", "envs", "config.yaml")

# Snakemake is imported once; each dry run is a fork of that process.
SERVER = """
import json, os, signal, sys
import pandas, yaml
import snakemake.cli
import anatcl.run.failed
snakemake.cli.get_argument_parser()  # loads all plugins
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

HEAD = """# What runs again

Each step runs again when something that its result depends on has changed, and only then. The first table lists keys of
the configuration, the second files, the third copies in another place. The rules that are named run again, and so do
all that use their results; no other rule does. Every row is a test, which also writes this page (`python -m
tests.workflow.test_reruns`).

What counts:

- **Code.** A rule has a digest of the code that its step imports, read from the source files. Comments, docstrings,
  type hints for checkers and the help texts of the command line do not count. Of the losses only that of the trained
  method counts. Code that only records, reports or fails (`NEUTRAL` in `anatcl/base/closure.py`) does not count.
- **Your own files, and shipped ones that you name.** Their content counts: recipe, template with its images, atlas
  with its table and images, tasks, tables of features, decisions and masks of the corrections, tables of FreeSurfer.
  Comments in YAML files, notes and citations do not count.
- **Images of the dataset, and given masks.** The time of their last change counts. A small file with a new time and the
  old content does not count.
- **Paths do not count.** The main process makes links below `results/given`, and all jobs use these. Results and
  dataset can therefore be moved or mounted elsewhere, together or alone (`cp -a`, which keeps the times of files).

A key that only changes the record of the configuration makes the page again, because the page quotes it. An edited
environment file counts if conda creates the environments (`--sdm conda`); this is not tested. Adding or removing
`--sdm conda` runs the whole cohort again, since the software of every job has changed;
`--rerun-triggers mtime params input code` prevents that.

A training that runs again resumes from its checkpoint if nothing changed that affects its result: method, options,
data, labels, precision, device, number of processes, and the code of the loss, the networks, the augmentation and the
loop. It also resumes when the number of epochs is larger than before. Any other checkpoint is kept as
`last.<digits>.ckpt`, and the log lists the differences. A later run that it fits resumes from it.
"""


Verdict = Counter[str] | str  # jobs per rule that a dry run plans, or what it says when it refuses


class Refused(Exception):
    """Snakemake ended with an error; its last words."""


class Cohort:
    """Four scans, the workflow's files copied, and a run of them that looks finished.

    Parameters
    ----------
    folder : Path
        Where all of it is made.
    of : Cohort, optional
        One that is copied instead, so that two processes can work at once.
    """

    def __init__(self, folder: Path, of: Cohort | None = None) -> None:
        self.folder, self.repository, self.run = folder, folder / "repository", folder / "run"
        self.study, self.count = folder / "study", 0
        parts = ("repository", "study", "run") if of else ()
        for part in parts:
            shutil.copytree(of.folder / part, folder / part, symlinks=True)  # type: ignore[union-attr]
        if not parts:
            self._make()
        environment = os.environ | {"PYTHONPATH": str(self.repository), "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(  # in a folder of its own: Python looks for modules where it starts, first
            [sys.executable, "-c", SERVER], cwd=self.folder, stdin=subprocess.PIPE, env=environment, text=True
        )
        if not parts:
            self._finish()

    def _make(self) -> None:
        self.repository.mkdir(parents=True)
        self.run.mkdir()
        for part in PARTS:
            source, target = ROOT / part, self.repository / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self._data()
        self._given()

    def _data(self) -> None:
        for number in (1, 2, 3, 4):
            path = self.study / "bids" / f"sub-0{number}" / "anat" / f"sub-0{number}_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            self._image(path, number)
        rows = "".join(f"sub-0{n}\t{20 + n}\t{'MF'[n % 2]}\tA\t{'XYZ'[n % 3]}\n" for n in (1, 2, 3, 4))
        (self.study / "bids" / "participants.tsv").write_text("participant_id\tage\tsex\tsite\tscanner\n" + rows)

    def _given(self) -> None:
        """Write what a user may give: recipe, template, atlas, task, features, corrections, tables of FreeSurfer."""
        shutil.copy(ROOT / "anatcl" / "spec" / "recipes" / "fast.json", self.study / "recipe.json")
        for number, name in enumerate(("brain_mask", "gm", "wm", "labels", "mask")):
            self._image(self.study / f"{name}.nii.gz", number)
        stats = self.study / "freesurfer" / "sub-01" / "stats" / "aseg.stats"
        stats.parent.mkdir(parents=True)
        for name, text in GIVEN.items():
            (self.study / name).write_text(text)

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

    def start(self, folder: Path, *options: str, config: dict | None = None, root: Path | None = None) -> Path:
        """Start Snakemake in a fork; return the file of what it prints.

        `root` holds a copy of `study` and of the `repository` where there are any.
        """
        self.count += 1
        log = self.folder / f"{self.count}.log"
        study, repository = (
            root / name if root and (root / name / has).exists() else self.folder / name
            for name, has in (("study", "config.yaml"), ("repository", "workflow"))
        )
        changes = dict(config or {})
        if root and (root / "study" / "bids").exists():
            changes["bids_dir"] = str(root / "study" / "bids")
        changed = self.folder / f"{self.count}.json"
        changed.write_text(json.dumps(changes))
        command = ["--snakefile", str(repository / "workflow" / "Snakefile"), "--cores", "2", *options]
        command += ["--configfile", str(study / "config.yaml"), str(changed)]
        request = {"log": str(log), "folder": str(folder), "options": command}
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
        if status.read_text() != "0.":
            raise Refused(text[-3000:])
        return text

    def snakemake(self, folder: Path, *options: str) -> str:
        """Run Snakemake in a fork; return what it printed."""
        return self.end(self.start(folder, *options))

    def verdict(self, change: str) -> Verdict:
        """What a dry run plans after a change, in a copy of the finished folder."""
        if change in MOVES:
            return self._moved(MOVES[change])
        copy = self.folder / "copy"
        shutil.copytree(self.run, copy, symlinks=True)
        try:
            return self._edited(EDITS[change], copy) if change in EDITS else self.planned(copy, EXPECTED[change][0])
        finally:
            shutil.rmtree(copy)

    def _edited(self, edit: Edit, run: Path) -> Verdict:
        """After an edit of a file, which is taken back."""
        file = self.folder / edit.file
        before = (file.read_bytes(), file.stat()) if file.exists() else None
        if file.name.endswith(".nii.gz"):
            self._image(file, 9)
        elif before is None:
            file.write_text(edit.words[1] if edit.words else "X = 1\n")
        elif edit.words:
            assert edit.words[0] in file.read_text()
            file.write_text(file.read_text().replace(*edit.words, 1))
        else:
            file.write_bytes(before[0] + b"EDITED = 1\n")
        try:
            return self.planned(run)
        finally:
            if before is None:
                file.unlink()
            else:
                file.write_bytes(before[0])
                os.utime(file, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))

    def _moved(self, parts: tuple[str, ...]) -> Verdict:
        """In a copy of the results, with copies of other folders that they came from."""
        root = self.folder / "moved" / "far"
        for part in ("run", *parts):
            shutil.copytree(self.folder / part, root / part, symlinks=True)
        try:
            return self.planned(root / "run", root=root)
        finally:
            shutil.rmtree(root)

    def planned(self, folder: Path, config: dict | None = None, root: Path | None = None) -> Verdict:
        """Jobs that a dry run plans, or why it refuses."""
        log = self.start(folder, "-n", "--quiet", "rules", config=config, root=root)
        try:
            found = re.findall(r"^(\w+) +(\d+)$", self.end(log), re.MULTILINE)
        except Refused as error:
            return str(error)
        return Counter({rule: int(count) for rule, count in found if rule not in ("total", "all")})

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
    """The tables of the docs."""
    parts = {
        "The configuration": {
            f"`{change}`" if change != "nothing" else change: first for change, (_, first) in EXPECTED.items()
        },
        "Files": {f"{what}: {_shown(edit)}": edit.first for what, edit in EDITS.items()},
        "Moves (`cp -a`)": MOVES_FIRST,
    }
    text = HEAD
    for title, rows in parts.items():
        lines = [f"| {change} | {', '.join(map(_code, first)) or 'nothing'} |" for change, first in rows.items()]
        text += "\n".join([f"\n## {title}\n", "| change | runs again |", "|---|---|", *lines]) + "\n"
    return text


def _shown(edit: Edit) -> str:
    return _code(edit.file.removeprefix("repository/"))


def _code(rule: str) -> str:
    return f"`{rule}`"


Planned = tuple[dict[str, Verdict], set[tuple[str, str]], Path]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """What each change plans, and which rule uses which."""
    folder = tmp_path_factory.mktemp("reruns")
    first = Cohort(folder / "0")
    cohorts = [first, *(Cohort(folder / str(number), of=first) for number in range(1, AT_ONCE))]
    free = queue.SimpleQueue[Cohort]()
    for cohort in cohorts:
        free.put(cohort)

    def verdict(change: str) -> Verdict:
        cohort = free.get()
        try:
            return cohort.verdict(change)
        except Exception as error:  # concerns the test of this change alone
            return repr(error)
        finally:
            free.put(cohort)

    try:
        with ThreadPoolExecutor(len(cohorts)) as pool:
            found = dict(zip(FIRST, pool.map(verdict, FIRST), strict=True))
        yield found, first.edges(), first.folder
    finally:
        for cohort in cohorts:
            cohort.close()


# Rules of which another job than those concerned uses what the first rules make: the untrained encoder's other seeds,
# and the maps of the first seed where others are trained.
SPARED = {"a loss of this run": {"embed_untrained"}, "pretrain: seeds": {"embed_untrained", "interpret"}}


@pytest.mark.slow
@pytest.mark.xdist_group("reruns")
@pytest.mark.parametrize("change", FIRST)
def test_a_change_reruns_what_it_concerns_and_nothing_else(change, planned):
    plans, edges, _ = planned
    first, plan = FIRST[change], plans[change]
    assert isinstance(plan, Counter), plan
    assert first_of(set(plan), edges) == first
    assert set(plan) == after(first, edges) - SPARED.get(change, set())


# Of some rules only the jobs that are concerned run again: of four scans, or of three folds and two tasks
# of four encoders.
JOBS = {
    "one image": {
        "bias_correct": 1,
        "skullstrip": 1,
        "register": 1,
        "segment": 1,
        "qc": 1,
        "measure": 1,
        "measures": 1,
    },
    "a manually edited mask": {"skullstrip": 1, "register": 1, "measure": 1},
    "a loss of this run": {"train": 3, "embed": 3, "interpret": 2},
}


@pytest.mark.slow
@pytest.mark.xdist_group("reruns")
@pytest.mark.parametrize("change", JOBS)
def test_only_the_jobs_that_are_concerned_run_again(change, planned):
    plan = planned[0][change]
    assert isinstance(plan, Counter), plan
    assert {rule: plan[rule] for rule in JOBS[change]} == JOBS[change]


@pytest.mark.slow
@pytest.mark.xdist_group("reruns")
def test_no_path_of_this_machine_is_in_tables_and_parameters(planned):
    _, _, folder = planned
    files = [path for path in (folder / "run").rglob("*") if path.is_file() and not path.is_symlink()]
    texts = [path for path in files if path.name != "run.json" and path.stat().st_size]
    found = [path for path in texts if str(folder / "study").encode() in path.read_bytes()]
    assert len(texts) > 20 and {path for path in found if "locks" not in path.parts} == set()


def test_the_table_in_the_docs_is_up_to_date():
    assert DOCS.read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    DOCS.write_text(table(), encoding="utf-8")
