"""The plan of one run, by what is asked of it: cohort, methods, tasks, parameters of rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anatcl.base.closure import package_digests
from anatcl.base.files import read_json, write_json
from anatcl.base.provenance import hardware, versions
from anatcl.base.syntax import KEPT
from anatcl.plan.cohort import Cohort
from anatcl.plan.given import linked, targets
from anatcl.plan.methods import Methods
from anatcl.plan.parameters import Imaging, Training
from anatcl.plan.tasks import Tasks
from anatcl.spec.config import Config, parse
from anatcl.spec.layout import RECORD, SAVED


class Plan:
    """What the rules need to know.

    Parameters
    ----------
    values : mapping or Config
        Resolved configuration (:func:`anatcl.plan.resolve`).
    refresh : bool
        Bring the index up to date when the cohort is first asked for. The main process does; jobs only read.

    Attributes
    ----------
    config : Config
        The configuration.
    values : dict
        The same as JSON data.
    cohort : Cohort
        Who takes part.
    methods : Methods
        What is compared.
    tasks : Tasks
        What is predicted.
    imaging, training : Imaging, Training
        Parameters of rules.
    """

    def __init__(self, values: Mapping[str, Any] | Config, refresh: bool = True) -> None:
        self.config = values if isinstance(values, Config) else parse(values)
        self.values: dict[str, Any] = self.config.model_dump(mode="json", by_alias=True)
        self.cohort = Cohort(self.config, refresh)
        self.methods = Methods(self.config)
        self.tasks = Tasks(self.config, self.methods)
        self.imaging = Imaging(self.config, self.cohort)
        self.training = Training(self.config)

    @classmethod
    def of_job(cls) -> Plan:
        """The plan as the main process saved it, for a job that may run elsewhere and later."""
        return cls(read_json(SAVED), refresh=False)

    def save(self) -> None:
        """Write the resolved configuration for jobs and for the record; an equal file is left alone."""
        if not SAVED.exists() or read_json(SAVED) != self.values:
            write_json(SAVED, self.values)
        KEPT.save()

    def through_links(self) -> Plan:
        """The same plan, with every path that the user gave reached through a link (see `anatcl.plan.given`)."""
        plan = Plan(linked(self.values))
        if "index" in vars(self.cohort):
            plan.cohort.index = self.cohort.index
        return plan

    def saved(self) -> str:
        """Path of the resolved configuration, written first."""
        self.save()
        return str(SAVED)

    def options_of_scans(self) -> str:
        """What is configured of dataset and imaging, as JSON text: the cohort's page shows no more."""
        kept = ("bids_dir", "participants", "seed", "bids", "preprocess", "measures")
        return json.dumps({name: self.values[name] for name in kept}, sort_keys=True)

    def record(self) -> None:
        """Write ``results/run.json``: what this run is made of and where it runs."""
        self.save()  # jobs read it, also those of a target that needs no index
        about = {"config": self.values, "given": targets(), "versions": versions(), "code": package_digests()}
        write_json(RECORD, about | {"hardware": hardware()})
