"""A whole table in one command: methods and tasks from one YAML file, without the workflow.

For features that are not ours (another foundation model's, FreeSurfer's), or results of several places. An example is
``docs/results/ixi.yaml``. Words in braces in its paths are folders given with the command; other relative paths are
relative to the file.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.base.words import nearest
from anatcl.evaluate.data.confounds import confounds
from anatcl.evaluate.data.features import Features, used_columns
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.confounds import confound_table
from anatcl.evaluate.steps.gather import gather
from anatcl.evaluate.steps.inputs import load_features, scans_table
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.spec.names import CONFOUNDS, DEMOGRAPHIC
from anatcl.spec.task import Task, load_task

log = logging.getLogger(__name__)
PATHS = ("scans", "folds", "measures", "published", "quality")
PLACE = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the features of one method are.

    Parameters
    ----------
    features : str
        TSV or CSV with a column ``scan`` or ``participant_id``.
    columns : str
        Feature set or regular expression, see `anatcl.evaluate.data.features.load_table`.
    embeddings : str
        Folder of fold-*/embeddings.npz, instead of a table.
    pretrained : str
        Folder of fold-*/model.json: abort if people whom an encoder knows are tested with it.
    """

    features: str = ""
    columns: str = "all"
    embeddings: str = ""
    pretrained: str = ""


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """Content of the YAML file; see the module's text.

    Parameters
    ----------
    scans, folds, measures, published : str
        Tables; all but the first may be left out.
    tasks : list
        Shipped names, files, or tasks written out.
    methods : dict of str to Source
        In the order of the table.
    protocols : list
        See `anatcl.evaluate.data.protocols.Design`.
    subgroups : list of str
        Columns.
    seed, bootstrap, shuffles : int
        See `anatcl.evaluate.steps.task.Settings`.
    quality : str
        Table of image-quality metrics.
    confounds : list of str
        Further columns of the scans table that count as confounds.
    """

    scans: str
    tasks: list[str | dict[str, Any]]
    methods: dict[str, Source]
    folds: str = ""
    measures: str = ""
    published: str = ""
    protocols: list[str | dict[str, Any]] = dataclasses.field(default_factory=lambda: ["folds"])
    subgroups: list[str] = dataclasses.field(default_factory=list)
    seed: int = 0
    bootstrap: int = 1000
    shuffles: int = -1
    quality: str = ""
    confounds: list[str] = dataclasses.field(default_factory=list)


def load_spec(file: str | Path, places: dict[str, str]) -> TableSpec:
    """Read the file and make its paths absolute.

    Raises
    ------
    InputError
        Unknown keys, or a word in braces that is none of `places`.
    """
    data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    _known(data, TableSpec, file)

    def path(text: str) -> str:
        missing = sorted(set(PLACE.findall(text)) - set(places))
        if missing:
            raise InputError(f"no folder is given for {{{missing[0]}}}.", file, f"Add --where {missing[0]}=FOLDER.")
        return str(Path(file).parent / PLACE.sub(lambda m: str(places[m[1]]), text)) if text else ""

    methods = {}
    for name, source in data["methods"].items():
        _known(source or {}, Source, file)
        methods[name] = Source(**{k: v if k == "columns" else path(v) for k, v in (source or {}).items()})
    return TableSpec(**{**data, "methods": methods, **{k: path(data[k]) for k in PATHS if k in data}})


def _known(data: dict[str, Any], kind: type, file: str | Path) -> None:
    fields = [f.name for f in dataclasses.fields(kind)]
    for key in data:
        if key not in fields:
            raise InputError(f"unknown key {key!r}.", file, nearest(str(key), fields))


def run_table(file: str | Path, out_dir: str | Path, places: dict[str, str] | None = None) -> None:
    """Evaluate every method on every task; write predictions, scores, comparisons, refused tasks and subgroups.

    Parameters
    ----------
    file : str or Path
        YAML file, see the module's text.
    out_dir : str or Path
        Where {method}/{task}_{predictions,scores}.tsv, scores.tsv, comparisons.tsv, skipped.tsv and subgroups.tsv go.
    places : dict of str to str
        Folders for words in braces.
    """
    evaluate_table(load_spec(file, places or {}), out_dir)


def evaluate_table(spec: TableSpec, out_dir: str | Path) -> None:
    """`run_table` for what was read from a file or made by another step."""
    out = Path(out_dir)
    scans = scans_table(spec.scans, spec.measures or None, spec.quality or None)
    folds = read_tsv(spec.folds) if spec.folds else None
    tasks = [load_task(t) for t in spec.tasks]
    settings = Settings(spec.protocols, spec.seed, spec.bootstrap, spec.shuffles, confounds=spec.confounds)
    predictions: list[str | Path] = []
    scores: list[str | Path] = []
    with tqdm(total=len(spec.methods) * len(tasks), desc="methods x tasks", disable=None) as progress:
        for name, source in spec.methods.items():
            chosen = dataclasses.replace(settings, pretrained=source.pretrained or None)
            by_task = source.columns in (DEMOGRAPHIC, CONFOUNDS)
            common = None if by_task else _features(scans, source, tasks[0], tasks)
            for task in tasks:
                features = common or _features(scans, source, task, tasks, spec.confounds)
                made = evaluate_task(task, name, scans, features, folds, chosen)
                stem = out / name / task.name
                predictions.append(f"{stem}_predictions.tsv")
                scores.append(f"{stem}_scores.tsv")
                for target, table in zip((predictions[-1], scores[-1]), made, strict=True):
                    write_tsv(target, table, FLOATS)
                progress.update()
    write_tsv(out / "confounds.tsv", confound_table(tasks, scans, spec.confounds), FLOATS)
    options: dict[str, Any] = {"published": spec.published} if spec.published else {}
    gather(
        scores,
        predictions,
        out / "scores.tsv",
        scans=spec.scans,
        subgroups=spec.subgroups,
        seed=spec.seed,
        n_bootstrap=spec.bootstrap,
        **options,
    )


def _features(scans: Any, source: Source, task: Task, tasks: list[Task], extra: Sequence[str] = ()) -> Features:
    if source.columns == CONFOUNDS:
        return confounds(scans, task.target, task.site, extra)
    places = source.embeddings or None, source.features or None
    return load_features(scans, *places, source.columns, task.target, used_columns(tasks))
