"""Options of a pretraining run; the defaults are the published recipe, and are written only here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from anatcl.base.named import NAMED, named, plugins
from anatcl.spec.augmentation import Augmentation
from anatcl.spec.layout import METHOD_PATTERN
from anatcl.spec.names import BASELINES, RIVALS, encoders, methods, trained_methods
from anatcl.spec.section import Count, NotNegative, Positive, Real, Section, Whole, one_of, shown, texts


def _joint_name(name: str) -> str:
    """A name that can stand in paths and is nobody else's."""
    if not re.fullmatch(METHOD_PATTERN, name) or name in (*methods(), *BASELINES, *RIVALS):
        raise ValueError(f"{name!r} is another method's name, or more than letters, digits and -; rename it")
    return name


def _some(parts: dict[str, float]) -> dict[str, float]:
    if not parts:
        raise ValueError("it must name one method at least, with its weight")
    return parts


Part = Annotated[str, AfterValidator(lambda name: one_of(name, trained_methods()))]
JointName = Annotated[str, AfterValidator(_joint_name)]
Parts = dict[Part, Positive]
# In a configuration an objective may be empty until `anatcl.spec.check`, which says so after any wrong part.
Joint = dict[JointName, Parts]
Encoder = Annotated[str, AfterValidator(lambda name: _encoder(name))]


def _encoder(name: str) -> str:
    """One of our networks, of an installed package's, or ``module:Class``."""
    return name if NAMED.fullmatch(name) else str(one_of(name, (*encoders(), *plugins("anatcl.encoders"))))


class Own(Section):
    """A loss of the user's own, trained as a method."""

    loss: Annotated[str, AfterValidator(named)] = Field(description="module:Class or file.py:Class, see extend.md")
    arguments: dict[str, Any] = Field({}, description="keyword arguments of that class")
    views: Count = Field(2, description="views of each participant in a batch")
    augment: bool = Field(False, description="whether views are augmented")


def _compile(value: bool | str) -> bool | str:
    if value not in (True, False, "auto"):
        raise ValueError(f"it should be auto, true or false, not {shown(value)}")
    return value


def _yes_or_names(value: Any) -> Any:
    return value if isinstance(value, bool) else texts(value)


# For all methods alike, or for those that are named: with a joint objective of one part both stand in one run.
InMethods = Annotated[bool | tuple[str, ...], BeforeValidator(_yes_or_names)]


def _chunk(value: int) -> int:
    if value == 1 or value < 0:
        raise ValueError(f"it should be 0 or at least 2, since BatchNorm needs several participants, not {value}")
    return value


def _of_methods(annotation: Any) -> bool:
    """Whether an option is told for all methods, or names those that it is for."""
    return get_args(annotation) == (bool, tuple[str, ...])


Compile = Annotated[bool | str, BeforeValidator(_compile)]


class Common(Section):
    """Options in the section ``pretrain`` itself."""

    encoder: Encoder = Field(
        "resnet18", description=f"network: {', '.join(encoders())}, or module:Class of a network of your own"
    )
    epochs: Count = Field(300, description="passes over the training scans")
    batch_size: Annotated[Whole, Field(ge=2)] = Field(32, description="participants in a batch, over all processes")
    learning_rate: Positive = Field(1e-4, description="the optimiser's learning rate")
    temperature: Positive = Field(0.1, description="temperature of the similarities: divides cosines")
    age_sigma: Positive = Field(2.0, description="width of the age kernel, in years")
    lambda_: NotNegative = Field(1.0, alias="lambda", description="factor of the anatomical term")
    alpha_age: NotNegative = Field(1.0, description="factor of the age term; with 0 AnatCL needs no ages")


