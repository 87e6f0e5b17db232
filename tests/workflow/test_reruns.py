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
from dataclasses import dataclass
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
import anatcl.run.failed
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

PROBE = ("audit", "baseline", "interpret", "interpret_measures")
TASK = ("baseline", "interpret", "interpret_measures", "probe")
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
    "preprocess: template": ({"preprocess": {"template": "MNI152NLin2009aSym"}}, ("template",)),
    "preprocess: corrections": ({"preprocess": {"corrections": ""}}, ("skullstrip",)),
    "preprocess: skullstrip: method": ({"preprocess": {"skullstrip": {"method": "none"}}}, ("skullstrip",)),
    "preprocess: deformable": ({"preprocess": {"deformable": "greedy"}}, ("register",)),
    "preprocess: qc": ({"preprocess": {"qc": {"cjv": [None, 1.9]}}}, ("preprocess",)),
    "preprocess: accept": ({"preprocess": {"accept": ["sub-01/anat/sub-01"]}}, ("preprocess",)),
    "preprocess: reject": ({"preprocess": {"reject": ["sub-01/anat/sub-01"]}}, ("preprocess",)),
    "measures: thickness": ({"measures": {"thickness": "distance"}}, ("measure",)),
    "measures: thickness_options": (
        {"measures": {"thickness": "direct", "thickness_options": {"max_mm": 9.0}}},
        ("measure",),
    ),
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
    "evaluate: tasks": ({"evaluate": {"tasks": ["sex"]}}, ("evaluate",)),
    "evaluate: baselines": ({"evaluate": {"baselines": ["majority-median"]}}, ("evaluate",)),
    "evaluate: protocols": ({"evaluate": {"protocols": ["repeated"]}}, ("baseline", "probe")),
    "evaluate: subgroups": ({"evaluate": {"subgroups": ["sex"]}}, ("evaluate",)),
    "evaluate: site_column": ({"evaluate": {"site_column": "sex"}}, TASK),
    "report: title": ({"report": {"title": "x"}}, ("report",)),
    "report: interpret_people": ({"report": {"interpret_people": 2}}, ("interpret",)),
    "measures: freesurfer": ({"measures": {"freesurfer": ""}}, ("measures",)),
    "measures: atlas": ({"measures": {"atlas": "desikan-killiany"}}, ("measure",)),
    "pretrain: threads": ({"pretrain": {"threads": 1}}, ("report",)),
}


@dataclass(frozen=True)
class Edit:
    """A change of files, and the first rules that run again after it.

    Attributes
    ----------
    file : str
        Relative to the folder that holds `repository`, `study` and `run`; made when it is not there.
    first : tuple of str
    words : (str, str)
        Text that is replaced, and what by; a line of code is added where there is none.
    """

    file: str
    first: tuple[str, ...]
    words: tuple[str, str] | None = None


