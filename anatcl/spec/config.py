"""The experiment's configuration: every key, its type, its default and what it means.

The YAML file at the root of the repository, the JSON schema in ``workflow/schemas`` and the table in the docs are made
from, or tested against, these classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from anatcl.base.errors import InputError
from anatcl.base.named import plugins
from anatcl.spec.baselines import OwnBaseline, baseline_name
from anatcl.spec.bids import Bids, Participants
from anatcl.spec.encoders import Encoder, FineTuning
from anatcl.spec.imaging import Measures, Preprocess
from anatcl.spec.names import ADJUST, BASELINES, MAPS, PERTURBATIONS, RIVALS, methods
from anatcl.spec.protocol import Design
from anatcl.spec.section import (
    MAPPING,
    TEXT,
    Count,
    NotNegative,
    Section,
    Texts,
    Whole,
    known_word,
    one_of,
    several,
    tag,
    wrongs,
)
from anatcl.spec.task import Task
from anatcl.spec.training import Common, Further, Joint, JointName, Own


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("it must name one at least")
    return values


KINDS = get_args(Design.model_fields["kind"].annotation)
Span = Annotated[tuple[Whole, Whole], AfterValidator(lambda span: _span(span))]


def _span(span: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= span[0] < span[1]:
        raise ValueError(f"its first voxel must be 0 or more and below the last, not {list(span)}")
    return span


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(v) for v in values if values.count(v) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} is listed twice")
    return values


class Failures(Section):
    """What happens after a scan fails."""

    retry: bool = Field(False, description="try again the scans that failed before")
    fatal: bool = Field(False, description="stop the run when a scan fails, instead of continuing without it")
    check_disk: bool = Field(True, description="refuse to start when the disk cannot hold the results of all scans")


def _method(name: str, info: ValidationInfo) -> str:
    """A declared method or a joint objective; any name where the joint objectives are wrong themselves."""
    joint, own = info.data.get("joint"), info.data.get("own")
    known = (*methods(), *(joint or ()), *(own or ()), *plugins("anatcl.losses"))
    return name if joint is None or own is None else str(one_of(name, known))


class Packed(Section):
    """Data and methods of the training."""

    joint: Joint = Field(
        {},
        description="joint objectives, trained as methods of their own: name to {method: weight, ...}, whose weighted "
        "losses are added",
    )
    own: dict[JointName, Own] = Field(
        {},
        description="losses of your own, trained as methods: name to {loss: module:Class, arguments, views, augment}",
    )
    methods: Annotated[
        tuple[Annotated[str, AfterValidator(_method)], ...], BeforeValidator(several), AfterValidator(_once)
    ] = Field(("anatcl-global", "anatcl-local", "y-aware"), description="methods to pretrain")
    final: Annotated[tuple[str, ...], BeforeValidator(several), AfterValidator(_once)] = Field(
        (),
        description="methods of which one more encoder is trained on all participants, for use elsewhere; it is in "
        "no table",
    )
    arrays: str = Field(
        "",
        description="maps to train on: those that preprocess makes (empty); those of the dataset itself "
        "(release, with bids: layout: openbhb); or a folder of packed arrays, whose rows are then the cohort",
    )
    maps: str = Field(
        "",
        description="folder of modulated grey-matter maps that another program made from the dataset's scans (CAT12, "
        "brainprep, T1Prep: mwp1sub-*.nii; or BIDS names): encoders are trained on them, and nothing is preprocessed",
    )
    map: Annotated[str, known_word(MAPS)] = Field("vbm", description="map that the encoder takes")
    voxel_mm: NotNegative = Field(0.0, description="voxel size of the packed volumes, in mm; 0: that of the maps")
    crop: tuple[Span, Span, Span] | None = Field(
        None, description="voxels to keep, [[x0, x1], [y0, y1], [z0, z1]]; null: automatic"
    )
    dtype: Literal["float16", "uint8", "float32"] = Field("float16", description="stored type of the packed volumes")
    folds: Annotated[Whole, Field(ge=2)] = Field(5, description="folds of the cross-validation, by participant")
    group: str = Field("participant_id", description="column kept whole within a fold, e.g. site")
    seeds: Count = Field(1, description="trainings of each method and fold that differ only in their seed")


class Resources(Section):
    """Resources of a training job."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="number type of the forward pass")
    threads: Count = Field(2, description="processor threads of a training job")
    gpus: Annotated[Whole, Field(ge=0)] = Field(0, description="GPUs that a training job asks the scheduler for")
    nodes: Count = Field(1, description="nodes that a training job spans (torchrun, started by srun)")
    processes: Annotated[Whole, Field(ge=0)] = Field(
        0, description="processes per node that share each batch; 0: one per GPU"
    )
    options: Further = Field(Further(), description="further options of the training, see below")

    @field_validator("options", mode="before")
    @classmethod
    def _elsewhere(cls, value: Any) -> Any:
        """Point to the section for options that stand there."""
        if isinstance(value, Mapping):
            for name in value:
                if name in Common.model_fields or name in ("lambda", "seed"):
                    raise ValueError(f"{name!r} belongs one level up: write it as {_up(str(name))}")
        return value


