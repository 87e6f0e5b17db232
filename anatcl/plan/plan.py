"""The plan of one run: who is in the cohort, which files there will be, which tasks are scored."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base import failures
from anatcl.base.closure import package_digests
from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_json
from anatcl.base.provenance import hardware, versions
from anatcl.base.syntax import KEPT
from anatcl.plan.content import task_content
from anatcl.plan.given import link, targets
from anatcl.spec.config import Config, parse
from anatcl.spec.corrections import Corrections, read_corrections

log = logging.getLogger(__name__)

RESULTS = Path("results")
SAVED = RESULTS / "config.json"
FAILURES = RESULTS / "failures"
LEAVE_OUT = "ANATCL_LEAVE_OUT"  # in the environment of a pass that leaves out even what it was to retry
BASELINES = ("regional-measures", "tissue-volumes", "age-sex-tiv", "majority-median")


class Plan:
    """What the rules need to know.

    Parameters
    ----------
    values : mapping
        Resolved configuration (:func:`anatcl.plan.resolve`).
    refresh : bool
        Bring the index up to date when the cohort is first asked for. The main process does; jobs only read.
    """

    def __init__(self, values: Mapping[str, Any], refresh: bool = True) -> None:
        self.config: Config = parse(values)
        self.refresh = refresh
        self.weights: dict[str, float] = {}
        self.values: dict[str, Any] = self.config.model_dump(mode="json", by_alias=True)

    @classmethod
    def of_job(cls) -> Plan:
        """The plan as the main process saved it, for a job that may run elsewhere and later."""
        return cls(read_json(SAVED), refresh=False)

    def save(self) -> None:
        """Write the resolved configuration for jobs and for the record; an equal file is left alone."""
        if not SAVED.exists() or read_json(SAVED) != self.values:
            write_json(SAVED, self.values)
        KEPT.save()

    def record(self) -> None:
        """Write ``results/run.json``: what this run is made of and where it runs."""
        self.save()  # jobs read it, also those of a target that needs no index
        write_json(
            RESULTS / "run.json",
            {
                "config": self.values,
                "given": targets(),
                "versions": versions(),
                "code": package_digests(),
                "hardware": hardware(),
            },
        )

    # -- cohort -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """``scans.tsv``: one row per usable scan, indexed by its BIDS stem."""
        folder = RESULTS / "bids"
        if self.refresh:
            from anatcl.bids.index import refresh

            table = refresh(self.config.bids_dir, folder, self.bids_options())
            self.save()
        else:
            table = read_tsv(folder / "scans.tsv")
        return table.set_index("scan", drop=False)

    def index_file(self, name: str) -> str:
        """Path of ``scans``, ``excluded`` or ``participants`` of the index, brought up to date first."""
        _ = self.index
        return str(RESULTS / "bids" / f"{name}.tsv")

    def saved(self) -> str:
        """Path of the resolved configuration, written first."""
        self.save()
        return str(SAVED)

    def bids_options(self) -> Any:
        """Options of the index."""
        from anatcl.spec.bids import Options

        who = self.config.participants
        values = self.config.bids.model_dump()
        return Options.parse(values | {"include": who.include, "exclude": who.exclude, "query": who.query})

    @functools.cached_property
    def failed(self) -> pd.DataFrame:
        """Markers of scans that failed in an earlier pass and belong to this cohort."""
        table = failures.failed(FAILURES)
        return table[table["scan"].isin(self.index["scan"])]

    @property
    def retries(self) -> bool:
        """Whether scans that failed before are tried again; never twice in one command."""
        return self.config.failures.retry and LEAVE_OUT not in os.environ

    @functools.cached_property
    def scans(self) -> list[str]:
        """BIDS stems of the scans to work on, sorted: all usable ones but those that failed before.

        Raises
        ------
        InputError
            No scan is left, or one failed and ``failures: fatal`` is set.
        """
        settings = self.config.failures
        left_out = set() if self.retries else set(self.failed["scan"])
        if left_out and settings.fatal:
            raise InputError(
                f"{len(left_out)} scan(s) failed and failures: fatal is set ({', '.join(sorted(left_out)[:3])} ...).",
                FAILURES,
                "Mend them and run with failures: retry, or exclude them (participants: exclude).",
            )
        scans = sorted(set(self.index["scan"]) - left_out)
        strangers = sorted(self.corrections.scans - set(self.index["scan"]))
        if strangers and self.refresh:
            log.warning("preprocess: corrections names scans outside this cohort: %s", ", ".join(strangers))
        if not scans:
            raise InputError(
                "there is no scan to work on.",
                self.config.bids_dir,
                f"Read {RESULTS / 'bids' / 'excluded.tsv'} and {FAILURES}.",
            )
        return scans

    @functools.cached_property
    def images(self) -> dict[str, str]:
        """Paths of the raw images by scan (a table is slow to look up in, thousands of times)."""
        root = self.config.bids_dir
        return {scan: f"{root}/{path}" for scan, path in zip(self.index["scan"], self.index["path"], strict=True)}

    def image(self, scan: str) -> str:
        """Path of the raw image of a scan."""
        return self.images[scan]

    @functools.cached_property
    def corrections(self) -> Corrections:
        """What a person decided about single scans."""
        return read_corrections(self.config.preprocess.corrections)

    def weight(self, scan: str) -> float:
        """How much more time and memory a scan asks for than an ordinary one: by the size of its file.

        A whole head of 1 mm is 10 MB or so, compressed. Rules ask for twice as much at 36 MB (0.6 mm).
        """
        if scan not in self.weights:  # each rule asks for it twice
            path = Path(self.image(scan))
            size = path.stat().st_size / 1e6 if path.exists() else 0.0
            self.weights[scan] = 1 + max(0.0, size * (1.0 if path.suffix == ".gz" else 0.5) - 12) / 24
        return self.weights[scan]

    def given_mask(self, scan: str) -> list[str]:
        """Path of the mask that the user gives for a scan, as a list that is empty without one."""
        strip = self.config.preprocess.skullstrip
        if scan in self.corrections.masks:
            mask = Path(self.corrections.masks[scan])
            return [str(link(f"mask-{Path(scan).name}", mask.parent) / mask.name)]
        return [strip.masks.replace("{scan}", scan)] if strip.method == "mask" else []

    def skullstrip_method(self, scan: str) -> str:
        """Where the masks of a scan come from: a mended mask beats the configured method."""
        return "mask" if scan in self.corrections.masks else self.config.preprocess.skullstrip.method

    @functools.cached_property
    def chunks(self) -> dict[str, list[str]]:
        """Scans by chunk. A participant's chunk depends on his name alone, so that a new one moves nobody else."""
        count = 2 ** max(0, math.ceil(math.log2(len(self.scans) / self.config.measures.chunk)))
        width = len(str(count - 1))
        found: dict[str, list[str]] = {}
        for scan in self.scans:
            number = zlib.crc32(scan.split("/")[0].encode()) % count
            found.setdefault(f"{number:0{width}d}", []).append(scan)
        return dict(sorted(found.items()))

    # -- names --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def template(self) -> str:
        """Name of the template, as it stands in file names."""
        from anatcl.spec.template import load_spec

        return str(load_spec(self.config.preprocess.template)["name"])

    @functools.cached_property
    def space(self) -> str:
        """Space of the template, which the atlas must fit."""
        from anatcl.spec.template import load_spec

        return str(load_spec(self.config.preprocess.template)["space"])

    @functools.cached_property
    def atlas(self) -> str:
        """Name of the atlas, as it stands in file names."""
        return Path(self.config.measures.atlas).stem.replace("-", "").replace("_", "")

    @functools.cached_property
    def thickness(self) -> str:
        """Method of thickness: the configured one, or the recipe's."""
        from anatcl.spec.recipe import load_recipe

        chosen = self.config.measures.thickness
        return str(load_recipe(self.config.preprocess.recipe)["thickness"]) if chosen == "auto" else chosen

    @property
    def trained(self) -> list[str]:
        """Methods with an encoder: the configured ones and, if wanted, ``untrained``."""
        methods = list(dict.fromkeys(self.config.pretrain.methods))
        return [*methods, "untrained"] if self.config.evaluate.untrained and "untrained" not in methods else methods

    @property
    def rivals(self) -> list[str]:
        """All methods of the tables: those with an encoder, then the baselines and other tools' features."""
        return self.trained + self.untrained_rivals

    @functools.cached_property
    def untrained_rivals(self) -> list[str]:
        """Baselines, then other tools' tables of features.

        Raises
        ------
        InputError
            A table has the name of another method, or one unfit for a file.
        """
        others = list(self.config.evaluate.features)
        for name in others:
            if name in (*self.trained, *BASELINES) or not re.fullmatch("[A-Za-z0-9-]+", name):
                reason = f"evaluate: features: {name!r} is another method's name, or more than letters, digits and -."
                raise InputError(reason, None, "Rename it.")
        return [*dict.fromkeys(self.config.evaluate.baselines), *others]

    def rival(self, name: str) -> tuple[str, str]:
        """Table and feature set of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return (given.table, given.columns) if given else (str(RESULTS / "measures" / "measures.tsv"), name)

    def protocols(self) -> list[str]:
        """Protocols as words or JSON text, as the step ``evaluate task`` takes them."""
        told = self.config.evaluate.protocols
        plain = [p if isinstance(p, str) else p.model_dump(mode="json", exclude_defaults=True) for p in told]
        return [p if isinstance(p, str) else json.dumps(p, sort_keys=True) for p in plain]

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds."""
        return list(range(self.config.pretrain.folds))

    # -- tasks --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def tasks(self) -> dict[str, str]:
        """Tasks by name, each as JSON text or a shipped name or path, as the step ``evaluate task`` takes it."""
        found: dict[str, str] = {}
        for task in self.config.evaluate.tasks:
            if isinstance(task, str):
                found[Path(task).stem] = task
            else:
                found[task.name] = json.dumps(task.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return found

    def task_text(self, task: str) -> str:
        """A task with the content of its file, so that an edit of the file is seen as a change."""
        from anatcl.spec.task import load_task

        return task_content(load_task(self.tasks[task]))

    @functools.cached_property
    def maps(self) -> list[str]:
        """Files of the interpretation: per task with one direction, a map of each encoder and the regions' shares."""
        from anatcl.spec.task import load_task

        wanted = self.tasks if self.config.report.interpret else {}
        tasks = [name for name, text in wanted.items() if load_task(text).kind != "multiclass"]
        folder = RESULTS / "report" / "interpretation"
        encoders = [str(folder / f"{method}_{task}.npz") for task in tasks for method in self.trained]
        measured = "regional-measures" in self.config.evaluate.baselines
        return encoders + [str(folder / f"regional-measures_{task}.tsv") for task in tasks if measured]

    def maps_dir(self) -> list[str]:
        """``--interpretation-dir DIR`` where there are maps to show."""
        return ["--interpretation-dir", str(Path(self.maps[0]).parent)] if self.maps else []

    def limits(self) -> str:
        """QC limits and manual decisions as JSON text."""
        settings, table = self.config.preprocess, self.corrections
        accept, reject = sorted({*settings.accept, *table.accept}), sorted({*settings.reject, *table.reject})
        return json.dumps({"limits": settings.qc, "accept": accept, "reject": reject}, sort_keys=True)

    # -- parameters of rules ------------------------------------------------------------------------------------

    def recipe_part(self, *parts: str) -> str:
        """Parts of the recipe as JSON text: an edit of the recipe's file is seen by the rules it concerns."""
        from anatcl.spec.recipe import load_recipe

        recipe = load_recipe(self.config.preprocess.recipe)
        return json.dumps({part: recipe[part] for part in parts}, sort_keys=True)

    def thickness_options(self) -> str:
        """Parameters of the thickness method as JSON text."""
        return json.dumps(self.config.measures.thickness_options, sort_keys=True)

    def freesurfer_flag(self) -> list[str]:
        """``--freesurfer DIR`` where config names a folder."""
        folder = self.config.measures.freesurfer
        return ["--freesurfer", folder] if folder else []

    def crop_flag(self) -> list[str]:
        """``--crop JSON`` where config crops the packed volumes itself."""
        crop = self.config.pretrain.crop
        return [] if crop is None else ["--crop", json.dumps(crop)]

    @property
    def processes(self) -> int:
        """Processes per node that share a training's batches: as configured, else one per GPU."""
        settings = self.config.pretrain
        return settings.processes or max(1, settings.gpus // settings.nodes)

    @property
    def launcher(self) -> str:
        """What starts the training on every node of a job."""
        nodes = self.config.pretrain.nodes
        return f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1" if nodes > 1 else ""

    def training(self) -> str:
        """Everything that shapes the training, as JSON text."""
        settings = self.config.pretrain
        names = ("encoder", "epochs", "batch_size", "learning_rate", "temperature", "age_sigma", "lambda_", "alpha_age")
        values = {name: getattr(settings, name) for name in names}
        further = settings.options.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(values | {"seed": self.config.seed} | further, sort_keys=True)

    def deterministic_flag(self) -> str:
        """``--deterministic`` or ``--no-deterministic``."""
        return "--deterministic" if self.config.deterministic else "--no-deterministic"

    def failed_scans(self, _wildcards: Any = None) -> list[str]:
        """Scans left out because they failed before; a change of this list makes the table of exclusions anew."""
        return [] if self.retries else sorted(self.failed["scan"])
