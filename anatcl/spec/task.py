"""What is to be predicted: a task is data (YAML or JSON), never code."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.spec.layout import TASK_PATTERN
from anatcl.spec.names import METRICS, TABLES
from anatcl.spec.section import Count, Section, Texts, fits, one_of, shown
from anatcl.spec.yaml_file import read_yaml

FILES = (".yaml", ".yml", ".json")
SHIPPED = Path(__file__).parent / "tasks"


def canonical(value: Any) -> str:
    """Text of a value such that 1, 1.0, "1" and " 1 " agree; missing values give an empty string."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if np.isfinite(number) and number.is_integer() else text


def _labels(value: Any) -> Any:
    """Values of a column; numbers may be written as numbers."""
    items = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, dict | list | tuple) for item in items):
        raise ValueError("it must be a list of values of the target")
    return tuple(canonical(item) for item in items)


def _threshold(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    if value is None or value == "median" or number:
        return value
    raise ValueError(f"it must be a number or median, not {shown(value)}")


Labels = Annotated[tuple[str, ...], BeforeValidator(_labels)]
Name = Annotated[str, Field(min_length=1), AfterValidator(fits(TASK_PATTERN, "that cannot be in a file name"))]


# Keys that only one kind of task reads.
ONLY = {
    "binary": ("positives", "negatives", "threshold"),
    "multiclass": ("classes",),
    "regression": ("bias_correction", "gap_groups"),
}


def _apart(positives: tuple[str, ...], negatives: tuple[str, ...]) -> None:
    both = sorted(set(positives) & set(negatives))
    if both:
        raise ValueError(f"{', '.join(map(repr, both))} are both positive and negative")


class GapGroup(Section):
    """Two groups whose brain-age gaps are compared."""

    name: Name = Field(description="name of the comparison")
    column: str = Field(description="column of the scans table")
    positives: Labels = Field(description="values of the first group")
    negatives: Labels = Field(description="values of the second group")

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if not (self.positives and self.negatives):
            raise ValueError("it needs positives and negatives: values of its column")
        _apart(self.positives, self.negatives)
        return self


class Task(Section):
    """One prediction task."""

    name: Name = Field(description="used in file names and tables: letters, digits, and - _ .")
    kind: Literal["regression", "binary", "multiclass"] = Field(description="kind of the target")
    target: Annotated[str, Field(min_length=1)] = Field(description="column of the scans table")
    positives: Labels = Field(
        (),
        description="values of the target that are the positive class of a binary task; other values are left out. "
        'Numbers may be written as numbers: 1, 1.0 and "1" are the same value',
    )
    negatives: Labels = Field((), description="values of the target that are the negative class")
    classes: Labels = Field(
        (), description="classes of a multiclass target; empty: every value with enough participants"
    )
    query: str = Field("", description="pandas query over the scans table: rows to include")
    group: str = Field("participant_id", description="column whose equal values must stay in one fold")
    metrics: Texts = Field((), description="metrics to report; empty: all of the kind")
    min_participants: Count = Field(
        8, description="smallest number of participants; with fewer the task is refused (regression)"
    )
    min_per_class: Count = Field(
        4,
        description="smallest number of participants in a class; with fewer the task is refused (binary) or the "
        "class left out (multiclass)",
    )
    unit: str = Field("", description="unit of a regression target, for tables")
    threshold: Annotated[float | Literal["median"] | None, BeforeValidator(_threshold)] = Field(
        None,
        description="makes a binary task of a score: positive where the score exceeds it; instead of positives and "
        "negatives. median: the median of the training rows of each split",
    )
    site: str = Field(
        "site", description="column of the site: counted, harmonised over, and related to the brain-age gap"
    )
    covariates: Texts = Field(
        (), description="columns whose linear effect is removed from the features, fitted on the training rows"
    )
    covariates_query: str = Field(
        "",
        description="the covariates' effect is fitted on these training rows only, e.g. on controls, so that an "
        "effect of disease is not taken for one of age",
    )
    harmonise: Literal["", "combat"] = Field(
        "", description="harmonise features over sites (combat), fitted on the training rows"
    )
    preserve: Texts = Field((), description="columns whose effect harmonisation preserves")
    train_query: str = Field(
        "", description="train on these rows only; all rows are tested. Brain age is often trained on controls"
    )
    bias_correction: bool = Field(
        False,
        description="also report predictions corrected for their dependence on the target (brain age), fitted on "
        "training rows",
    )
    gap_groups: tuple[GapGroup, ...] = Field(
        (), description="groups whose brain-age gaps are compared: name, column, positives, negatives"
    )
    per_participant: Literal["all", "first"] = Field(
        "all", description="scans of a participant to use: all, or the first by name"
    )
    dataset: str = Field("", description="cohort that the task belongs to")
    table: Annotated[str, AfterValidator(lambda name: one_of(name, ("", *TABLES)))] = Field(
        "", description=f"table of the report that shows it: {', '.join(TABLES)}; empty: by its target"
    )
    note: str = Field("", description="note for the reader; not used by the workflow")

    def at(self, site_column: str) -> Self:
        """The task, its site read from `site_column` where it names no other."""
        return self.model_copy(update={"site": site_column}) if self.site == "site" else self

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.kind == "binary" and self.threshold is None and not (self.positives and self.negatives):
            raise ValueError("a binary task needs positives and negatives, or a threshold")
        _apart(self.positives, self.negatives)
        if self.target in (*self.covariates, *self.preserve):
            raise ValueError("the target is among covariates or preserve: tested rows would need it")
        return self

    @model_validator(mode="after")
    def _read(self) -> Self:
        """Refuse what a task of this kind does not read."""
        for kind, keys in ONLY.items():
            given = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
            if given and kind != self.kind:
                raise ValueError(f"a {self.kind} task does not read {given[0]}, only a {kind} task does")
        if self.threshold is not None and (self.positives or self.negatives):
            raise ValueError("give either a threshold, or positives and negatives")
        if self.covariates_query and not self.covariates:
            raise ValueError("covariates_query needs covariates, whose effect is fitted on these rows")
        if self.preserve and not self.harmonise:
            raise ValueError("preserve needs harmonise: combat, which then keeps the effect of these columns")
        return self

    @model_validator(mode="after")
    def _metrics(self) -> Self:
        known = [name for name in METRICS[self.kind] if self.bias_correction or not name.endswith("_corrected")]
        known += [f"gap_g_{group.name}" for group in self.gap_groups]
        known += ["gap_site_share"] if self.gap_groups or self.bias_correction else []
        wrong = [name for name in self.metrics if name not in known]
        if wrong:
            raise ValueError(f"metrics: {wrong[0]!r} is unknown for a {self.kind} task. {nearest(wrong[0], known)}")
        return self


def load_task(source: str | Path | dict[str, Any] | Task) -> Task:
    """Read a task from a mapping, a JSON string, a YAML or JSON file, or the name of a shipped one.

    Raises
    ------
    InputError
        There is no such task, or a key or a value of it is wrong.
    """
    if isinstance(source, Task):
        return source
    if isinstance(source, dict):
        return task_from(source)
    text = str(source)
    if text.lstrip().startswith("{"):
        try:
            return task_from(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"the task is not valid JSON: {error}.", remedy="Check quotes and commas.") from error
    path = Path(text)
    if path.is_file():
        return task_from(read_yaml(path, "task"), path)
    found = shipped_tasks()
    if text in found:
        return found[text]
    if text.endswith(FILES) or "/" in text:
        raise InputError(f"there is no file of a task {text!r}.", None, "Correct the path, or name a shipped task.")
    raise InputError(f"there is no task {text!r}.", None, f"{nearest(text, found)} Or give the path of a YAML file.")


@functools.cache
def shipped_tasks() -> dict[str, Task]:
    """All tasks that come with the package, by name: single files, and the lists in cohort files."""
    found: dict[str, Task] = {}
    for path in sorted(SHIPPED.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in data.get("tasks", [data]):
            task = task_from({**entry, "dataset": data.get("dataset", "")}, path)
            if task.name in found:
                raise InputError(f"two shipped tasks are named {task.name!r}.", path)
            found[task.name] = task
    return found


def task_from(data: Any, file: Path | None = None) -> Task:
    """Build a task from a mapping and check it."""
    if not isinstance(data, dict):
        raise InputError("a task must be a mapping with at least name, kind and target.", file=file)
    if "tasks" in data:
        names = [t.get("name") for t in data["tasks"] if isinstance(t, dict)]
        raise InputError("this file lists several tasks.", file, f"Name one of {names}, or write one to its own file.")
    return Task.parse(data, f"task {data['name']}" if data.get("name") else "the task", file)
