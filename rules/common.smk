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
sys.path[:0] = [
    path for path in (str(LIBRARY), str(workflow.basedir)) if path not in sys.path
]

from anatcl.base.errors import InputError
from anatcl.cli.steps import code_digest
from anatcl.plan import open_plan
from anatcl.plan.content import (
    atlas_content,
    encoder_content,
    method_words,
    stats_content,
    template_content,
)
from anatcl.run.costs import check_disk
from anatcl.run.failed import report_failed, watch_for_stop
from anatcl.spec import layout
from anatcl.spec.layers import spoken
from anatcl.spec.names import PERTURBATIONS
from asked import scans_alone
from mends import apply_mends, lift_default_rate, ready

# Jobs use the interpreter that runs Snakemake, activated or not; a conda environment, activated later, comes first.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

# Conda environments unset PYTHONPATH when they are activated; jobs find the library all the same, from any folder.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(LIBRARY))}; ")

# Options with which Snakemake shows the rules and plans nothing: they need no dataset.
READ_ONLY = {"--lint", "--list-rules", "--list", "-l", "--list-target-rules", "--lt"}
try:
    PLAN = open_plan(
        [ROOT / "config.yaml", *workflow.config_settings.configfiles],
        spoken(workflow.config_settings.config_args, workflow.config_settings.config),
        Path(workflow.workdir_init),
        workflow.is_main_process,
        not READ_ONLY & set(sys.argv),
        workflow.is_main_process and scans_alone(),
        bool(workflow.deployment_settings.deployment_method),
    )
except InputError as error:
    # Printed and not raised: Snakemake would add where in the code it was raised.
    print(f"The configuration cannot be run. {error}", file=sys.stderr, flush=True)
    sys.exit(1)
apply_mends(tell=workflow.is_main_process)
if workflow.is_main_process:
    watch_for_stop()
config.update(PLAN.values)
TEMPLATE = PLAN.imaging.template
ATLAS = PLAN.imaging.atlas
TORCH_ENV = (
    "../envs/torch-cuda.yaml" if PLAN.config.device == "cuda" else "../envs/torch.yaml"
)


wildcard_constraints:
    scan=layout.SCAN_PATTERN,
    chunk=r"\d+",
    group=rf"\d+|sub-{layout.LABEL}",
    fold=r"\d+",
    # No more than the methods that have an encoder: what a table or a measure stands for is never trained.
    method="|".join(PLAN.methods.encoders) or "none",
    rival="|".join(PLAN.methods.rivals) or "none",
    embedded="|".join(PLAN.methods.probed) or "none",
    seed=r"\d+",
    baseline="|".join(PLAN.methods.tables) or "none",
    given="|".join(PLAN.methods.brought) or "none",
    tuned="|".join(PLAN.methods.tuned) or "none",
    trained="|".join(PLAN.methods.trainings) or "none",
    member=r"\d+",
    perturbation="|".join(PERTURBATIONS),
    task=layout.TASK_PATTERN,


@ready
def index_scans(wildcards):
    """The index of usable scans, brought up to date."""
    return PLAN.cohort.index_file("scans")


@ready
def index_excluded(wildcards):
    """The exclusions of the index, brought up to date."""
    return PLAN.cohort.index_file("excluded")


@ready
def index_notes(wildcards):
    """The notes of the index (what it accepted or repaired), brought up to date."""
    return PLAN.cohort.index_file("notes")


@ready
def resolved_config(wildcards):
    """The resolved configuration, for the record."""
    return PLAN.saved()


@ready
def raw_image(wildcards):
    """The raw image of a scan."""
    return PLAN.cohort.image(wildcards.scan)


@ready
def given_mask(wildcards):
    """The mask that the user gives for a scan: a corrected one, or that of skullstrip: method: mask; else nothing."""
    return PLAN.cohort.given_mask(wildcards.scan)


@ready
def mask_flags(wildcards):
    """Where the masks of a scan come from, and what is asked beside it.

    One parameter: Snakemake compares the set of a rule's values, and these have some in common.
    """
    return PLAN.imaging.mask_flags(wildcards.scan)


