"""Which rows are trained on and which are tested, as configured."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from anatcl.base.errors import InputError
from anatcl.spec.section import Count, Section, Whole, several, texts
from anatcl.spec.task import canonical

Values = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(canonical(v) for v in texts(value)))]


# What each kind reads beside `probe`; few-shot deals `folds` itself where no encoder was trained.
OWN: dict[str, tuple[str, ...]] = {
    "folds": (),
    "repeated": ("folds", "repeats"),
    "leave-site-out": ("column",),
    "transfer": ("column", "train", "test"),
    "few-shot": ("sizes", "repeats", "folds"),
}


class Design(Section):
    """Which rows are trained on and which are tested; a single word is the kind."""

    kind: Literal["folds", "repeated", "leave-site-out", "transfer", "few-shot"] = Field(
        "folds",
        description="folds: the folds table, fold k with the encoder of fold k. repeated: stratified folds by "
        "participant, drawn again `repeats` times. leave-site-out: each value of `column` is tested once. transfer: "
        "trained on rows whose `column` is in `train`, tested on those in `test`. few-shot: the folds table, but "
        "only `sizes` participants of each training part, drawn `repeats` times",
    )
    folds: Annotated[Whole, Field(ge=2)] = Field(5, description="number of folds of kind repeated")
    repeats: Annotated[Whole, Field(ge=0)] = Field(
        0, description="repetitions; 0 chooses by the kind: 1 for repeated, 10 draws for few-shot"
    )
    column: str = Field("site", description="column of sites or cohorts")
    train: Values = Field((), description="values of `column` to train on (transfer)")
    test: Values = Field((), description="values of `column` to test on (transfer)")
    sizes: Annotated[tuple[Count, ...], BeforeValidator(several)] = Field(
        (8, 16, 32, 64), description="numbers of training participants (few-shot)"
    )
    probe: Literal["linear", "knn"] = Field(
        "linear", description="linear (ridge or logistic regression) or knn (nearest neighbours)"
    )

    def names(self) -> set[tuple[Any, ...]]:
        """The names of its results; two protocols must not share one."""
        if self.kind == "few-shot":
            return {(self.kind, self.probe, size) for size in (*self.sizes, "all")}
        own = [getattr(self, key) for key in OWN[self.kind]]
        return {(self.kind, self.probe, *own)}

    @model_validator(mode="after")
    def _sides(self) -> Self:
        own = ("kind", "probe", *OWN[self.kind])
        if self.kind == "transfer" and not (self.train and self.test):
            raise ValueError("transfer needs train and test: values of its column")
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(f"{', '.join(map(repr, both))} are both in train and in test")
        # By value: a configuration is written out with all its defaults for the jobs.
        fields = type(self).model_fields
        unread = [key for key in fields if key not in own and getattr(self, key) != fields[key].default]
        if unread:
            hint = "; the number of folds is pretrain: folds" if (self.kind, unread[0]) == ("folds", "folds") else ""
            raise ValueError(f"the kind {self.kind} does not read {unread[0]} (it reads {', '.join(own[1:])}){hint}")
        if self.kind == "few-shot" and not self.sizes:
            raise ValueError("few-shot needs sizes: numbers of training participants")
        return self


def load_design(source: str | dict[str, Any] | Design) -> Design:
    """Read a protocol from a word (``folds``), a JSON string or a mapping.

    Raises
    ------
    InputError
        A key or a value is unknown or out of range.
    """
    if isinstance(source, Design):
        return source
    if isinstance(source, str):
        try:
            source = json.loads(source) if source.lstrip().startswith("{") else {"kind": source}
        except json.JSONDecodeError as error:
            raise InputError(f"the protocol is not valid JSON: {error}.", remedy="Check quotes and commas.") from error
    return Design.parse(source, "protocol")
