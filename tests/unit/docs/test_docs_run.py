"""Every command of README and docs is executed: as it stands, as a dry run, or by its help, as `WAYS` says.

Commands run in a copy of the repository with thirty readable scans, made-up measures and one small encoder. What is too
long for that names the test that runs it in full.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openbhb_release import make_release

from tests.unit.docs.test_docs_commands import ROOT, blocks, commands

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docs-run")]
PARTS = ("anatcl", "rules", "workflow", "envs", "docs", "benchmarks", "tests", "config.yaml", "Makefile",
         "pyproject.toml", "constraints.txt", "README.md")  # fmt: skip
# What stands in the pages for something of the reader's.
NAMES = {
    "BUNDLE": "results/pretrain/anatcl-global/fold-0",
    "'*_desc-modulated_probseg.nii.gz'": "*_desc-modulated_probseg.nii.gz",
    "/data/abide1": "data/abide1",
    "/data/my_study": "data/my_study",
    "/data/ixi": "data/my_study",
    "/data/openBHB": "data/openBHB",
    "/data/out": "out",
    "status demo/heads": "status .",
    "/shared/envs": "envs_built",
    "bids_dir=...": "bids_dir=data/my_study",
    "snakemake ...": "snakemake --configfile my.yaml",
    "$n/20": "1/1",  # thirty scans are one chunk
}
END_TO_END = "tests/workflow/test_end_to_end.py"

# Pattern of a command; how it is executed here; what runs it in full. The first match counts. None: not executed here.
WAYS: tuple[tuple[str, str | None, str], ...] = (
    (
        r"^(docker|apptainer|(\.venv/bin/)?pip (install|wheel)|pre-commit|tar |\. |cd |git )",
        None,
        "a program of the system",
    ),
    (r"^python -m venv", None, "the machine without a network"),
    (r"^(for |do |do$|done)|^'\$", None, "part of a loop of the shell"),
    (r"^conda ", None, "tests/workflow/conda/test_real_conda.py"),
    (r"^make (demo|install|test|lint|docs|test-fast)", "{} --dry-run", ".ci/run; the demo: docs/tour.md"),
    (r"embed .*_T1w\.nii", None, "tests/unit/pretrain/test_raw.py"),
    (r"pretrain import", None, "tests/unit/pretrain/test_official.py"),
    (r"pretrain shards", None, "tests/unit/pretrain/test_shards.py"),
    (r"^anatcl (crate|report --anonymise)", None, END_TO_END),
    (r"evaluate tables", None, "tests/unit/evaluate/test_tables.py"),
    (r"evaluate embed-given", None, "tests/unit/evaluate/test_brought.py"),
    (r"--format (onnx|hf)", None, "tests/unit/pretrain/test_bundle_use.py"),
    (r"evaluate table --config docs/results", None, "tests/unit/evaluate/test_table.py"),
    (r"-m pytest", "{} --collect-only -q", "itself"),
    (r"-m benchmarks\.|benchmarks/", "--help", "the figures beside it"),
    (r"^snakemake --list|^snakemake bids", "{}", ""),
    (r"^snakemake", "{} -n --quiet rules", END_TO_END),
    (r"^anatcl run .* -- ", "{} -n --quiet rules", END_TO_END),
    (r"^anatcl run -- ", "{} -n --quiet rules", END_TO_END),
    (r"^anatcl run", "{} -- -n --quiet rules", "tests/unit/run/test_run_app.py"),
    (r"", "{}", ""),
)


def way(command: str) -> tuple[str | None, str]:
    """How a command is executed here, and what runs it in full."""
    return next((how, full) for pattern, how, full in WAYS if re.search(pattern, command))


def prepared(command: str) -> str | None:
    """The command with names of the copy instead of those that a reader fills in; None when it is not executed here."""
    how, _ = way(command)
    if how is None:
        return None
    if how == "--help":
        line = re.sub(r"(-m [\w.]+|benchmarks/\w+\.py).*", r"\1 --help", command, flags=re.DOTALL)
    else:
        line = how.replace("{}", command)
    for name, here in NAMES.items():
        line = line.replace(name, here)
    return line


def make_bids(root: Path, rng: np.random.Generator) -> None:
    from anatcl.images import Volume, save

    people = [f"sub-{n:02d}" for n in range(1, 31)]
    data = rng.random((24, 26, 28)).astype(np.float32)
    for name in people:
        path = root / name / "anat" / f"{name}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        save(path, Volume(data, np.diag([5.0, 5, 5, 1])))
    rows = [f"{name}\t{20 + 2 * n}\t{'MF'[n % 2]}\t{'AB'[n % 3 == 0]}" for n, name in enumerate(people)]
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tsite\n" + "\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "heads", "BIDSVersion": "1.9.0"}')


def make_demo(folder: Path, rng: np.random.Generator) -> None:
    """What `make demo` simulates: heads, and people as packed maps with measures."""
    from anatcl.base.files import write_tsv
    from anatcl.pretrain.arrays import array_meta, write_arrays

    make_bids(folder / "bids", rng)
    table = folder / "bids" / "participants.tsv"
    people = pd.read_csv(table, sep="\t")
    people = people.assign(diagnosis=np.where(np.arange(len(people)) % 3 == 0, "patient", "HC"))
    people.to_csv(table, sep="\t", index=False)
    shape = (9, 10, 11)
    rows = people.assign(scan=people["participant_id"] + "/anat/" + people["participant_id"])
    meta = array_meta(shape, np.eye(4), "vbm", [[0, n] for n in shape])
    write_arrays(folder / "maps", rng.random((len(rows), *shape)), rows, meta)
    thick = rng.normal(2.5, 0.1, len(rows))
    write_tsv(folder / "maps" / "measures.tsv", rows[["scan", "participant_id"]].assign(thickness_lh_insula=thick))


def make_results(folder: Path, rng: np.random.Generator) -> None:
    """Tables of thirty people, four maps and an encoder that was not trained."""
    import nibabel as nib

    from anatcl.base.files import read_tsv, write_tsv
    from anatcl.pretrain.folds import make_folds
    from anatcl.pretrain.pack import pack
    from anatcl.pretrain.train import Inputs, train
    from anatcl.spec.training import Options

    results = folder / "results"
    scans = read_tsv(results / "bids" / "scans.tsv")
    measures = scans[["scan", "participant_id"]].assign(tiv_mm3=1.5e6, gm_mm3=7e5 - 2e3 * scans["age"], wm_mm3=5e5)
    measures["csf_mm3"] = 2e5 + rng.normal(0, 1e4, len(scans))
    write_tsv(results / "measures" / "measures.tsv", measures)
    write_tsv(results / "pretrain" / "folds.tsv", make_folds(scans, 3))
    rows = scans.head(4)
    for scan in rows["scan"]:
        name = f"{Path(scan).name}_space-T_label-GM_desc-modulated_probseg.nii.gz"
        map_ = nib.Nifti1Image(rng.random((28, 32, 24)).astype(np.float32), np.diag([2.0, 2, 2, 1]))
        nib.save(map_, folder / name)
        (folder / "maps" / Path(scan).parent).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, folder / "maps" / Path(scan).parent / name)
    pack(rows, folder / "maps", folder / "arrays", template="T", voxel_mm=4.0, dtype="float32")
    bundle = results / "pretrain" / "anatcl-global" / "fold-0"
    inputs = Inputs(folder / "arrays", results / "pretrain" / "folds.tsv", -1, "untrained", bundle)
    assert train(inputs, Options(encoder="resnet-tiny"), "cpu", threads=1) == 0


def make_phenotypes(folder: Path) -> None:
    """A table as ABIDE I publishes it."""
    people = np.arange(8)
    table = pd.DataFrame({"SUB_ID": people + 1, "DX_GROUP": people % 2 + 1, "DSM_IV_TR": 1 - people % 2, "SEX": 1})
    table = table.assign(SITE_ID="NYU", AGE_AT_SCAN=people + 10.5, FIQ=100, VIQ=100, PIQ=100, ADI_R_SOCIAL_TOTAL_A=10)
    folder.mkdir(parents=True)
    table.to_csv(folder / "Phenotypic_V1_0b.csv", index=False)


def shell(folder: Path, line: str) -> subprocess.CompletedProcess:
    """Run a line as a reader would, with this interpreter's programs first on the path."""
    path = os.pathsep.join((str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, with a dataset and what a run would have left."""
    folder, rng = tmp_path_factory.mktemp("docs") / "copy", np.random.default_rng(0)
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    program = folder / "bin" / "anatcl"  # of the copy, not the installed one
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec python -m anatcl "$@"\n')
    program.chmod(0o755)
    make_bids(folder / "data" / "my_study", rng)
    make_demo(folder / "demo", rng)
    # The files of the researcher's path stand in its page.
    (folder / "mine.yaml").write_text(
        next(text for page, text in blocks("yaml") if "my-loss" in text and "tour" in page)
    )
    (folder / "my_losses.py").write_text(next(text for page, text in blocks("python") if "class MyLoss" in text))
    make_phenotypes(folder / "data" / "abide1" / "tables")
    make_release(folder / "data" / "openBHB", 30)
    for line in ("anatcl init data/my_study --out my.yaml", "snakemake bids --cores 1 --configfile my.yaml"):
        done = shell(folder, line)
        assert done.returncode == 0, done.stderr
    make_results(folder, rng)
    (folder / "table.yaml").write_text(next(text for page, text in blocks("yaml") if text.startswith("scans:")))
    return folder


def unique() -> list[str]:
    return sorted(dict.fromkeys(command for _, command in commands()), key=lambda line: "report tables" in line)


@pytest.mark.parametrize("command", [c for c in unique() if way(c)[0] is not None])
def test_a_command_runs(command: str, copy: Path) -> None:
    if "slurm" in command:
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra slurm is not installed")
    if "--sdm conda" in command and not shutil.which("conda"):
        pytest.skip("no conda on the PATH; the environments are checked by tests/workflow/conda/test_standin_conda.py")
    line = prepared(command)
    assert line is not None
    written = re.search(r"^anatcl init .*--out (\S+)", line)
    if written:  # it does not overwrite
        (copy / written[1]).unlink(missing_ok=True)
    done = shell(copy, line)
    assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


def test_what_is_not_run_in_full_names_what_runs_it() -> None:
    for pattern, how, full in WAYS:
        assert how == "{}" or full, pattern
        for file in re.findall(r"tests/[\w/]+\.py|docs/\w+\.md", full):
            assert (ROOT / file).is_file(), file


def test_every_way_is_taken() -> None:
    """A row that no command needs any more goes."""
    taken = {way(command) for command in unique()}
    assert [(how, full) for _, how, full in WAYS if (how, full) not in taken] == []
