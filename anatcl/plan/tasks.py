"""Which tasks are scored, and the files of their interpretation."""

from __future__ import annotations

import functools
import json

from anatcl.plan.content import task_content
from anatcl.plan.methods import Methods
from anatcl.spec.config import Config
from anatcl.spec.layout import EVALUATE, INTERPRETATION
from anatcl.spec.names import REGIONAL
from anatcl.spec.protocol import Design
from anatcl.spec.section import Section
from anatcl.spec.task import Task, load_task


def as_text(told: str | Section) -> str:
    """A name or path as it is, what is written out as JSON text, as the steps of `evaluate` take it."""
    if isinstance(told, str):
        return told
    return json.dumps(told.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


class Tasks:
    """The tasks of a run.

    Parameters
    ----------
    config : Config
        The configuration.
    methods : Methods
        Who solves them.
    """

    def __init__(self, config: Config, methods: Methods) -> None:
        self.config = config
        self.methods = methods

    @functools.cached_property
    def loaded(self) -> dict[str, tuple[Task, str]]:
        """Each task by name, and its text for the step ``evaluate task``: JSON, a shipped name, or a path.

        Raises
        ------
        InputError
            A task does not exist, or something in it is wrong.
        """
        pairs = [(load_task(told), as_text(told)) for told in self.config.evaluate.tasks]
        return {task.name: (task, text) for task, text in pairs}

    @property
    def names(self) -> list[str]:
        """Names of the tasks, in the order of the configuration."""
        return list(self.loaded)

    def text(self, name: str) -> str:
        """A task as JSON text, a shipped name, or a path."""
        return self.loaded[name][1]

    def content(self, name: str) -> str:
        """A task with the content of its file, so that an edit of the file is seen as a change."""
        return task_content(self.loaded[name][0])

    def site_column(self, name: str) -> str:
        """Column of the site, for the interpretation of a task, which reads it where it harmonises and nowhere else."""
        task = self.loaded[name][0]
        return self.config.evaluate.site_column if task.harmonise else task.site

    def protocols(self) -> list[str]:
        """Protocols as words or JSON text."""
        return [_protocol(told) for told in self.config.evaluate.protocols]

    @functools.cached_property
    def maps(self) -> list[str]:
        """Files of the interpretation: per task with one direction, a map of each encoder and the regions' shares."""
        wanted = self.loaded if self.config.evaluate.interpret else {}
        names = [name for name, (task, _) in wanted.items() if task.kind != "multiclass"]
        encoders = [str(INTERPRETATION / f"{method}_{name}.npz") for name in names for method in self.methods.encoders]
        measured = REGIONAL in self.methods.baselines
        return encoders + [str(INTERPRETATION / f"{REGIONAL}_{name}.tsv") for name in names if measured]

    @functools.cached_property
    def shaken(self) -> list[str]:
        """Tables of scores on changed scans, of every method and task."""
        pairs = [(method, name) for method in self.methods.shaken for name in self.names]
        return [str(EVALUATE / method / f"{name}_perturbed.tsv") for method, name in pairs]

    def maps_dir(self) -> list[str]:
        """``--interpretation-dir DIR`` where there are maps to show."""
        return ["--interpretation-dir", str(INTERPRETATION)] if self.maps else []


def _protocol(told: str | Design) -> str:
    """As `as_text`; the kind is always said."""
    if isinstance(told, str):
        return told
    values = told.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"kind": told.kind} | values, sort_keys=True)