def of_person(pattern):
    """An input function: `pattern` for every scan of a participant whose mean is the wildcard `scan`."""

    @ready
    def files(wildcards):
        return expand(pattern, scan=PLAN.cohort.persons[wildcards.scan])

    return files


def mean_file(ending):
    """An input function: a file of the mean of the scan's participant."""

    @ready
    def file(wildcards):
        return f"results/preprocess/{PLAN.cohort.person(wildcards.scan)}_{ending}"

    return file


@ready
def masks_of_person(wildcards):
    """The rigid transform of a scan to its participant's mean, and the mean's masks and affine; nothing without a mean."""
    return PLAN.imaging.masks_of_person(wildcards.scan)


@ready
def transforms_of_person(wildcards):
    """The rigid transform of a scan to its participant's mean, and the mean's transforms; nothing without a mean."""
    return PLAN.imaging.transforms_of_person(wildcards.scan)


def of_scans(pattern):
    """An input function: `pattern` for every scan of the cohort."""

    @ready
    def files(wildcards):
        return expand(pattern, scan=PLAN.cohort.scans)

    return files


def of_chunk(pattern):
    """An input function: `pattern` for every scan of a chunk."""

    @ready
    def files(wildcards):
        return expand(pattern, scan=PLAN.cohort.chunks[wildcards.chunk])

    return files


def of_chunks(pattern):
    """An input function: `pattern` for every chunk."""

    @ready
    def files(wildcards):
        return expand(pattern, chunk=list(PLAN.cohort.chunks))

    return files


def of_group(*patterns):
    """An input function: `patterns` for every scan whose page one job writes."""

    @ready
    def files(wildcards):
        return expand(list(patterns), scan=PLAN.cohort.page_groups[wildcards.group])

    return files


@ready
def group_lists(wildcards):
    """The lists of all participants' pages."""
    return expand(
        "results/report/participants/chunks/{group}.tsv",
        group=list(PLAN.cohort.page_groups),
    )


@ready
def group_people(wildcards):
    """What the index says of the participants whose pages one job writes."""
    return PLAN.cohort.people_text(PLAN.cohort.page_groups[wildcards.group])


@ready
def options_of_scans(wildcards):
    """The configuration of dataset and imaging; a path in it may hold braces, which only a function leaves alone."""
    return PLAN.options_of_scans()


@ready
def maps_made(wildcards):
    """Tables that are newer than the maps of all scans; the packed arrays where no maps are made."""
    if PLAN.cohort.source:
        return [str(layout.ARRAYS / "arrays.json")]
    return expand(
        "results/preprocess/chunks/{chunk}_qc.tsv", chunk=list(PLAN.cohort.chunks)
    )


@ready
def taken_arrays(wildcards):
    """The maps or packed arrays of the dataset itself."""
    return PLAN.cohort.files()


@ready
def taken_measures(wildcards):
    """The tables of measures of the dataset itself."""
    return PLAN.cohort.measure_files()


@ready
def task_text(wildcards):
    """A task as JSON, name or path, for its step."""
    return PLAN.tasks.text(wildcards.task)


@ready
def task_content(wildcards):
    """A task with the content of its file."""
    return PLAN.tasks.content(wildcards.task)


@ready
def all_tasks(wildcards):
    """Every task as JSON, name or path."""
    return [PLAN.tasks.text(name) for name in PLAN.tasks.names]


@ready
def all_task_content(wildcards):
    """Every task with the content of its file."""
    return [PLAN.tasks.content(name) for name in PLAN.tasks.names]


@ready
def task_site(wildcards):
    """The column of the site that the interpretation of a task reads."""
    return PLAN.tasks.site_column(wildcards.task)


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
    return method_words(PLAN.methods.encoders)


@ready
def surface_flags(wildcards):
    """Flags of the surfaces that the measures of a scan are taken from; none with the engine volume."""
    return PLAN.imaging.surface_flags(
        wildcards.scan, f"results/measures/{wildcards.scan}"
    )


@ready
def freesurfer_tables(wildcards):
    """Digest of the tables of FreeSurfer that replace ours."""
    folder = PLAN.config.measures.freesurfer
    return stats_content(folder) if folder else ""


