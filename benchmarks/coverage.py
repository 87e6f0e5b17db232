"""Coverage of the intervals and rejection by the tests, in simulated cohorts of many kinds, against their bars.

Every cohort goes through the functions that make the tables. An interval is judged by the true score of its models on
fresh people (of few-shot protocols: by the mean over all draws); a test by two methods that are equally good. Constants
are fitted on settings of their own (``fit:``), never on those that judge them.

Cohorts are added to ``OUT/<setting>.jsonl``; a run that was stopped goes on where it was. Run from the root::

    python -m benchmarks.coverage --settings all --repeats 400 --out build/coverage --docs docs/statistics.md
    python -m benchmarks.coverage --fit --repeats 20
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem, make_problem
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes import cross_validation as protocol
from anatcl.evaluate.probes.probe import Make, maker
from anatcl.evaluate.statistics import compare, metrics, scores
from anatcl.evaluate.steps import control
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from benchmarks.coverage_fit import shares
from benchmarks.coverage_worlds import SETTINGS, Cohort, Setting, World, mixing_of

METRICS = {
    "regression": ("mae", "r2", "pearson_r"),
    "binary": ("roc_auc", "balanced_accuracy", "average_precision"),
}
RESAMPLES = 400
LOW, HIGH, LEVEL, FALSE_ALARM = 0.92, 0.98, 0.072, 0.01
MARKS = re.compile(r"<!-- coverage -->.*<!-- /coverage -->", re.DOTALL)


def one_cohort(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """Intervals of two equal methods with the true scores, and the tests between them."""
    key = zlib.crc32(setting.name.encode())
    rng = np.random.default_rng([seed, key])
    fixed = setting.target == "expected" or setting.sites > 0
    world = World(setting, rng, mixing_of(np.random.default_rng(key) if fixed else rng, setting.d))
    cohort = world.cohort(setting.n, setting.sites)
    fresh = fresh_people(world)
    task = load_task(setting.task)
    problem = make_problem(task, cohort.table)
    design = load_design(setting.design)
    splits = make_splits(design, problem, None, [-1], seed)
    name, chosen = next(iter(splits.items()))
    predictions, rows, lacking = [], [], {}
    for method, view in (("a", 0), ("b", 1)):
        features = Features({-1: cohort.views[view]}, np.ones(len(cohort.table), bool), [*map(str, range(setting.d))])
        shuffles = control.shuffle_count(setting.n) if setting.alarm and method == "a" else 0
        models: list[Any] = []
        whole = problem.rows[design.column].to_numpy(str) if design.kind == "leave-site-out" else None
        outcome = protocol.cross_validate(
            problem, features, chosen, seed, shuffles, keeping(problem, models), units=whole
        )
        models = models[:: 1 + shuffles]  # those of shuffled labels come after the right ones
        made = units.label(outcome.predictions, problem, name, design.column)
        table = made.assign(method=method, task="y")
        predictions.append(table)
        truth = true_scores(models, setting, fresh, view)
        found = scores.score_rows(problem, made, outcome.missing_variance, RESAMPLES, seed)
        marks = "; ".join(scores.flags(problem, made))
        for row in found:
            base = str(row["metric"])
            if base in truth:
                rows.append({"m": base, "v": row["value"], "lo": row["low"], "hi": row["high"], "t": truth[base]})
            lacking["y", name, method, base] = row[scores.PAIRS]
        rows[-1]["flags"] = marks
        if setting.gap:
            rows += [{"m": "gap_site_share", "v": r["value"], "lo": r["low"], "hi": r["high"], "t": 0.0}
                     for r in found if r["metric"] == "gap_site_share"]  # fmt: skip
        if shuffles:
            value = {r["metric"]: r["value"] for r in found}[control.METRIC[setting.kind]]
            rows.append({"m": "leak alarm", "alarm": bool(control.control_rows(problem, outcome, value, 1)[1])})
    for test in compare.compare_all(predictions, {"y": setting.kind}, RESAMPLES, seed, lacking).to_dict("records"):
        rows.append({"m": test["metric"], "p": test["p"]})
    return [row | {"seed": seed} for row in rows]


def keeping(problem: Problem, models: list[Any]) -> Callable[[Split], Make]:
    """Makes the protocol's models and keeps them in `models`, in the order of the splits."""
    make = maker(problem.task)

    def made(n_features: int) -> Any:
        models.append(make(n_features))
        return models[-1]

    return lambda split: made


