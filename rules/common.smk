# The plan of the run and the few functions that Snakemake must be given as functions; every part of the workflow
# uses them. The plan itself (anatcl/plan) is ordinary, tested code.
import math
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(workflow.basedir).parent
# A clone has the library beside the rules; an installed copy has the rules inside the library, and a stand-in for it.
LIBRARY = ROOT if (ROOT / "anatcl").is_dir() else ROOT / "library"
if str(LIBRARY) not in sys.path:
    sys.path.insert(0, str(LIBRARY))

from anatcl.cli.steps import code_digest
from anatcl.plan import open_plan
from anatcl.plan.content import (
    atlas_content,
    file_content,
    method_words,
    stats_content,
    template_content,
)
from anatcl.run.failed import report_failed
from anatcl.plan.scheduling import (
    collect_seldom,
    format_once,
    lift_default_rate,
    match_once,
    ready,
    screen_folders,
)
from anatcl.plan.slim import slim
from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.output_index import OutputIndex
from snakemake.resources import Resource
from snakemake.rules import Rule

# Jobs use the interpreter that runs Snakemake, activated or not; a conda environment, activated later, comes first.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

# Conda environments unset PYTHONPATH when they are activated; jobs find the library all the same, from any folder.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(LIBRARY))}; ")

PLAN = open_plan(
    [ROOT / "config.yaml", *workflow.config_settings.configfiles],
    workflow.config_settings.config,
    Path(workflow.workdir_init),
    workflow.is_main_process,
)
ready(Resource.evaluate)
format_once(Job)
match_once(OutputIndex)
screen_folders(DAG)
slim(Job, Rule)
collect_seldom()
config.update(PLAN.values)
TEMPLATE = PLAN.template
ATLAS = PLAN.atlas
TORCH_ENV = (
    "../envs/torch-cuda.yaml" if PLAN.config.device == "cuda" else "../envs/torch.yaml"
)


wildcard_constraints:
    # Raw BIDS entities only, so that a stem cannot swallow _space-, _desc- or _atlas-.
    scan=r"sub-[A-Za-z0-9]+/(ses-[A-Za-z0-9]+/)?anat/sub-[A-Za-z0-9]+(_(ses|task|acq|ce|rec|run|echo|part|chunk)-[A-Za-z0-9]+)*",
    chunk=r"\d+",
    fold=r"\d+",
    method=r"[A-Za-z0-9-]+",
    baseline="|".join(PLAN.untrained_rivals) or "none",
    task=r"[A-Za-z0-9-]+",


@ready
def index_scans(wildcards):
    """The index of usable scans, brought up to date."""
    return PLAN.index_file("scans")


@ready
def index_excluded(wildcards):
    """What the index left out, brought up to date."""
    return PLAN.index_file("excluded")


@ready
def resolved_config(wildcards):
    """The resolved configuration, for the record."""
    return PLAN.saved()


@ready
def raw_image(wildcards):
    """The raw image of a scan."""
    return PLAN.image(wildcards.scan)


@ready
def given_mask(wildcards):
    """The mask that the user gives for a scan: a mended one, or that of skullstrip: method: mask; else nothing."""
    return PLAN.given_mask(wildcards.scan)


@ready
def skullstrip_method(wildcards):
    """Where the masks of a scan come from."""
    return PLAN.skullstrip_method(wildcards.scan)


def of_scans(pattern):
    """An input function: `pattern` for every scan of the cohort."""

    @ready
    def files(wildcards):
        return expand(pattern, scan=PLAN.scans)

    return files


def of_chunk(pattern):
    """An input function: `pattern` for every scan of a chunk."""

    @ready
    def files(wildcards):
        return expand(pattern, scan=PLAN.chunks[wildcards.chunk])

    return files


def of_chunks(pattern):
    """An input function: `pattern` for every chunk."""

    @ready
    def files(wildcards):
        return expand(pattern, chunk=list(PLAN.chunks))

    return files


@ready
def task_text(wildcards):
    """A task as JSON, name or path, for its step."""
    return PLAN.tasks[wildcards.task]


@ready
def task_content(wildcards):
    """A task with the content of its file."""
    return PLAN.task_text(wildcards.task)


@ready
def atlas_files(wildcards):
    """Digest of the atlas and the files that it names."""
    return atlas_content(PLAN.config.measures.atlas)


@ready
def template_files(wildcards):
    """Digest of the template and the images that it names."""
    return template_content(PLAN.config.preprocess.template)


@ready
def words_of_methods(wildcards):
    """What tables and texts say of the methods of this run."""
    return method_words(PLAN.trained)


@ready
def freesurfer_tables(wildcards):
    """Digest of the tables of FreeSurfer that replace ours."""
    folder = PLAN.config.measures.freesurfer
    return stats_content(folder) if folder else ""


@ready
def feature_table(wildcards):
    """Digest of another tool's table of features."""
    given = wildcards.baseline in PLAN.config.evaluate.features
    return file_content(PLAN.rival(wildcards.baseline)[0]) if given else ""


@ready
def rival_table(wildcards):
    """Table of the features of a rival: another tool's, or the measures."""
    return PLAN.rival(wildcards.baseline)[0]


@ready
def rival_columns(wildcards):
    """Which columns of its table are a rival's features."""
    return PLAN.rival(wildcards.baseline)[1]


@ready
def train_code(wildcards):
    """Digest of what a training runs: the loss of its own method counts, the others do not."""
    return code_digest("pretrain", "train", wildcards.method)


def grown(amount):
    """A resource that grows with every retry."""

    @ready
    def resource(wildcards, attempt):
        return amount * attempt

    return resource


def sized(amount):
    """A resource that grows with every retry and with the size of the scan."""

    @ready
    def resource(wildcards, attempt):
        return math.ceil(amount * attempt * PLAN.weight(wildcards.scan))

    return resource


def say_what_failed():
    """Last lines after a run with failures: how many, and what to type."""
    if workflow.is_main_process:
        print(report_failed(PLAN), file=sys.stderr)