@ready
def feature_content(wildcards):
    """Digest of another tool's table of features, or of the file of a baseline of the user's own."""
    return PLAN.methods.table_content(wildcards.baseline)


@ready
def own_baseline(wildcards):
    """The flag of a baseline of the user's own."""
    return PLAN.methods.own_flag(wildcards.baseline)


@ready
def given_encoder(wildcards):
    """An outside encoder, as JSON text."""
    return PLAN.config.evaluate.encoders[wildcards.given].as_text()


@ready
def given_files(wildcards):
    """Digest of the files of an outside encoder."""
    return encoder_content(PLAN.config.evaluate.encoders[wildcards.given])


@ready
def tuned_embeddings(wildcards):
    """Files of the embeddings of the method to fine-tune: its encoders exist and have been audited."""
    return PLAN.methods.embeddings(PLAN.methods.untuned(wildcards.tuned))


@ready
def tuned_from(wildcards):
    """Folder of the encoders to fine-tune."""
    return PLAN.methods.folder(PLAN.methods.untuned(wildcards.tuned))


@ready
def tuned_source(wildcards):
    """Flags that name the volumes for fine-tuning."""
    return PLAN.methods.tuning_flags(wildcards.tuned, TEMPLATE)


@ready
def tuned_files(wildcards):
    """Digest of the files of the encoder to fine-tune, if it is an outside one."""
    given = PLAN.config.evaluate.encoders.get(PLAN.methods.untuned(wildcards.tuned))
    return encoder_content(given) if given else ""


@ready
def failed_scans(wildcards):
    """Scans left out because they failed before; a change of this list makes the table of exclusions anew."""
    return PLAN.cohort.left_out()


@ready
def feature_table(wildcards):
    """Table of the features of a method without an encoder: another tool's, or the measures."""
    return PLAN.methods.table(wildcards.baseline)


@ready
def feature_columns(wildcards):
    """Which columns of its table are the features of a method without an encoder."""
    return PLAN.methods.columns(wildcards.baseline)


@ready
def embedding_files(wildcards):
    """Embeddings of a method, by fold and by seed."""
    return PLAN.methods.embeddings(wildcards.embedded)


@ready
def changed_files(wildcards):
    """Embeddings of a method from changed scans, by perturbation, seed and fold."""
    return PLAN.methods.changed_embeddings(wildcards.embedded)


@ready
def shaken_seeds(wildcards):
    """How many seeds of a method see changed scans."""
    return PLAN.methods.shaken_seeds(wildcards.embedded)


@ready
def seed_count(wildcards):
    """How many seeds of a method are probed."""
    return PLAN.methods.seed_count(wildcards.embedded)


@ready
def models_dir(wildcards):
    """Folder of the records of a method's training participants."""
    return PLAN.methods.folder(wildcards.embedded)


@ready
def train_method(wildcards):
    """The method of a training, whichever of its seeds."""
    return PLAN.methods.method_and_seed(wildcards.trained)[0]


@ready
def train_code(wildcards):
    """Digest of what a training runs: the losses of its own method count, the others do not."""
    return code_digest(
        "pretrain", "train", *PLAN.training.parts(train_method(wildcards))
    )


@ready
def train_options(wildcards):
    """Everything that shapes the training of a method."""
    return PLAN.training.options(*PLAN.methods.method_and_seed(wildcards.trained))


@ready
def train_own(wildcards):
    """Digest of the files of a loss and a network of the user's own."""
    return PLAN.training.own_code(train_method(wildcards))


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
        return math.ceil(amount * attempt * PLAN.cohort.weight(wildcards.scan))

    return resource


def say_what_failed():
    """Last lines after a run with failures: how many, and what to type next."""
    if workflow.is_main_process:
        print(report_failed(PLAN), file=sys.stderr)


def begin():
    """Once the jobs are planned: refuse a full disk, and record the inputs of the run."""
    try:
        check_disk(PLAN)
    except InputError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    lift_default_rate(workflow.scheduler)
    PLAN.record()
