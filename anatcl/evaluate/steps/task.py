"""The steps that the workflow calls: files in, files out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_tsv, write_tsv
from anatcl.base.words import plural
from anatcl.evaluate.data import phenotypes, units
from anatcl.evaluate.data.confounds import confounds
from anatcl.evaluate.data.features import (
    Features,
    used_columns,
)
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.protocols import evaluated_apart, make_splits, too_small
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.probes import own
from anatcl.evaluate.statistics import scores
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps import audit, control
from anatcl.evaluate.steps import confounds as confounding
from anatcl.evaluate.steps.inputs import join, load_features, scans_table
from anatcl.spec.baselines import OwnBaseline
from anatcl.spec.names import CONFOUNDS
from anatcl.spec.protocol import Design, load_design
from anatcl.spec.task import Task, load_task

log = logging.getLogger(__name__)
# Notes for metrics that look better than they are.
NOTES = {
    "mae_corrected": "MAE after bias correction uses the tested participant's own age: it is not a measure of accuracy"
}
SITE_NOTES = {
    "roc_auc": "pairs within a site, weighted by cases times controls; in the mean over sites all weigh the same",
    "r2": "around each site's own mean, as for the correlation",
}
Runner = Callable[[Problem, Features, list[Split], int], protocol.Outcome]
Found = tuple[pd.DataFrame, list[dict[str, Any]]]


@dataclasses.dataclass
class Settings:
    """How a task is evaluated.

    Attributes
    ----------
    design : str or dict, or a list of them
        Protocols, see `anatcl.evaluate.data.protocols.Design`.
    seed : int
        Of folds, inner folds, shuffles and resamples.
    n_bootstrap : int
        Resamples of participants.
    shuffles : int
        Repetitions with shuffled labels; -1 chooses by the cohort's size.
    pretrained : str or Path, optional
        Folder of fold-*/model.json of the encoders: whom they were trained on is checked.
    site_column : str
        Column of the site where the task names none.
    confounds : sequence of str
        Columns of the scans table that count as confounds beside the usual ones.
    shuffle_within : str
        Column within whose values labels are shuffled.
    own : OwnBaseline, optional
        What takes the place of the linear probes.
    """

    design: str | dict[str, Any] | Sequence[str | dict[str, Any]] = "folds"
    seed: int = 0
    n_bootstrap: int = 1000
    shuffles: int = -1
    pretrained: str | Path | None = None
    site_column: str = "site"
    confounds: Sequence[str] = ()
    shuffle_within: str = ""
    own: OwnBaseline | None = None


def run_task(
    task: str | dict[str, Any],
    method: str,
    scans: str | Path,
    folds: str | Path | None,
    out_predictions: str | Path,
    out_scores: str | Path,
    *,
    embeddings_dir: str | Path | None = None,
    seeds: int | None = None,
    features: str | Path | None = None,
    feature_set: str = "all",
    measures: str | Path | None = None,
    quality: str | Path | None = None,
    settings: Settings | None = None,
) -> None:
    """Probe one method on one task and write its predictions and scores.

    A task that the cohort cannot answer leaves no predictions and one row ``metric = skipped`` with counts and reason.
    See ``python -m anatcl evaluate task --help`` for the parameters.
    """
    settings = settings or Settings()
    wanted = load_task(task).at(settings.site_column)
    table = scans_table(scans, measures, quality)
    if feature_set == CONFOUNDS:
        given = confounds(table, wanted.target, wanted.site, settings.confounds)
    else:
        used = used_columns([wanted])
        given = load_features(table, embeddings_dir, features, feature_set, wanted.target, used, seeds)
    dealt = read_tsv(folds) if folds else None
    predictions, found = evaluate_task(wanted, method, table, given, dealt, settings)
    write_tsv(out_predictions, predictions, FLOATS)
    write_tsv(out_scores, found, FLOATS)


@dataclasses.dataclass(frozen=True)
class _Method:
    """How one method is evaluated, whatever the protocol."""

    name: str
    settings: Settings
    folds: pd.DataFrame | None = None
    runner: Runner | None = None


def evaluate_task(
    task: Task,
    method: str,
    table: pd.DataFrame,
    features: Features,
    folds: pd.DataFrame | None,
    settings: Settings,
    runner: Runner | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and scores of one method for one task; see `run_task`.

    `runner` takes the place of the probes (problem, features, splits, seed -> Outcome): fine-tuning.
    """
    given = [settings.design] if isinstance(settings.design, str | dict) else list(settings.design)
    how = _Method(method, settings, folds, runner)
    parts = [_one_design(how, task, table, features, load_design(d)) for d in given]
    rows = [row for _, found in parts for row in found]
    made = [predictions for predictions, _ in parts if len(predictions)]
    predictions = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=protocol.COLUMNS)
    predictions = predictions.assign(method=method, task=task.name)
    order = [*protocol.COLUMNS, *(c for c in predictions if c not in protocol.COLUMNS)]
    return predictions[order], pd.DataFrame(rows, columns=[*scores.COLUMNS, scores.PAIRS])