CODE, STUDY = "repository/anatcl", "study"
COMMENT = "# a comment\n"
EDITS: dict[str, Edit] = {
    # Code: the steps that reach it by import.
    "one step of preprocess": Edit(f"{CODE}/preprocess/skullstrip.py", ("skullstrip",)),
    "a module of all steps of preprocess": Edit(f"{CODE}/preprocess/ants.py", ("bias_correct",)),
    "a program that is run as a file": Edit(f"{CODE}/preprocess/ants_program.py", ("bias_correct",)),
    "the program of one engine": Edit(f"{CODE}/preprocess/greedy_program.py", ("register",)),
    "quality numbers": Edit(f"{CODE}/preprocess/qc.py", ("qc",)),
    "limits of quality": Edit(f"{CODE}/preprocess/gate.py", ("preprocess_chunk",)),
    "a method of thickness": Edit(f"{CODE}/measures/direct.py", ("measure",)),
    "the table of measures": Edit(f"{CODE}/measures/cohort.py", ("measures",)),
    "folds": Edit(f"{CODE}/pretrain/folds.py", ("folds",)),
    "the training loop": Edit(f"{CODE}/pretrain/train.py", ("train",)),
    "a loss of this run": Edit(f"{CODE}/losses/y_aware.py", ("train",)),
    "a loss that this run does not use": Edit(f"{CODE}/losses/expw.py", ()),
    "what all losses share": Edit(f"{CODE}/losses/base.py", ("train",)),
    "the probe": Edit(f"{CODE}/evaluate/probes/probe.py", PROBE),
    "the attribution": Edit(f"{CODE}/evaluate/probes/attribution.py", ("interpret", "interpret_measures")),
    "comparisons of methods": Edit(f"{CODE}/evaluate/statistics/compare.py", ("evaluate",)),
    "published figures": Edit(f"{CODE}/evaluate/statistics/published.yaml", ("evaluate",), ("\n", "\n\n")),
    "benchmark tables": Edit(f"{CODE}/report/tables/build.py", ("tables",)),
    "the page": Edit(f"{CODE}/report/page/page.py", ("report",)),
    "a template of the page": Edit(f"{CODE}/report/page/templates/base.html", ("report",), ("<head>", "<head> ")),
    "the index": Edit(f"{CODE}/bids/walk.py", ()),
    "the configuration's keys": Edit(f"{CODE}/spec/layers.py", ()),
    "how failures are recorded": Edit(f"{CODE}/base/failures.py", ()),
    "the function of a step": Edit(
        f"{CODE}/cli/preprocess.py", ("qc",), ("    qc(\n", "    args.seed += 0\n    qc(\n")
    ),
    "a help text": Edit(f"{CODE}/cli/preprocess.py", (), ("bias-corrected scan", "scan without its bias field")),
    "a comment in a module of all steps": Edit(
        f"{CODE}/base/files.py", (), ("import json\n", f"import json\n{COMMENT}")
    ),
    "a docstring": Edit(f"{CODE}/evaluate/probes/probe.py", (), ('"""', '"""Again: ')),
    "a type hint for checkers": Edit(
        f"{CODE}/base/files.py", (), ("import pandas as pd\n\n\n#", "import pandas\n\n\n#")
    ),
    "a new loss": Edit(f"{CODE}/losses/new.py", ()),
    "a new task": Edit(f"{CODE}/spec/tasks/new.yaml", (), ("", "name: new\nkind: regression\ntarget: age\n")),
    "a new atlas": Edit(f"{CODE}/spec/atlases/new.yaml", (), ("", "name: new\n")),
    "a new module": Edit(f"{CODE}/evaluate/probes/new.py", ()),
    # What the user gives by its path, and the shipped files that the configuration names.
    "a step of the recipe": Edit(f"{STUDY}/recipe.json", ("segment",), ('"mrf": 0.', '"mrf": 0.0')),
    "the template's file": Edit(f"{STUDY}/template.yaml", ("template",), ("space: ", "packaged: false\nspace: ")),
    "a comment in the template's file": Edit(f"{STUDY}/template.yaml", (), ("space: ", f"{COMMENT}space: ")),
    "an image of the template": Edit(f"{STUDY}/gm.nii.gz", ("template",)),
    "the atlas's file": Edit(f"{STUDY}/atlas.yaml", ("measure",), ("compatible: [", "compatible: [Mine, ")),
    "a comment in the atlas's file": Edit(f"{STUDY}/atlas.yaml", (), ("space:", f"{COMMENT}space:")),
    "the atlas's table of regions": Edit(f"{STUDY}/regions.tsv", ("measure",), ("bankssts", "sulcus")),
    "an image of the atlas": Edit(f"{STUDY}/labels.nii.gz", ("measure",)),
    "a task's file": Edit(f"{STUDY}/old.yaml", TASK, ("unit: years", "unit: a")),
    "a comment in a task's file": Edit(f"{STUDY}/old.yaml", (), ("unit:", f"{COMMENT}unit:")),
    "a shipped task of this run": Edit(f"{CODE}/spec/tasks/sex.yaml", TASK, ("target: sex", "target: sex\nunit: x")),
    "a shipped task of no run": Edit(f"{CODE}/spec/tasks/site.yaml", (), ("target: site", "target: site\nunit: x")),
    "another tool's features": Edit(f"{STUDY}/features.tsv", ("baseline",), ("0.5", "0.6")),
    "a decision in the corrections": Edit(f"{STUDY}/corrections.tsv", ("preprocess",), ("accept", "reject")),
    "a note in the corrections": Edit(f"{STUDY}/corrections.tsv", (), ("looks good", "looks very good")),
    "a corrected mask": Edit(f"{STUDY}/mask.nii.gz", ("skullstrip",)),
    "a table of FreeSurfer": Edit(f"{STUDY}/freesurfer/sub-01/stats/aseg.stats", ("measures",), ("1500000", "1510000")),
    "one image": Edit(f"{STUDY}/bids/sub-01/anat/sub-01_T1w.nii.gz", ("bias_correct",)),
    "one row of participants.tsv": Edit(f"{STUDY}/bids/participants.tsv", ("measures",), ("\t21\t", "\t35\t")),
}
# What is copied elsewhere (`cp -a`) before the run is asked again; the results are in every row.
MOVES: dict[str, tuple[str, ...]] = {
    "the results": (),
    "the results and the dataset": ("study/bids",),
    "the results, the dataset and all that is given": ("study",),
    "everything, the workflow too": ("study", "repository"),
}
MOVES_FIRST: dict[str, tuple[str, ...]] = dict.fromkeys(MOVES, ())
FIRST = (
    {change: first for change, (_, first) in EXPECTED.items()}
    | {change: edit.first for change, edit in EDITS.items()}
    | MOVES_FIRST
)
# The files of the study beside the dataset and the images.
GIVEN = {
    "config.yaml": """bids_dir: bids
preprocess: {recipe: recipe.json, template: template.yaml, corrections: corrections.tsv}
measures: {atlas: atlas.yaml, freesurfer: freesurfer}
pretrain: {folds: 3}
evaluate:
  tasks: [old.yaml, sex]
  features: {other: {table: features.tsv}}
""",
    "template.yaml": "name: Mine\nspace: MNI152NLin2009aSym\n"
    "brain_mask: brain_mask.nii.gz\ngm: gm.nii.gz\nwm: wm.nii.gz\n",
    "atlas.yaml": "name: mine\nspace: MNI152\nimage: labels.nii.gz\nregions: regions.tsv\n"
    "compatible: [MNI152NLin2009aSym]\n",
    "regions.tsv": "index\tname\themisphere\tstructure\n1\tbankssts\tL\tcortex\n2\tinsula\tR\tcortex\n",
    "old.yaml": "name: old\nkind: regression\ntarget: age\nunit: years\n",
    "features.tsv": "participant_id\tone\nsub-01\t0.5\nsub-02\t0.7\nsub-03\t0.1\nsub-04\t0.2\n",
    "corrections.tsv": "scan\tdecision\tmask\tnote\nsub-01/anat/sub-01\taccept\tn/a\tlooks good\n"
    "sub-02/anat/sub-02\tn/a\tmask.nii.gz\tn/a\n",
    "freesurfer/sub-01/stats/aseg.stats": "# Measure EstimatedTotalIntraCranialVol, eTIV, volume, 1500000, mm^3\n",
}
HEAD = """# What runs again

Each step runs again when something changed that its result depends on, and only then. The first table says so for keys
of the configuration, the second for files, the third for copies in another place. The rules that are named run again,
all that use their results do, and no other. Every row is a test (`tests/workflow/test_reruns.py`, which also writes
this page).

What counts:

- **Code.** A rule has a digest of the code that its step can reach by import, read from the source files. Comments,
  docstrings, type hints for checkers and the help texts of the command line do not count. Of the losses only the one of
  a training's own method counts. Code that only records, reports or fails (`NEUTRAL` in `anatcl/base/closure.py`) does
  not count.
- **Files that you give, and shipped ones that you name.** Their content counts: recipe, template with its images, atlas
  with its table and images, tasks, tables of features, decisions and masks of the corrections, tables of FreeSurfer.
  Comments in YAML files, notes and citations do not count.
- **Images of the dataset, and given masks,** by the time of their last change. A small file with a new time and the old
  content does not count.
- **Paths do not count.** The main process makes links below `results/given` and everything else uses these, so results
  and dataset may be moved, or mounted elsewhere, together or alone (`cp -a`, which keeps the times of files).

A key that changes nothing but the record of the configuration makes the page anew, which quotes it. An edited
environment file counts where conda makes the environments (`--sdm conda`); that is not in the tests. Adding or leaving
out `--sdm conda` runs the whole cohort again, since the software of every job has changed;
`--rerun-triggers mtime params input code` prevents that.

A training that runs again goes on from its checkpoint if nothing changed that shapes its numbers: method, options,
data, labels, precision, device, number of processes, and the code of the loss, the networks, the augmentation and the
loop. It also goes on when there are more epochs than before. Any other checkpoint is kept as `last.<digits>.ckpt`, and
the log says what is different. A run that it fits again takes it up by itself.
"""


