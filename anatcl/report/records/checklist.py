"""What TRIPOD+AI (Collins 2024) and CLAIM 2024 (Tejani 2024) ask, answered from what ran; the rest is left open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd

from anatcl.report.records import results
from anatcl.report.records.results import Sources

OPEN = ""


@dataclasses.dataclass(frozen=True)
class Item:
    """One item.

    Parameters
    ----------
    source : str
        Which of the two asks. Their numbers are left to the author: editions differ.
    asks : str
        What is asked.
    answer : str
        From the files of the run; empty where they do not say.
    """

    source: str
    asks: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Run:
    """The tables that answers are read from; each may be empty."""

    scores: pd.DataFrame
    scans: pd.DataFrame
    excluded: pd.DataFrame
    models: pd.DataFrame
    audit: pd.DataFrame
    comparisons: pd.DataFrame
    confounds: pd.DataFrame
    subgroups: pd.DataFrame
    methods: str
    config: str


def run_of(sources: Sources) -> Run:
    """Read what answers are made of."""
    here = sources.evaluate
    beside = {n: results.beside(here, f"{n}.tsv") for n in ("audit", "comparisons", "confounds", "subgroups")}
    return Run(
        results.scores(sources.benchmark),
        results.table(sources.scans),
        results.table(sources.excluded),
        results.beside(sources.pretrain, "models.tsv"),
        **beside,
        methods=results.text(sources.methods),
        config=results.text(sources.config),
    )


def checklist(run: Run) -> list[Item]:
    """Every item with its answer."""
    return [Item(source, asks, answer(run)) for source, asks, answer in ITEMS]


def _nothing(run: Run) -> str:
    return OPEN


def _participants(run: Run) -> str:
    if "participant_id" not in run.scans:
        return OPEN
    sites = run.scans["site"].nunique() if "site" in run.scans else 0
    where = f" at {sites} sites" if sites else ""
    return f"{len(run.scans)} scans of {run.scans['participant_id'].nunique()} participants{where}; see Cohort"


def _left_out(run: Run) -> str:
    return f"{len(run.excluded)} left out, each with its reason; see Exclusions" if len(run.scans) else OPEN


def _missing(run: Run) -> str:
    if run.scores.empty:
        return OPEN
    return "features: training mean; a missing target leaves a scan out of that task alone (column n_dropped)"


def _outcome(run: Run) -> str:
    return f"targets: {', '.join(sorted(run.scores['task'].unique()))}" if len(run.scores) else OPEN


def _predictors(run: Run) -> str:
    return f"methods: {', '.join(run.scores['method'].unique())}" if len(run.scores) else OPEN


def _splits(run: Run) -> str:
    if run.scores.empty:
        return OPEN
    return f"{', '.join(run.scores['protocol'].unique())}; by participant or the task's group, never by scan"


def _model(run: Run) -> str:
    if run.scores.empty:
        return OPEN
    trained = f"{len(run.models)} encoders were trained; " if len(run.models) else ""
    return f"{trained}ridge or logistic regression on frozen features, penalty by inner cross-validation"


def _measures(run: Run) -> str:
    return f"{', '.join(run.scores['metric'].unique())}, with 95 % intervals" if len(run.scores) else OPEN


def _size(run: Run) -> str:
    if "detectable" not in run.comparisons or run.comparisons["detectable"].isna().all():
        return OPEN
    return "no sample-size calculation; the smallest detectable difference is in comparisons.tsv (detectable)"


def _leaks(run: Run) -> str:
    if run.audit.empty:
        return OPEN
    counts = run.audit["verdict"].value_counts().sort_index()
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "; see Leak audit"


def _confounding(run: Run) -> str:
    if run.confounds.empty:
        return OPEN
    told = run.confounds[run.confounds["flag"].notna() & (run.confounds["flag"] != "")]
    pairs = ", ".join(f"{r.task} with {r.confound}" for r in told.head(6).itertuples())
    return f"associations of targets: {pairs or 'none'}; see Confounds"


def _fairness(run: Run) -> str:
    if run.subgroups.empty:
        return OPEN
    columns = sorted({str(s).split("=")[0] for s in run.subgroups["subgroup"]})
    return f"scores within {', '.join(columns)}, with a test of their difference; see Subgroups"


def _external(run: Run) -> str:
    away = (
        [p for p in run.scores["protocol"].unique() if str(p).startswith("leave-") or "-to-" in str(p)]
        if len(run.scores)
        else []
    )
    return f"unseen sites: {', '.join(away)}" if away else OPEN


def _calibration(run: Run) -> str:
    told = len(run.scores) and run.scores["metric"].isin(["calibration_slope"]).any()
    return "slope, intercept and curve; see Curves" if told else OPEN


def _interpretable(run: Run) -> str:
    return "attribution maps and regional shares, where the page has the section Interpretation" if run.config else OPEN


def _software(run: Run) -> str:
    return "versions and the resolved configuration are below" if run.config or run.methods else OPEN


Answer = Callable[[Run], str]
ITEMS: tuple[tuple[str, str, Answer], ...] = (
    ("TRIPOD+AI", "Sources of data", _participants),
    ("TRIPOD+AI", "Dates of the collected data", _nothing),
    ("TRIPOD+AI, CLAIM", "Setting: number and location of centres", _nothing),
    ("TRIPOD+AI, CLAIM", "Eligibility and exclusions", _left_out),
    ("TRIPOD+AI", "Outcome, and how it was assessed", _outcome),
    ("CLAIM", "How the reference standard was made, and by whom", _nothing),
    ("TRIPOD+AI", "Predictors", _predictors),
    ("TRIPOD+AI, CLAIM", "Sample size", _size),
    ("TRIPOD+AI, CLAIM", "Missing data", _missing),
    ("TRIPOD+AI, CLAIM", "How data were partitioned", _splits),
    ("CLAIM", "Disjointness of the partitions", _leaks),
    ("TRIPOD+AI, CLAIM", "Type of model, and how it was built", _model),
    ("TRIPOD+AI, CLAIM", "Measures of performance, with uncertainty", _measures),
    ("TRIPOD+AI", "Calibration", _calibration),
    ("TRIPOD+AI", "Fairness: performance in subgroups", _fairness),
    ("CLAIM", "Explainability", _interpretable),
    ("CLAIM", "Evaluation on external data", _external),
    ("beside both", "Confounding", _confounding),
    ("TRIPOD+AI", "Ethical approval", _nothing),
    ("TRIPOD+AI", "Funding", _nothing),
    ("TRIPOD+AI", "Availability of the data", _nothing),
    ("TRIPOD+AI, CLAIM", "Availability of the code and the software used", _software),
    ("TRIPOD+AI", "Involvement of patients and the public", _nothing),
    ("TRIPOD+AI, CLAIM", "Limitations", _nothing),
)