def fresh_people(world: World) -> Cohort:
    """People that no method has seen: of the tested site, of new sites, or just others."""
    s = world.setting
    if s.design["kind"] == "leave-site-out":
        sites = 60
        return world.cohort(sites * s.n // s.sites, sites)
    size = 2000 if s.target == "expected" else int(np.clip(40 * s.n * s.family, 4000, 20_000))
    if s.sites and s.design["kind"] == "transfer":
        # The shift does not matter to a model without signal; truth is chance.
        return world.cohort(size // s.family, 2)
    return world.cohort(size // s.family, s.sites)


def true_scores(models: list[Any], setting: Setting, fresh: Cohort, view: int) -> dict[str, float]:
    """Mean over the fitted models of their scores on fresh people, by metric."""
    site = fresh.table["site"].to_numpy()
    by_site = setting.design["kind"] == "leave-site-out"
    found = []
    for model in models:
        table = pd.DataFrame({"y_true": fresh.table["y"], "fold": site if by_site else 0})
        if by_site:
            table = table.assign(**{units.SITE: site, units.UNIT: site})
        x = fresh.views[view]
        if setting.kind == "regression":
            table["y_pred"] = model.predict(x)[:, 0]
        else:
            decision, probability = model.decision(x), model.probability(x)
            score = decision[:, 1] - decision[:, 0]
            table = table.assign(y_pred=decision.argmax(1), score=score, prob=probability[:, 1])
        values = metrics.evaluate(table, setting.kind, np.ones((1, len(table))))
        wanted = [m for m in values if m.removesuffix(metrics.SITE_MEAN) in METRICS[setting.kind]]
        found.append({m: values[m][0] for m in wanted})
    return pd.DataFrame(found).mean().to_dict()


def file_of(out: Path, setting: Setting) -> Path:
    """Where the cohorts of a setting are kept."""
    return out / (re.sub(r"\W+", "-", setting.name) + ".jsonl")


def load(out: Path, setting: Setting) -> pd.DataFrame:
    """Rows of the cohorts that were simulated; an unfinished last line does not count."""
    file = file_of(out, setting)
    rows: list[dict[str, Any]] = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows += json.loads(line)
        except json.JSONDecodeError:
            continue
    return pd.DataFrame(rows, columns=["m", "v", "lo", "hi", "t", "p", "flags", "alarm", "seed"])


def simulate(settings: Iterable[Setting], repeats: int, out: Path) -> None:
    """Add cohorts until each setting has `repeats`."""
    out.mkdir(parents=True, exist_ok=True)
    for setting in settings:
        done = set(load(out, setting)["seed"])
        with file_of(out, setting).open("a") as stream:
            for seed in sorted(set(range(repeats)) - done):
                stream.write(json.dumps(one_cohort(setting, seed)) + "\n")
                stream.flush()


def summary(setting: Setting, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Coverage and rejection of each metric, with standard errors."""
    rows = []
    flags = "; ".join(sorted({re.sub(r"\d+", "#", f) for f in table["flags"].dropna() if f}))
    for m, part in table.groupby("m", sort=False):
        one = part.dropna(subset=["v"])
        one = one[np.isfinite(one["lo"].astype(float))]
        if setting.target == "expected":
            one = one.assign(t=one["t"].mean())
        covered = ((one["lo"] <= one["t"]) & (one["t"] <= one["hi"])).astype(float)
        tests, alarms = part["p"].dropna().astype(float) < 0.05, part["alarm"].dropna().astype(float)
        rows.append({"setting": setting.name, "n": setting.n, "d": setting.d, "metric": m, "intervals": len(one),
                     "cohorts": part["seed"].nunique(),
                     **rate("coverage", covered, one["seed"]), "tests": len(tests) or len(alarms),
                     **rate("rejected", alarms if len(alarms) else tests, None),
                     "width": float((one["hi"] - one["lo"]).astype(float).median()) if len(one) else np.nan,
                     "flags": flags})  # fmt: skip
    return rows


def rate(name: str, hits: pd.Series, cohort: pd.Series | None) -> dict[str, float]:
    """A share with its standard error; intervals of one cohort count together."""
    if not len(hits):
        return {name: np.nan, f"{name}_se": np.nan}
    each = hits.astype(float) if cohort is None else hits.groupby(cohort.to_numpy()).mean()
    share = float(each.mean())
    floor = (share * (1 - share) + 0.25 / len(each)) / len(each)
    return {name: share, f"{name}_se": float(np.sqrt(max(each.var(ddof=1) / len(each), floor / 2)))}


def verdict(row: dict[str, Any]) -> str:
    """Whether a row holds its bars, or the rule that flags it; "undecided" within two standard errors of a bar."""
    most = FALSE_ALARM if row["metric"] == "leak alarm" else LEVEL
    beyond = {
        "coverage": max(LOW - row["coverage"], row["coverage"] - HIGH),
        "rejection": row["rejected"] - most,
    }
    # The standard error that a share at the bar itself has: 40 of 40 is no proof of more than 98 %.
    bar = {"coverage": HIGH if row["coverage"] > HIGH else LOW, "rejection": most}
    errors = {
        "coverage": max(row.get("coverage_se", 0.0), at_bar(bar["coverage"], row.get("cohorts", 0))),
        "rejection": max(row.get("rejected_se", 0.0), at_bar(bar["rejection"], row.get("cohorts", 0))),
    }
    wrong = [name for name, much in beyond.items() if np.isfinite(much) and much > 0]
    if not wrong:
        return "holds"
    if row["flags"]:
        return "flagged"
    sure = [name for name in wrong if beyond[name] > 2 * errors[name]]
    return f"outside: {', '.join(sure)}" if sure else "undecided"


def at_bar(share: float, cohorts: float) -> float:
    """Standard error of a share of so many cohorts; 0 where their number is not known."""
    return float(np.sqrt(share * (1 - share) / cohorts)) if cohorts else 0.0


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """The table of the documentation."""
    lines = ["| setting | units, features | metric | intervals | 95 % interval covers | equal methods differ | |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        cells = [
            f"{100 * row[k]:.1f} ± {100 * row[k + '_se']:.1f} %" if np.isfinite(row[k]) else missing
            for k, missing in (("coverage", "—"), ("rejected", "not tested"))
        ]
        lines.append(
            f"| {row['setting']} | {row['n']}, {row['d']} | {row['metric']} | {row['intervals']} "
            f"| {' | '.join(cells)} | {verdict(row)} |"
        )
    return "\n".join(lines)


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=["all"], metavar="NAME", help="all, or parts of their names")
    parser.add_argument("--repeats", type=int, default=200, metavar="N", help="cohorts of each setting")
    parser.add_argument(
        "--out", type=Path, default=Path("build/coverage"), metavar="DIR", help="where cohorts are kept"
    )
    parser.add_argument("--fit", action="store_true", help="count what cancels in tests, on settings of their own")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the table between its marks in this file")
    args = parser.parse_args()
    wanted = [s for s in SETTINGS if s.fit == args.fit]
    if args.settings != ["all"]:
        wanted = [s for s in wanted if any(part in s.name for part in args.settings)]
    if args.fit:
        print(shares(wanted, args.repeats).to_string(index=False))
        return
    simulate(wanted, args.repeats, args.out)
    rows = [row for s in wanted for row in summary(s, load(args.out, s))]
    (args.out / "summary.json").write_text(json.dumps(rows, indent=1))
    text = to_markdown(rows)
    print(text)
    if args.docs:
        made = f"<!-- coverage -->\n{text}\n<!-- /coverage -->"
        args.docs.write_text(MARKS.sub(lambda _: made, args.docs.read_text()))


if __name__ == "__main__":
    main()