def _one_design(how: _Method, task: Task, table: pd.DataFrame, features: Features, design: Design) -> Found:
    """Predictions and rows of one protocol; a refusal is a row."""
    folds, settings = how.folds, how.settings
    try:
        problem, features = join(task, table, features)
        encoders = list(features.matrices)
        if folds is not None and encoders != [-1] and evaluated_apart(design, folds):
            audit.check_apart(problem, folds, settings.pretrained)
        splits = make_splits(design, problem, folds, encoders, settings.seed, audit.seen_by(settings.pretrained))
        unfit = too_small(design, problem, folds, settings.seed)
        found = [_skipped(how, name, Refused(why, problem)) for name, why in unfit.items()]
        found += [_or_skipped(how, problem, features, design, n, s) for n, s in splits.items()]
    except Refused as refusal:
        why = " ".join([refusal.reason, *features.notes])
        found = [_skipped(how, design.kind, Refused(why, refusal.problem))]
    defaults = {
        "method": how.name,
        "task": task.name,
        "kind": task.kind,
        "group": task.table,
        "value": np.nan,
        "low": np.nan,
        "high": np.nan,
        "seed": settings.seed,
    }
    made = [predictions for predictions, _ in found if len(predictions)]
    predictions = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=protocol.COLUMNS)
    return predictions, [defaults | row for _, part in found for row in part]


def _skipped(how: _Method, name: str, refusal: Refused) -> Found:
    """No predictions and a row that says why."""
    log.warning("%s, %s, %s skipped: %s", how.name, refusal.problem.task.name, name, refusal.reason)
    row = {"protocol": name, "metric": scores.SKIPPED, "flags": refusal.reason, "folds": 0}
    return pd.DataFrame(columns=protocol.COLUMNS), [row | scores.describe(refusal.problem)]


def _or_skipped(
    how: _Method, problem: Problem, features: Features, design: Design, name: str, splits: list[Split]
) -> Found:
    """`_evaluate`; a protocol that cannot be answered does not take the others of its kind with it."""
    try:
        return _evaluate(how, problem, features, design, name, splits)
    except Refused as refusal:
        return _skipped(how, name, refusal)


def _evaluate(
    how: _Method, problem: Problem, features: Features, design: Design, name: str, splits: list[Split]
) -> Found:
    """Predictions and rows of one protocol, audited."""
    settings = how.settings
    if settings.own and (reason := own.why_not(settings.own, problem.task.kind)):
        raise Refused(f"{reason}.", problem)
    probe = settings.own or design.probe
    warnings = audit.check_encoders(problem, splits, settings.pretrained) if settings.pretrained else []
    warnings += confounding.flags(problem, settings.confounds)
    audit.check_splits(problem, splits)
    if not how.runner:
        warnings += audit.check_features(problem, features, splits)
    if how.runner:
        name += "-finetune"
        outcome = how.runner(problem, features, splits, settings.seed)
    else:
        people = len(set(problem.groups))
        shuffles = control.shuffle_count(people) if settings.shuffles < 0 else settings.shuffles
        shuffles = shuffles if features.names else 0
        within = settings.shuffle_within if settings.shuffle_within in problem.rows else ""
        outcome = _every_seed(problem, features, splits, settings.seed, shuffles, design, within, probe)
        audit.check_untouched(problem, features, splits[0], settings.seed, probe)
    labelled = units.label(outcome.predictions, problem, name, design.column)
    rows = scores.score_rows(problem, labelled, outcome.missing_variance, settings.n_bootstrap, settings.seed)
    folds = len({s.fold for s in splits})
    value = {r["metric"]: r["value"] for r in rows}.get(control.METRIC[problem.task.kind], np.nan)
    within = settings.shuffle_within if settings.shuffle_within in problem.rows else ""
    extra, warning = control.control_rows(problem, outcome, value, folds, within)
    if warning:
        log.warning("%s: %s", problem.task.name, warning)
    marks = _joined(*scores.flags(problem, labelled), *warnings, warning, _at_end(outcome.ends), *features.notes)
    counts = {"protocol": name, "folds": folds, **scores.describe(problem, labelled)}
    notes = NOTES | (SITE_NOTES if units.sites(labelled) is not None else {})
    return labelled, [counts | {"flags": _joined(marks, notes.get(r["metric"]))} | r for r in rows + extra]


