"""The page `docs/results/claim.md` and its drawing, from the cells of `benchmarks.claim`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.files import read_json, write_json, write_text
from anatcl.evaluate.statistics import bootstrap, compare
from anatcl.evaluate.statistics.multiple import holm
from benchmarks.claim_cells import ANATOMICAL, ATTEMPT, TABLES, TWIN, Found, load

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "claim.json"
DEVIATIONS = ROOT / "benchmarks" / "results" / "claim_deviations.md"  # the one part that is written by hand
PAGE = ROOT / "docs" / "results" / "claim.md"
FOREST = ROOT / "docs" / "results" / "claim" / "forest.svg"
NONE, RIDGE, UNTRAINED = "none", "voxel-ridge", "untrained"
POOLINGS = ("average", "grid")
LEVEL = 0.05
# Endpoint: its name, the sign of better, digits.
ENDPOINTS = {
    "decode": ("decode, R2", 1, 3),
    "auc-cortical": ("cortical, AUC", 1, 3),
    "auc-ventricular": ("ventricular, AUC", 1, 3),
    "few-cortical": ("few labels, cortical", 1, 3),
    "few-ventricular": ("few labels, ventricular", 1, 3),
    "robust-cortical": ("robust, cortical", 1, 3),
    "robust-ventricular": ("robust, ventricular", 1, 3),
    "age": ("age, MAE (years)", -1, 2),
    "sex": ("sex, AUC", 1, 3),
}
GENERAL = ("auc-cortical", "auc-ventricular", "few-cortical", "few-ventricular")
ROBUST = ("robust-cortical", "robust-ventricular")
Row = dict[str, Any]
Key = tuple[str, str]


def write(folder: Path | None, real: Path | None) -> None:
    """Collect results where folders are given, and write the page."""
    results = read_json(RESULTS) if RESULTS.is_file() else {}
    if folder is not None and (folder / "scores").is_dir():
        results["a"] = summary(folder)
    if folder is not None and (folder / "kernels.json").is_file():
        results["c"] = read_json(folder / "kernels.json")
    if real is not None:
        results["b"] = summary(real)
    if folder is not None or real is not None:
        write_json(RESULTS, results)
    write_text(FOREST, forest(results["a"]["twins"]))
    write_text(PAGE, page(results))


# -- numbers ----------------------------------------------------------------------------------------------------------


def summary(folder: Path) -> dict[str, Any]:
    """Numbers and comparisons of all scored cells of a folder."""
    found: dict[Key, dict[str, Found]] = {}
    details: dict[str, Any] = {}
    for file in sorted((folder / "scores").glob("*/*.json")):
        key = (file.stem, file.parent.name)
        found[key], details["/".join(key)] = load(file.with_suffix(""))
        few = folder / "few" / file.relative_to(folder / "scores")
        if few.is_file():
            more, detail = load(few.with_suffix(""))
            found[key] |= more
            details["/".join(key)] |= detail
    names = [e for e in ENDPOINTS if any(e in one for one in found.values())]
    poolings = [p for p in POOLINGS if any(key[1] == p for key in found)]
    anatomical = [(m, p) for m, p in itertools.product(ANATOMICAL, poolings) if (m, p) in found]
    networks = [key for key in found if key[1] != NONE and not key[0].endswith(TWIN) and key[0] != UNTRAINED]
    return {
        "arguments": read_json(folder / "arguments.json"),
        "machine": read_json(folder / "machine.json") if (folder / "machine.json").is_file() else {},
        "numbers": [number(key, e, one[e], details) for key, one in found.items() for e in names if e in one],
        "twins": tested(found, names, [(k, (k[0] + TWIN, k[1])) for k in anatomical]),
        "ridge": tested(found, names, [(k, (RIDGE, NONE)) for k in networks]),
        "untrained": tested(found, names, [(k, (UNTRAINED, k[1])) for k in networks if k[0] != ATTEMPT]),
        "attempt": tested(found, names, [((ATTEMPT, "grid"), ("regress", "grid"))]),
        "reasons": tested(
            found,
            names,
            [(("regress", "grid"), ("regress", "average")), (("regress", "grid"), ("y-aware", "grid"))],
        ),
        "details": {k: {n: v for n, v in d.items() if n != "decode"} for k, d in details.items()},
        "decode_by_kind": {k: by_kind(d["decode"]) for k, d in details.items() if d.get("decode")},
    }


def by_kind(values: dict[str, float]) -> dict[str, float]:
    """Mean R2 of each kind of measure."""
    kinds = sorted({name.partition("_")[0] for name in values})
    return {k: round(float(np.mean([v for n, v in values.items() if n.startswith(f"{k}_")])), 4) for k in kinds}


def number(key: Key, endpoint: str, one: Found, details: dict[str, Any]) -> Row:
    """A value with its interval."""
    extra, freedom = one.replicates.draw_variance
    lacking = 0.0 if np.isnan(one.lacking) else one.lacking
    low, high = bootstrap.interval(one.replicates.values, lacking, n=one.n, extra=extra, extra_freedom=freedom)
    if endpoint.startswith(("auc", "few", "sex")):
        low, high = max(low, 0.0), min(high, 1.0)
    about = {"method": key[0], "pooling": key[1], "endpoint": endpoint, "seeds": details["/".join(key)]["seeds"]}
    by_seed = [round(float(v), 4) for v in one.replicates.draws.get("seed_id", ())]
    return about | {"value": float(one.replicates.values[0]), "low": low, "high": high, "by_seed": by_seed}


def tested(found: dict[Key, dict[str, Found]], names: Sequence[str], pairs: Sequence[tuple[Key, Key]]) -> list[Row]:
    """Paired differences; Holm's correction over the pairs of each endpoint."""
    rows: list[Row] = []
    for endpoint in names:
        family = []
        for a, b in pairs:
            if a in found and b in found and endpoint in found[a] and endpoint in found[b]:
                one, other = found[a][endpoint], found[b][endpoint]
                test = compare.paired(one.replicates - other.replicates, one.n, one.folds, one.lacking + other.lacking)
                about = {"method": a[0], "pooling": a[1], "than": b[0], "than_pooling": b[1], "endpoint": endpoint}
                family.append(about | {k: test[k] for k in ("difference", "low", "high", "p", "detectable")})
        for row, p in zip(family, holm(np.array([r["p"] for r in family])), strict=True):
            rows.append(row | {"p_holm": float(p)})
    return rows