class Further(Section):
    """Options in ``pretrain: options``."""

    pooling: Literal["average", "grid"] = Field(
        "average",
        description="last pool of the encoder: over the whole volume, or over each of 2 x 2 x 2 cells, which keeps "
        "location and makes the embedding eight times as long",
    )
    optimiser: Literal["adam", "adamw"] = Field(
        "adam", description="adam adds the weight decay to the gradient, adamw shrinks the weights by it"
    )
    weight_decay: NotNegative = Field(5e-5, description="the optimiser's weight decay")
    schedule: Literal["step", "cosine", "constant"] = Field(
        "step",
        description="learning rate over time: lr_decay every lr_decay_epochs epochs, half a cosine to 0, or none",
    )
    warmup_steps: Annotated[Whole, Field(ge=0)] = Field(
        0, description="steps over which the learning rate rises to its value"
    )
    clip_norm: NotNegative = Field(0.0, description="largest norm of the gradient, which is scaled down to it; 0: none")
    ema: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.0,
        description="decay of the moving average of the weights, which is then what is written, e.g. 0.999; 0: none",
    )
    lr_decay: Positive = Field(
        0.9, description="schedule step: the learning rate is multiplied by it every lr_decay_epochs epochs"
    )
    lr_decay_epochs: Count = Field(10, description="see lr_decay")
    rank_temperature: Positive = Field(2.0, description="Rank-N-Contrast's temperature, which divides distances")
    age_bin: Positive = Field(2.0, description="width of SupCon's bins, in years")
    standardise: InMethods = Field(
        False,
        description="anatcl-global and anatcl-local: z-score each measure over the training participants before the "
        "cosine; false: cosines of raw measures, the published reading; or a list of methods",
    )
    permuted: InMethods = Field(
        False,
        description="a control: measures are exchanged among training participants of equal sex and age decade, so "
        "that anatomical methods learn from the measures of others; true: in all methods; or a list of methods",
    )
    missing_measures: Literal["impute", "drop"] = Field(
        "impute",
        description="a scan that lacks some measures gets their mean given age and sex, estimated on the training "
        "participants (impute), or is left out in all methods (drop)",
    )
    augment: Augmentation = Field(
        "auto",
        description="auto: the method's own choice (none, except for SimCLR); none; or transforms by name. With "
        "augmentation each of the two views is embedded",
    )
    chunk: Annotated[Whole, AfterValidator(_chunk)] = Field(
        0,
        description="participants embedded at once: a batch then needs the memory of a chunk, and a second forward "
        "pass; BatchNorm takes its statistics from the chunk; 0: the whole batch",
    )
    accumulate: Count = Field(
        1, description="batches whose gradients are summed before a step; each keeps its own negatives"
    )
    max_steps: Annotated[Whole, Field(ge=0)] = Field(0, description="stop after this many optimiser steps; 0: no limit")
    probe_every: Annotated[Whole, Field(ge=0)] = Field(0, description="epochs between two early probes; 0: none")
    compile: Compile = Field("auto", description="use torch.compile; auto: on one GPU where it works")
    tensorboard: bool = Field(
        False, description="write the history for TensorBoard too (its package must be installed)"
    )

    def of(self, method: str) -> Self:
        """The options as one method sees them: yes or no where methods are named."""
        named = {name: getattr(self, name) for name in IN_METHODS}
        own = {name: method in value for name, value in named.items() if not isinstance(value, bool)}
        return self.model_copy(update=own) if own else self


IN_METHODS = tuple(name for name, field in Further.model_fields.items() if _of_methods(field.annotation))


class Options(Further, Common):
    """Hyperparameters of one run: `Common`, `Further`, the seed and joint objectives."""

    seed: Annotated[Whole, Field(ge=0)] = Field(0, description="seed of all random numbers")
    joint: dict[JointName, Annotated[Parts, AfterValidator(_some)]] = Field(
        {}, description="joint objectives by name: methods and their weights"
    )
    own: dict[JointName, Own] = Field({}, description="losses of the user's own by name")

    @classmethod
    def names(cls) -> list[str]:
        """Names of all options."""
        return list(cls.model_fields)

    @classmethod
    def parse(cls, values: Mapping[str, Any], what: str = "pretrain option", file: str | Path | None = None) -> Self:
        """Make options from a mapping; ``lambda`` is `lambda_`; see `Section.parse`."""
        return super().parse(values, what, file)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as a dictionary, ``lambda`` under its own name."""
        return self.model_dump(by_alias=True)


def default(name: str) -> Any:
    """The default of an option, for losses that are made without options."""
    return Options.model_fields[name].default