def _every_seed(
    problem: Problem,
    features: Features,
    splits: list[Split],
    seed: int,
    shuffles: int,
    design: Design,
    within: str = "",
    probe: str | OwnBaseline = "linear",
) -> protocol.Outcome:
    """Predictions with the encoders of every seed; the control is that of the first.

    What the bootstrap lacks is the mean over seeds: their probes share the training participants.
    """
    make = protocol.every(problem, probe)
    left_out = design.kind == "leave-site-out"
    whole = problem.rows[design.column].astype(str).to_numpy() if left_out else None
    first = protocol.cross_validate(problem, features, splits, seed, shuffles, make, within, whole)
    if not features.other_seeds:
        return first
    others = [protocol.cross_validate(problem, f, splits, seed, 0, make, units=whole) for f in features.other_seeds]
    made = [o.predictions.assign(seed_id=str(i)) for i, o in enumerate([first, *others])]
    lacking = pd.DataFrame([o.missing_variance for o in [first, *others]]).mean()
    missing = {str(metric): float(value) for metric, value in lacking.items()}
    return protocol.Outcome(pd.concat(made, ignore_index=True), first.controls, missing, first.ends)


def _at_end(ends: Sequence[str]) -> str:
    """A sentence on penalties of which most are at one end of their grid; the strongest says that little was learnt."""
    found = [end for end in ("strongest", "weakest") if 2 * ends.count(end) > len(ends)]
    return f"penalty at the {found[0]} end of its grid" if found else ""


def _joined(*marks: str | None) -> str:
    return "; ".join(m for m in marks if m)


def run_audit(
    scans: str | Path,
    pretrained: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    folds: str | Path | None = None,
    arrays: str | Path | None = None,
    aliases: str | Path | None = None,
    known_overlaps: str | Path | None = None,
    cohort: str = "",
) -> None:
    """Write the audit's table; abort when it found a leak.

    Raises
    ------
    LeakError
        After the table is written, when a verdict is LEAK.
    """
    volumes = None
    if arrays:
        from anatcl.pretrain.arrays import open_arrays

        packed = open_arrays(arrays)
        volumes = (packed.volumes, packed.rows)
    names = read_tsv(aliases) if aliases else None
    table = audit.audit(
        read_tsv(scans),
        pretrained,
        folds=read_tsv(folds) if folds else None,
        aliases=None if names is None else dict(zip(names["participant_id"], names["other_id"], strict=True)),
        known=audit.load_known(known_overlaps) if known_overlaps else None,
        cohort=cohort,
        volumes=volumes,
    )
    write_tsv(out, table)
    for row in table[table["verdict"] == audit.NOT_CHECKED].itertuples():
        log.warning("%s, encoder %s: %s not checked: %s.", row.method, row.encoder, row.check, row.overlap)
    leaks = table[table["verdict"] == "LEAK"]
    if len(leaks):
        first = leaks.iloc[0]
        raise audit.LeakError(
            f"{plural(len(leaks), 'check')} found leaks; {first['check']}, {first['method']}, "
            f"encoder {first['encoder']}: {first['overlap']}.",
            out,
            "Leave these participants out of the tasks, or pretrain without them.",
        )


def run_phenotypes(cohort: str | Path, source: str | Path, scans: str | Path, out: str | Path) -> None:
    """Write the scans table with the columns that a cohort's tasks need, from the release's own files in `source`."""
    table = phenotypes.add_phenotypes(read_tsv(scans), phenotypes.load_cohort(cohort), source)
    write_tsv(out, table, FLOATS)
