"""The experiment's configuration: every key, its type, its default and what it means.

The YAML file at the root of the repository, the JSON schema in ``workflow/schemas`` and the table in the docs are made
from, or tested against, these classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anatcl.base.errors import InputError

Limits = tuple[float | None, float | None]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Participants(Section):
    """Who takes part."""

    include: list[str] = Field([], description="participants to take, as names or glob patterns; all when empty")
    exclude: list[str] = Field([], description="participants to leave out; they are named in excluded.tsv")
    query: str = Field("", description="pandas query over scans.tsv, e.g. \"age >= 18 and site == 'HH'\"")


class Failures(Section):
    """What happens after a scan failed."""

    retry: bool = Field(False, description="try again the scans that failed before")
    fatal: bool = Field(False, description="let any failed scan stop the cohort instead of going on without it")


class Bids(Section):
    """How the dataset is read."""

    entities: dict[str, list[str | int]] = Field(
        {}, description="values to take of an entity (session, acq, run ...), glob patterns; n/a is a scan without it"
    )
    runs: Literal["all", "first"] = Field("all", description="several runs of one session: all, or the first usable")
    columns: dict[str, str] = Field({}, description="our name (age, sex, site ...) to the name in the dataset's tables")
    sex_levels: dict[str, str] = Field({}, description="codes of the sex column to M or F, e.g. {'1': M, '2': F}")
    units: dict[str, str] = Field(
        {}, description="unit of a column where its JSON file does not say, e.g. {age: months}"
    )
    missing: dict[str, list[str | int | float]] = Field(
        {}, description="codes for missing of a column ('*': of all), e.g. {age: [-9, 999]}"
    )
    unoriented: Literal["exclude", "accept"] = Field(
        "exclude", description="scans whose header does not say how they are oriented: left and right are a guess"
    )
    verify: Literal["quick", "full"] = Field("quick", description="compare lengths, or decompress every file")
    voxel_mm: tuple[float, float] = Field((0.2, 6.0), description="smallest and largest voxel side accepted, in mm")
    min_extent_mm: float = Field(60.0, ge=0, description="smallest field of view along each axis, in mm")


class Skullstrip(Section):
    """Where the brain mask comes from."""

    method: Literal["ants", "mask", "none"] = Field(
        "ants", description="ants: template by registration; mask: given masks; none: scans are stripped already"
    )
    masks: str = Field("", description="for method mask: path of a scan's mask, with {scan} for the BIDS stem")

    @model_validator(mode="after")
    def _pattern(self) -> Skullstrip:
        if self.method == "mask" and "{scan}" not in self.masks:
            raise ValueError("method 'mask' needs masks: a path with {scan} in it")
        return self


class Preprocess(Section):
    """Imaging steps."""

    recipe: str = Field("fast", description="how much work: precise, fast, testing, or a JSON file")
    template: str = Field("MNI152NLin2009aSym", description="shipped template, or the path of a YAML file")
    deformable: Literal["auto", "ants", "greedy"] = Field(
        "auto", description="engine of the deformable registration; auto: what the recipe says"
    )
    threads: int = Field(1, ge=1, description="ITK threads of a job; only 1 gives equal bytes on every run")
    skullstrip: Skullstrip = Skullstrip()
    qc: dict[str, Limits] = Field(
        {
            "icv_ml": (700, 2400),
            "template_dice": (0.80, None),
            "template_correlation": (0.5, None),
            "cjv": (None, 2.0),
            "jacobian_nonpositive_share": (None, 0.001),
            "cut_cm2": (None, 50.0),
        },
        description="quality number: [lowest, highest]; a scan beyond a limit is left out at aggregation",
    )
    corrections: str = Field(
        "", description="table (TSV) of a person's word over scans: scan, decision (accept, reject), mask (path), note"
    )
    accept: list[str] = Field([], description="scans taken back although a quality number failed")
    reject: list[str] = Field([], description="scans left out after somebody looked at them")


class Measures(Section):
    """Anatomical measures."""

    atlas: str = Field("desikan-killiany", description="shipped atlas, or the path of a YAML file")
    thickness: Literal["auto", "distance", "direct", "kelly_kapowski"] = Field(
        "auto", description="how thickness is estimated; auto: what the recipe says"
    )
    thickness_options: dict[str, Any] = Field({}, description="parameters of that method")
    freesurfer: str = Field("", description="FreeSurfer or FastSurfer derivatives whose stats replace our rows")
    chunk: int = Field(100, ge=1, description="scans in one chunk of the two-level aggregation")


class Pretrain(Section):
    """Contrastive pretraining."""

    methods: list[str] = Field(["anatcl-global", "anatcl-local", "y-aware"], description="what to pretrain")
    encoder: str = Field("resnet18", description="resnet18, resnet34, resnet50, densenet121 or resnet-tiny")
    map: Literal["vbm", "quasi-raw"] = Field("vbm", description="which map the encoder sees")
    voxel_mm: float = Field(0.0, ge=0, description="voxel size of the packed volumes, in mm; 0: as the maps")
    crop: list[tuple[int, int]] | None = Field(None, description="[[x0, x1], [y0, y1], [z0, z1]]; null: automatic")
    dtype: Literal["float16", "uint8", "float32"] = Field("float16", description="stored type of the packed volumes")
    folds: int = Field(5, ge=2, description="folds of the cross-validation, by participant")
    group: str = Field("participant_id", description="column kept whole within a fold, e.g. site")
    epochs: int = Field(300, ge=1, description="passes over the training scans")
    batch_size: int = Field(32, ge=2, description="subjects in a batch")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's learning rate")
    temperature: float = Field(0.1, gt=0, description="temperature of the similarities")
    age_sigma: float = Field(2.0, gt=0, description="width of the age kernel, in years")
    lambda_: float = Field(1.0, ge=0, alias="lambda", description="factor of the anatomical term")
    alpha_age: float = Field(1.0, ge=0, description="factor of the age term")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="number type of the forward pass")
    threads: int = Field(2, ge=1, description="processor threads of a training job")
    gpus: int = Field(0, ge=0, description="GPUs that a training job asks the scheduler for")
    nodes: int = Field(1, ge=1, description="nodes that a training job spans (torchrun, started by srun)")
    processes: int = Field(0, ge=0, description="processes per node that share each batch; 0: one per GPU")
    options: dict[str, Any] = Field({}, description="further options of the training")


class FeatureTable(Section):
    """Features of another tool."""

    table: str = Field(description="TSV or CSV with a column scan, or participant_id (and session_id)")
    columns: str = Field("all", description="regular expression of column names, or all numeric ones")


class Evaluate(Section):
    """Probes and scores."""

    tasks: list[str | dict[str, Any]] = Field(
        ["age", "sex"], description="shipped task names, paths of YAML files, or tasks written out"
    )
    baselines: list[Literal["regional-measures", "tissue-volumes", "age-sex-tiv", "majority-median"]] = Field(
        ["regional-measures", "tissue-volumes", "age-sex-tiv", "majority-median"], description="rivals in every table"
    )
    features: dict[str, FeatureTable] = Field(
        {}, description="further methods: name to a table of features, e.g. another foundation model's"
    )
    protocols: list[str | dict[str, Any]] = Field(
        ["folds"],
        min_length=1,
        description="folds, repeated, leave-site-out, transfer, few-shot, or mappings with kind, folds, repeats, "
        "column, train, test, sizes, probe",
    )
    subgroups: list[str] = Field(["sex", "age", "site"], description="columns within whose values scores are given")
    untrained: bool = Field(True, description="show the untrained encoder beside every method")
    bootstrap: int = Field(1000, ge=0, description="resamples of participants for the intervals")
    site_column: str = Field("site", description="column that names the site")


class Report(Section):
    """The page."""

    title: str = Field("AnatCL benchmark report", description="title of the page")
    interpret: bool = Field(True, description="show where predictions come from (gradient maps, regional importances)")
    interpret_people: int = Field(6, ge=1, description="unseen scans that a gradient map is the mean of")
    interpret_steps: int = Field(8, ge=1, description="points on the path of integrated gradients, per scan")


class Config(Section):
    """The whole experiment."""

    bids_dir: str = Field("demo/bids", description="BIDS dataset of T1-weighted scans")
    participants: Participants = Participants()
    seed: int = Field(0, ge=0, description="seed of everything random")
    deterministic: bool = Field(True, description="equal bytes on every run; needs preprocess: threads: 1")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run")
    failures: Failures = Failures()
    bids: Bids = Bids()
    preprocess: Preprocess = Preprocess()
    measures: Measures = Measures()
    pretrain: Pretrain = Pretrain()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @model_validator(mode="after")
    def _one_thread(self) -> Config:
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
        sentences = [_sentence(item) for item in error.errors()]
        raise InputError("the configuration is not valid: " + "; ".join(sentences) + ".", file) from None


def _sentence(item: Any) -> str:
    """One pydantic error in words, with the key as it stands in the YAML file."""
    place = [str(part) for part in item["loc"]]
    key = ".".join(place)
    if item["type"] != "extra_forbidden":
        return f"{key}: {item['msg']}" if key else str(item["msg"])
    known = _keys(place[:-1])
    close = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
    return f"there is no key '{key}' ({hint})"


def _keys(path: list[str]) -> list[str]:
    """Names of the keys of the section at `path`."""
    section: type[BaseModel] = Config
    for name in path:
        kind = section.model_fields[name].annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        section = kind
    return [field.alias or name for name, field in section.model_fields.items()]