def _up(name: str) -> str:
    return "seed: <number>" if name == "seed" else f"pretrain: {{{name}: ...}}"


class Pretrain(Resources, Common, Packed):
    """Contrastive pretraining."""

    @property
    def from_scans(self) -> bool:
        """Whether its maps are made from the scans; else no scan is preprocessed or measured."""
        return not (self.arrays or self.maps)


Written = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[Task, Tag(MAPPING)],
    Discriminator(tag),
]


def _word(word: str) -> str:
    """A protocol by its kind alone."""
    if one_of(word, KINDS) == "transfer":
        raise ValueError("transfer needs train and test: {kind: transfer, column: site, train: [A], test: [B]}")
    return word


def _apart(protocols: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse protocols whose results would have one name."""
    seen: set[tuple[Any, ...]] = set()
    for told in protocols:
        names = (Design(kind=told) if isinstance(told, str) else told).names()
        if seen & names:
            raise ValueError(f"two protocols of the kind {next(iter(names))[0]} would give results with the same name")
        seen |= names
    return protocols


Protocol = Annotated[
    Annotated[str, AfterValidator(_word), Tag(TEXT)] | Annotated[Design, Tag(MAPPING)],
    Discriminator(tag),
]


class FeatureTable(Section):
    """Features of another tool."""

    table: Annotated[str, Field(min_length=1)] = Field(
        description="TSV or CSV with a column scan, or participant_id (and session_id)"
    )
    columns: str = Field("all", description="regular expression of column names, or all numeric ones")


class Evaluate(Section):
    """Probes and scores."""

    tasks: Annotated[tuple[Written, ...], BeforeValidator(several)] = Field(
        ("age", "sex"), description="shipped task names, paths of YAML files, or tasks written in place"
    )
    unanswerable: Literal["refuse", "skip"] = Field(
        "refuse",
        description="a task whose columns or classes the dataset lacks: refuse it before the first job, or skip it "
        "with a warning and list it under skipped tasks",
    )
    baselines: Annotated[
        tuple[Annotated[str, AfterValidator(baseline_name)], ...], BeforeValidator(several), AfterValidator(_once)
    ] = Field(BASELINES, description="baselines without an encoder, shown in every table")
    own: dict[str, OwnBaseline] = Field(
        {},
        description="baselines of your own, also shown in every table: name to "
        "{baseline: module:Class, arguments, columns}",
    )
    rivals: Annotated[
        tuple[Annotated[str, known_word(RIVALS)], ...], BeforeValidator(several), AfterValidator(_once)
    ] = Field(
        RIVALS,
        description="linear baselines from the voxels, fitted on the pretraining participants of each fold: principal "
        "components, and ridge regression to the regional measures",
    )
    features: dict[str, FeatureTable] = Field(
        {}, description="further methods: name to a table of features, e.g. another foundation model's"
    )
    encoders: dict[str, Encoder] = Field(
        {}, description="further methods: name to an outside encoder, see below and encoders.md"
    )
    finetune: FineTuning = FineTuning()
    known_overlaps: str = Field(
        "",
        description="shipped cohort (abide1, ...) or YAML file that says which tested participants are known to be in "
        "public pretraining cohorts",
    )
    protocols: Annotated[
        tuple[Protocol, ...],
        BeforeValidator(several),
        AfterValidator(_once),
        AfterValidator(_some),
        AfterValidator(_apart),
    ] = Field(
        ("folds",),
        description="folds, repeated, leave-site-out, transfer, few-shot, or mappings with kind, folds, repeats, "
        "column, train, test, sizes, probe",
    )
    decode: Literal["none", "measures"] = Field(
        "none",
        description="measures: how much of each regional measure, beyond decode_adjust, every embedding holds (R2 on "
        "unseen people)",
    )
    decode_adjust: Annotated[Texts, AfterValidator(_once)] = Field(
        ADJUST, description="columns that the measures are residual on before they are decoded"
    )
    perturb: Annotated[
        tuple[Annotated[str, known_word(PERTURBATIONS)], ...], BeforeValidator(several), AfterValidator(_once)
    ] = Field(
        (),
        description="changes of the tested scans under which every task is scored again, with the probe of clean "
        "scans: gain, blur, noise, resample, contrast",
    )
    subgroups: Annotated[Texts, AfterValidator(_once)] = Field(
        ("sex", "age", "site"), description="columns whose values define the subgroups that scores are given for"
    )
    untrained: bool = Field(True, description="evaluate the untrained encoder, too")
    confounds: Annotated[Texts, AfterValidator(_once)] = Field(
        (),
        description="columns of the scans table that may explain a target (motion), besides site, age, sex, head size "
        "and the workflow's image-quality metrics",
    )
    shuffles: Annotated[Whole, Field(ge=-1)] = Field(
        -1,
        description="repetitions with shuffled labels; with 99 or more there is a p value against chance; -1: by "
        "the cohort's size",
    )
    shuffle_within: str = Field(
        "",
        description="column within whose values labels are shuffled (site): what a method still scores is then "
        "explained by that column",
    )
    untrained_seeds: Count = Field(
        5, description="random initialisations of the untrained encoder; their scores differ"
    )
    bootstrap: Annotated[Whole, Field(ge=0)] = Field(1500, description="resamples of participants for the intervals")
    site_column: str = Field("site", description="column that names the site")
    interpret: bool = Field(True, description="show where predictions come from (gradient maps, regional importances)")
    interpret_people: Count = Field(6, description="unseen scans over which a gradient map is averaged")
    interpret_steps: Count = Field(8, description="points on the path of integrated gradients, per scan")


class Report(Section):
    """The page."""

    title: str = Field("AnatCL benchmark report", description="title of the page")


class Config(Section):
    """The whole experiment."""

    bids_dir: Annotated[str, Field(min_length=1)] = Field("demo/bids", description="BIDS dataset of T1-weighted scans")
    participants: Participants = Participants()
    seed: Annotated[Whole, Field(ge=0)] = Field(0, description="seed of all random numbers")
    deterministic: bool = Field(True, description="equal bytes on every run; needs preprocess: threads: 1")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="device on which networks run")
    failures: Failures = Failures()
    bids: Bids = Bids()
    preprocess: Preprocess = Preprocess()
    measures: Measures = Measures()
    pretrain: Pretrain = Pretrain()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @model_validator(mode="after")
    def _one_thread(self) -> Self:
        if self.deterministic and self.preprocess.threads > 1:
            raise ValueError(
                "deterministic: true needs preprocess: threads: 1 (ITK's results differ from run to run with more); "
                "set deterministic: false to use more threads per scan"
            )
        return self


def parse(values: Mapping[str, Any], file: str | Path | None = None) -> Config:
    """Check a configuration.

    Raises
    ------
    InputError
        A key is unknown (its nearest neighbour is named), or a value has the wrong type or range; all are listed.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        found = "; ".join(wrong.text for wrong in wrongs(Config, error))
        raise InputError(f"the configuration is not valid: {found}.", file) from None