class Cohort:
    """Four scans, the workflow's files copied, and a run of them that looks finished."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository, self.run = folder, folder / "repository", folder / "run"
        self.study, self.count = folder / "study", 0
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
        environment = os.environ | {"PYTHONPATH": str(self.repository), "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(  # in a folder of its own: Python looks for modules where it starts, first
            [sys.executable, "-c", SERVER], cwd=self.folder, stdin=subprocess.PIPE, env=environment, text=True
        )
        self._finish()

    def _data(self) -> None:
        for number in (1, 2, 3, 4):
            path = self.study / "bids" / f"sub-0{number}" / "anat" / f"sub-0{number}_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            self._image(path, number)
        rows = "".join(f"sub-0{n}\t{20 + n}\t{'MF'[n % 2]}\tA\n" for n in (1, 2, 3, 4))
        (self.study / "bids" / "participants.tsv").write_text("participant_id\tage\tsex\tsite\n" + rows)

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
                shutil.copytree(self.run, copy, symlinks=True)
                waiting[name] = copy, self.start(copy, "-n", "--quiet", "rules", config=config)
        return found

    def after_edit(self, edit: Edit) -> set[str]:
        """Rules that a dry run plans after an edit of a file, which is taken back."""
        file, copy = self.folder / edit.file, self.folder / "edited"
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
        shutil.copytree(self.run, copy, symlinks=True)
        try:
            return self.planned(copy)
        finally:
            if before is None:
                file.unlink()
            else:
                file.write_bytes(before[0])
                os.utime(file, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
            shutil.rmtree(copy)

    def after_move(self, parts: tuple[str, ...]) -> set[str]:
        """Rules that a dry run plans in a copy of the results, with copies of other folders that they came from."""
        root = self.folder / "moved" / "far"
        for part in ("run", *parts):
            shutil.copytree(self.folder / part, root / part, symlinks=True)
        try:
            return self.planned(root / "run", root=root)
        finally:
            shutil.rmtree(root)

    def planned(self, folder: Path, root: Path | None = None) -> set[str]:
        """Rules that a dry run plans."""
        text = self.end(self.start(folder, "-n", "--quiet", "rules", root=root))
        return set(re.findall(r"^(\w+) +\d+$", text, re.MULTILINE)) - {"total", "all"}

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


Planned = tuple[dict[str, set[str]], set[tuple[str, str]], Path]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """What each change plans, and which rule uses which."""
    cohort = Cohort(tmp_path_factory.mktemp("reruns"))
    try:
        found = cohort.reruns({change: config for change, (config, _) in EXPECTED.items()})
        found |= {change: cohort.after_edit(edit) for change, edit in EDITS.items()}
        found |= {change: cohort.after_move(parts) for change, parts in MOVES.items()}
        yield found, cohort.edges(), cohort.folder
    finally:
        cohort.close()


@pytest.mark.slow
@pytest.mark.xdist_group("reruns")
@pytest.mark.parametrize("change", FIRST)
def test_a_change_reruns_what_it_concerns_and_nothing_else(change, planned):
    plans, edges, _ = planned
    first = FIRST[change]
    assert first_of(plans[change], edges) == first
    assert plans[change] == after(first, edges)


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