def shown(row: Row) -> int:
    """1 where a difference is shown to be better, -1 where worse, else 0."""
    if not row["p_holm"] < LEVEL:
        return 0
    return int(np.sign(row["difference"]) * ENDPOINTS[row["endpoint"]][1])


def verdicts(twins: Sequence[Row]) -> list[Row]:
    """Per method and pooling, what of the claim stands by the design's rules."""
    rows = []
    for key in dict.fromkeys((r["method"], r["pooling"]) for r in twins):
        own = {r["endpoint"]: shown(r) for r in twins if (r["method"], r["pooling"]) == key}
        parts = [[own[e] for e in part if e in own] for part in (GENERAL, ROBUST)]
        general, robust = (max(p, default=0) > 0 and min(p, default=0) >= 0 for p in parts)
        worse = [e for e, sign in own.items() if sign < 0]
        holds = own.get("decode", 0) > 0
        about = {"method": key[0], "pooling": key[1], "holds": holds, "general": general, "robust": robust}
        rows.append(about | {"worse": worse})
    return rows


# -- words ------------------------------------------------------------------------------------------------------------


def page(results: dict[str, Any]) -> str:
    """The page."""
    a = results["a"]
    parts = [
        "# The claim, tested",
        "The [design](claim_design.md) was committed before the first run. This page and its numbers are written by "
        "`python -m benchmarks.claim page`; nothing in it was written by hand but the deviations.",
        "## Reading",
        *reading(a, results.get("b"), results.get("c")),
        "## Method minus its permuted twin",
        "![Differences between each method and its permuted twin, by endpoint, with 95 % intervals](claim/forest.svg)",
        "Right of the line the method is better than its twin. Filled: below 5 % after Holm's correction over the "
        "differences of that endpoint. Circles: average pooling, squares: grid. Intervals wider than a panel end at "
        "its edge.",
        table(a["twins"], "Difference [95 % interval], p after Holm"),
        "## Numbers",
        numbers(a["numbers"]),
        "`robust` is the change of AUC under perturbation, mean of five. Rivals and tables of measures have no seeds.",
        unsteady(a["numbers"]),
        "R2 of the measures by kind (mean over 68 regions):",
        kinds(a["decode_by_kind"]),
        "AUC by number of labels, and change of AUC by perturbation:",
        by_detail(a["details"], "few-"),
        by_detail(a["details"], "robust-"),
        "## Beside ridge from voxels",
        "Each network less `voxel-ridge`; Holm over the networks of an endpoint.",
        table(a["ridge"], "Difference"),
        "## Beside untrained encoders",
        "Each network less the untrained encoders of the same pooling.",
        table(a["untrained"], "Difference"),
        "## The attempt, and what the reason is",
        attempt(a),
        "## Data B: real heads",
        *real(results.get("b")),
        "## Data C: kernels on real tables",
        *kernels(results.get("c")),
        "## What ran",
        *ran(a),
        "## Deviations",
        DEVIATIONS.read_text(encoding="utf-8").strip() if DEVIATIONS.is_file() else "None.",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def reading(a: dict[str, Any], b: dict[str, Any] | None, c: dict[str, Any] | None) -> list[str]:
    """What stands, what does not, what the data cannot say."""
    lines = [beside_ridge(a)]
    found = verdicts(a["twins"])
    both = [f for f in found if f["general"] and f["robust"]]
    some = [f for f in found if f["general"] != f["robust"]]
    held = [f for f in found if f["holds"]]
    lines.append(
        f"**What stands.** {names(both)} general and robust by the design's rules: the paper's sentence stands for it."
        if both
        else "**What stands.** For no method and no pooling does the sentence of the paper stand whole: none is shown "
        "to be both more general and more robust than its permuted twin."
    )
    lines.append(
        f"In part: {'; '.join(partly(f) for f in some)}."
        if some
        else "No method is shown to be one of the two, either."
    )
    lines.append(
        f"{names(held)} more of the regional measures than the permuted twin (decode), which is what people's own "
        "anatomy in pretraining gives."
        if held
        else "No method is shown to hold more of the regional measures than its permuted twin (decode)."
    )
    lines += [worse(found), beside_untrained(a), sharp(c), unseen(a, b, c)]
    return [line for line in lines if line]


def names(found: Sequence[Row]) -> str:
    """Methods by name with a verb: ``a (grid) and b (average) are`` or ``hold``."""
    words = [f"`{f['method']}` ({f['pooling']})" for f in found]
    joined = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    verb = "hold" if found[0].get("holds") and not (found[0]["general"] and found[0]["robust"]) else "be"
    return joined + ({"hold": (" holds", " hold"), "be": (" is", " are")}[verb][len(words) > 1])


def partly(f: Row) -> str:
    """One method that is general or robust."""
    return f"`{f['method']}` ({f['pooling']}) is {'general' if f['general'] else 'robust'}"


def worse(found: Sequence[Row]) -> str:
    """Where a method is worse than its twin."""
    bad = [f"`{f['method']}` ({f['pooling']}): {', '.join(f['worse'])}" for f in found if f["worse"]]
    return (
        f"Worse than the twin: {'; '.join(bad)}."
        if bad
        else "No method is shown to be worse than its twin in anything."
    )


def beside_ridge(a: dict[str, Any]) -> str:
    """Whether any network beats ridge from voxels to measures; the page opens with it."""
    wanted = ("decode", "auc-cortical", "auc-ventricular")
    won = [r for r in a["ridge"] if r["endpoint"] in wanted and shown(r) > 0]
    lost = [r for r in a["ridge"] if r["endpoint"] in wanted and shown(r) < 0]
    if won:
        what = "; ".join(f"`{r['method']}` ({r['pooling']}) in {r['endpoint']}" for r in won)
        return f"**Networks that beat ridge regression from voxels to the measures:** {what}."
    total = len([r for r in a["ridge"] if r["endpoint"] in wanted])
    steady = [r for r in a["ridge"] if r["endpoint"] in ROBUST]
    firm = len([r for r in steady if shown(r) > 0])
    loss = f" Networks are shown to lose less under perturbation than it in {firm} of {len(steady)} comparisons; "
    loss += "they also have less to lose, since their AUC is lower."
    return (
        "**No network beats ridge regression from voxels to the measures** in decoding or in either diagnosis; it is "
        f"shown to be better in {len(lost)} of {total} comparisons.{loss if steady else ''} {reason(a)}"
    )


def reason(a: dict[str, Any]) -> str:
    """What an experiment found about why."""
    found = {(r["method"], r["than"], r["than_pooling"], r["endpoint"]): r for r in (*a["reasons"], *a["attempt"])}
    asked = {
        "pooling (grid less average, `regress`)": ("regress", "regress", "average"),
        "objective (`regress` less `y-aware`, grid)": ("regress", "y-aware", "grid"),
        "length of training (the attempt less `regress`, grid)": (ATTEMPT, "regress", "grid"),
    }
    words = []
    for name, key in asked.items():
        row = found.get((*key, "decode"))
        if row:
            words.append(f"{name} {span(row, 3)}{', shown' if shown(row) else ', not shown'}")
    return f"Reasons looked for, in R2 of decoding: {'; '.join(words)}. {closed(a)}" if words else ""


def closed(a: dict[str, Any]) -> str:
    """How much of the gap in decoding the attempt closes."""
    value = {(r["method"], r["pooling"]): r["value"] for r in a["numbers"] if r["endpoint"] == "decode"}
    keys = ((RIDGE, NONE), ("regress", "grid"), (ATTEMPT, "grid"))
    if not all(key in value for key in keys):
        return ""
    ridge, before, after = (value[key] for key in keys)
    return (
        f"The stated attempt goes from {before:.2f} to {after:.2f}, where `voxel-ridge` has {ridge:.2f}: "
        f"{(after - before) / (ridge - before):.0%} of the gap. What is left none of the three explains; more "
        "people and a deeper network were not tried."
    )


def beside_untrained(a: dict[str, Any]) -> str:
    """What any training gives beyond the untrained encoder, by endpoint."""
    parts, total = [], len({(r["method"], r["pooling"]) for r in a["untrained"]})
    for end in dict.fromkeys(r["endpoint"] for r in a["untrained"]):
        rows = [r for r in a["untrained"] if r["endpoint"] == end]
        for sign, word in ((1, "better"), (-1, "worse")):
            found = [f"`{r['method']}` ({r['pooling']})" for r in rows if shown(r) == sign]
            if found:
                who = f"{len(found)} networks" if len(found) > 4 else ", ".join(found)
                parts.append(f"{ENDPOINTS[end][0]}: {word}, {who}")
    if not parts:
        return "No network is shown to differ from untrained encoders in anything."
    return (
        f"**Beside untrained encoders**, shown of {total} networks: {'; '.join(parts)}. In the rest nothing is shown."
    )


def sharp(c: dict[str, Any] | None) -> str:
    """What the real table says of the published kernels."""
    if c is None:
        return ""
    raw, own = c["kernels"]["anatcl-global"], c["kernels"]["anatcl-global-z"]
    return (
        f"**Kernels on a real table.** On {c['people']} people of AOMIC the published kernel of `anatcl-global` has "
        f"{raw['perplexity']:.4%} of the perplexity of equal weights, and {raw['gradient_share']:.2%} of its gradient "
        f"depends on who is who; standardised, {own['perplexity']:.0%} and {own['gradient_share']:.0%}."
    )


def unseen(a: dict[str, Any], b: dict[str, Any] | None, c: dict[str, Any] | None) -> str:
    """What the data cannot say."""
    smallest = {
        e: float(
            np.median([r["detectable"] for r in a["twins"] if r["endpoint"] == e and np.isfinite(r["detectable"])])
        )
        for e in dict.fromkeys(r["endpoint"] for r in a["twins"])
    }
    text = ", ".join(f"{ENDPOINTS[e][0]} {v:.{ENDPOINTS[e][2]}f}" for e, v in smallest.items())
    told = a["arguments"]
    return (
        f"**What the data cannot say.** These are simulated people, {told.get('encoder')} at 8 mm, {told.get('steps')} "
        f"steps and {told.get('seeds')} seeds: far less than the published recipe. A difference that is not shown may "
        f"be there: the smallest that a single test (before Holm) would have found in four of five such runs is, in "
        f"the median, {text}. "
        + ("Real heads: see data B. " if b else "No real heads were run (data B): nothing here is about them. ")
        + ("The kernels were looked at on one real table (data C)." if c else "")
    )


def attempt(a: dict[str, Any]) -> str:
    """The stated attempt beside ridge from voxels and beside what it starts from."""
    rows = [r for r in a["ridge"] if r["method"] == ATTEMPT] + a["attempt"]
    if not rows:
        return "The attempt was not run."
    won = [r["endpoint"] for r in rows if r["than"] == RIDGE and shown(r) > 0]
    said = f"It beats `voxel-ridge` in {', '.join(won)}." if won else "It does not beat `voxel-ridge` in anything."
    return f"{said}\n\n" + table(rows + a["reasons"], "Difference", than=True)


def real(b: dict[str, Any] | None) -> list[str]:
    """Data B."""
    command = (
        "```sh\nanatcl run -- --cores 2 --config bids_dir=/data/ixi 'pretrain={voxel_mm: 4}' --until pack\n"
        "python -m benchmarks.claim b --folder scratch/claim_ixi --arrays results/pretrain/arrays \\\n"
        "    --measures results/measures/measures.tsv --decode /data/ixi/derivatives/freesurfer/desikan_thickness.tsv\n"
        "python -m benchmarks.claim page --real scratch/claim_ixi\n```"
    )
    if b is None:
        return ["Not run: the maps of the heads were not finished.", command]
    people = b["arguments"]["people"]
    found = sum(shown(r) != 0 for r in b["twins"])
    said = (
        f"{people} heads. Of {len(b['twins'])} differences from a permuted twin {found or 'none'} is shown after Holm."
    )
    return [said, table(b["twins"], "Difference from the twin"), numbers(b["numbers"]), command]


def kernels(c: dict[str, Any] | None) -> list[str]:
    """Data C."""
    if c is None:
        return ["Not run."]
    tasks = {"age": "age, R2", "sex": "sex, AUC", "site": "site, balanced accuracy"}
    held = [t for t in tasks if any(t in k["holds"] for k in c["kernels"].values())]
    head = "| kernel | " + " | ".join(tasks[t] for t in held) + " | perplexity | share of gradient |"
    lines = [head, "|---" * (len(held) + 3) + "|"]
    for name, one in c["kernels"].items():
        cells = [span(one["holds"][t], 2) if t in one["holds"] else "" for t in held]
        more = [f"{one[k]:.4f}" if k in one else "" for k in ("perplexity", "gradient_share")]
        lines.append(f"| {name} | " + " | ".join([*cells, *more]) + " |")
    about = (
        f"{c['people']} people of AOMIC ID1000, {', '.join(c['kinds'])} of {c['regions']} regions. Shown is what the "
        "ten first components of each kernel hold, in five folds; `measures` is the table itself. Perplexity is a "
        "share of uniform, and 1 says nothing. The share of gradient is how much of the term's gradient depends on who "
        "is who. `y-aware` is the age kernel. With one measure for each region the cosine of a region is 0, 1 or -1 "
        "(`anatcl-local`, `anatcl-local-z`); the published one has three measures."
    )
    return [about, "\n".join(lines)]


def ran(a: dict[str, Any]) -> list[str]:
    """Numbers of the run."""
    told = a["arguments"]
    kept = {k: told[k] for k in ("people", "sites", "each", "encoder", "steps", "batch", "seeds", "block") if k in told}
    words = ", ".join(f"{k} {v}" for k, v in kept.items())
    return [
        "```sh\npython -m benchmarks.claim a --folder scratch/claim\npython -m benchmarks.claim page --folder "
        "scratch/claim\n```",
        f"Size: {words}. On a lab's own dataset: `anatcl run -- --configfile workflow/claim.yaml --config "
        "bids_dir=/data/cohort`.",
    ]


def span(row: Row, digits: int) -> str:
    """Value or difference with its interval."""
    value = row["value"] if "value" in row else row["difference"]
    return f"{value:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]".replace("-", "−")


def grid(rows: Iterable[Row], cell: Any, than: bool = False) -> str:
    """A Markdown table, methods by endpoints."""
    rows = list(rows)
    ends = [e for e in ENDPOINTS if any(r["endpoint"] == e for r in rows)]
    lines = ["| method | pooling | " + " | ".join(ENDPOINTS[e][0] for e in ends) + " |", "|---" * (len(ends) + 2) + "|"]
    keys = dict.fromkeys((r["method"], r["pooling"], *((r["than"], r["than_pooling"]) if than else ())) for r in rows)
    for key in keys:
        own = {r["endpoint"]: r for r in rows if (r["method"], r["pooling"]) == key[:2]
               and (not than or (r["than"], r["than_pooling"]) == key[2:])}  # fmt: skip
        first = key[0] + (f" less {key[2]} ({key[3]})" if than else "")
        cells = [cell(own[e], ENDPOINTS[e][2]) if e in own else "" for e in ends]
        lines.append(f"| {first} | {key[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(rows: Sequence[Row], caption: str, than: bool = False) -> str:
    """Differences; bold where shown."""

    def cell(row: Row, digits: int) -> str:
        text = f"{span(row, digits)}, {row['p_holm']:.3f}"
        return f"**{text}**" if shown(row) else text

    return f"{caption}; **bold** is below 5 %.\n\n" + grid(rows, cell, than)


def numbers(rows: Sequence[Row]) -> str:
    """Values of all cells."""
    order = {NONE: 0, "average": 1, "grid": 2}
    ranked = sorted(rows, key=lambda r: (order[r["pooling"]], r["method"] in TABLES))
    return grid(ranked, span)


def unsteady(rows: Sequence[Row]) -> str:
    """Encoders of which some seeds decode worse than the mean of the measures, and others do not."""
    found = []
    for row in rows:
        if row["endpoint"] == "decode" and min(row["by_seed"], default=0) < 0 < max(row["by_seed"], default=0):
            seeds = ", ".join(f"{v:.2f}" for v in row["by_seed"]).replace("-", "−")
            found.append(f"`{row['method']}` ({row['pooling']}): {seeds}")
    if not found:
        return ""
    return (
        f"In decode some seeds fall below zero and others do not ({'; '.join(found)}). Why was not looked into. It "
        "makes the intervals of these rows, and of the differences that they are part of, wide."
    )


def by_detail(details: dict[str, Any], part: str) -> str:
    """What an endpoint is the mean of: AUC by number of labels, or its change by perturbation."""
    rows = {k: {n: v for n, v in d.items() if n.startswith(part)} for k, d in details.items()}
    columns = list(dict.fromkeys((n, c) for d in rows.values() for n, one in d.items() for c in one))
    if not columns:
        return ""
    heads = [f"{n.removeprefix(part)}, {c}" for n, c in columns]
    lines = ["| method | pooling | " + " | ".join(heads) + " |", "|---" * (len(heads) + 2) + "|"]
    for key, one in rows.items():
        if one:
            cells = [f"{one[n][c]:.3f}".replace("-", "−") if c in one.get(n, {}) else "" for n, c in columns]
            lines.append("| " + " | ".join([*key.split("/"), *cells]) + " |")
    return "\n".join(lines)


def kinds(found: dict[str, dict[str, float]]) -> str:
    """R2 by kind of measure."""
    columns = sorted({k for one in found.values() for k in one})
    lines = ["| method | pooling | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for key, one in found.items():
        cells = [f"{one[c]:.3f}".replace("-", "−") if c in one else "" for c in columns]
        lines.append("| " + " | ".join([*key.split("/"), *cells]) + " |")
    return "\n".join(lines)


# -- drawing ----------------------------------------------------------------------------------------------------------

WIDTH, LEFT, ROW, PANEL, TOP = 190, 150, 13, 206, 34


def forest(twins: Sequence[Row]) -> str:
    """Every difference from the twin with its interval, a panel for each endpoint, better to the right."""
    ends = [e for e in ENDPOINTS if any(r["endpoint"] == e for r in twins)]
    keys = list(dict.fromkeys((r["method"], r["pooling"]) for r in twins))
    across = min(4, len(ends))
    down = -(-len(ends) // across)
    height = TOP + ROW * len(keys) + 26
    body = []
    for i, end in enumerate(ends):
        x, y = LEFT + (i % across) * PANEL, (i // across) * height
        body.append(panel([r for r in twins if r["endpoint"] == end], end, keys, x, y))
        if i % across == 0:
            body += [
                f'<text x="{LEFT - 8}" y="{y + TOP + ROW * k + 4}" text-anchor="end">{m} {"▪" if p == "grid" else "•"}'
                "</text>"
                for k, (m, p) in enumerate(keys)
            ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + across * PANEL} {down * height}" '
        'font-family="sans-serif" font-size="10" fill="#333"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(body)
        + "</svg>\n"
    )


def panel(rows: Sequence[Row], end: str, keys: Sequence[Key], x: float, y: float) -> str:
    """One endpoint."""
    label, sign, digits = ENDPOINTS[end]
    ends = [sign * r[k] for r in rows for k in ("low", "high", "difference") if np.isfinite(r[k])]
    widths = np.abs(ends or [1.0])
    most = float(min(widths.max(), 4 * np.median(widths))) or 1.0  # one wide interval does not hide the others

    def at(value: float) -> float:
        return float(x + WIDTH / 2 + np.clip(value / most, -1, 1) * (WIDTH / 2 - 6))

    bottom = y + TOP + ROW * len(keys)
    parts = [
        f'<text x="{x + WIDTH / 2}" y="{y + 16}" text-anchor="middle" font-weight="bold">{label}</text>',
        f'<line x1="{at(0)}" x2="{at(0)}" y1="{y + TOP - 10}" y2="{bottom - 4}" stroke="#999"/>',
    ]
    parts += [
        f'<text x="{at(v)}" y="{bottom + 10}" text-anchor="{a}">{v:+.{digits}f}</text>'.replace("+0.", "+.").replace(
            "-0.", "−."
        )
        for v, a in ((-most, "start"), (most, "end"))
    ]
    for row in rows:
        height = y + TOP + ROW * keys.index((row["method"], row["pooling"]))
        colour = "#0a6b4f" if shown(row) > 0 else "#b3361b" if shown(row) < 0 else "#fff"
        low, high = sorted((at(sign * row["low"]), at(sign * row["high"]))) if np.isfinite(row["low"]) else (0, 0)
        centre = at(sign * row["difference"])
        if high > low:
            parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{height}" y2="{height}" stroke="#555"/>')
        shape = (
            f'<rect x="{centre - 3:.1f}" y="{height - 3}" width="6" height="6"'
            if row["pooling"] == "grid"
            else f'<circle cx="{centre:.1f}" cy="{height}" r="3.2"'
        )
        parts.append(f'{shape} fill="{colour}" stroke="#333"/>')
    return "".join(parts)
