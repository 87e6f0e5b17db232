"""A first configuration for a dataset, with comments that say what was found in it and what is missing."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import write_text
from anatcl.base.words import plural
from anatcl.bids.index import Index, build_index
from anatcl.run.init_release import index_release, is_release, release_sections
from anatcl.spec.config import parse
from anatcl.spec.layout import RAW

# Columns that every dataset has a place for; others may be targets of tasks.
KNOWN = ("age", "sex", "site")
NAMED = {"scan", "path", "participant_id", "session_id"}
MOST_CLASSES = 6
FEWEST_VALUES = 12
FEWEST_TRAINED = 6  # participants; with fewer, a fold leaves nothing to compare
NO_TASK = "skipped at present: neither age nor sex is known for enough participants"


def write_starter(bids_dir: str | Path, out: str | Path, overwrite: bool = False) -> str:
    """Look at a dataset and write a configuration for it.

    Returns
    -------
    str
        What was found, what was written, and what to type next, in lines.

    Raises
    ------
    InputError
        There is no such dataset, or `out` exists and is not to be replaced.
    """
    if Path(out).exists() and not overwrite:
        raise InputError("the file exists already.", out, "Give another name with --out, or --overwrite.")
    root = Path(os.path.abspath(Path(bids_dir).expanduser()))  # noqa: PTH100 - keeps the user's name of a link
    found, text = release_starter(root) if is_release(root) else starter(root, build_index(bids_dir))
    import yaml

    config = parse(yaml.safe_load(text), out)  # what is written is what the workflow reads
    write_text(out, text)
    name = shlex.quote(str(out))
    alone = f"Measures and quality control only: anatcl run -- --configfile {name} --until measures"
    return "\n".join([
        *found,
        f"Written: {out}",
        f"What would be done: anatcl run -- -n --configfile {name}",
        *([] if config.pretrain.arrays else [alone]),
        f"Everything: anatcl run -- --configfile {name}",
    ])  # fmt: skip


def release_starter(root: Path) -> tuple[list[str], str]:
    """What was found in OpenBHB's public release, and the configuration for it as YAML text."""
    kind, index, images = index_release(root)
    found = ["The public OpenBHB release.", *images, *_found(index)]
    lines = [*_head(root, found), *release_sections(root, kind, index, _methods(index.scans))]
    return found, "\n".join(lines).rstrip() + "\n"


def _head(root: Path, found: list[str]) -> list[str]:
    return [
        "# Written by `anatcl init` after reading the dataset. Every key: config.yaml and docs/config.md.",
        *_comment(found),
        "# To see what would be done: anatcl run -- -n --configfile this-file. To do it: the same without -n.",
        "",
        f"bids_dir: {json.dumps(str(root), ensure_ascii=False)}",
        "",
    ]


def starter(root: Path, index: Index) -> tuple[list[str], str]:
    """What was found in a BIDS dataset, and the configuration for it as YAML text."""
    scans, found = index.scans, _found(index)
    tasks = [name for name in ("age", "sex") if _answerable(scans, name)]
    people = scans["participant_id"].nunique()
    lines = [
        *_head(root, found),
        "preprocess:",
        "  recipe: fast # testing: takes minutes, to check that all steps work; precise: at 1 mm, for few scans",
        "",
        *_several(scans),
        *_columns(scans),
        "pretrain:",
        *_methods(scans),
        f"  folds: {max(2, min(5, people))} # by participant",
        "  epochs: 300 # use few without a GPU, or --config 'pretrain={encoder: resnet-tiny, voxel_mm: 4}'",
        "",
        "evaluate:",
        *(["  untrained: false"] if people < FEWEST_TRAINED else []),
        *([] if tasks else [f"  unanswerable: skip # {NO_TASK}"]),
        "  tasks:",
        *(f"    - {name}" for name in tasks or KNOWN[:2]),
        *_suggested(scans),
    ]
    return found, "\n".join(lines).rstrip() + "\n"


def _people_with(scans: pd.DataFrame, name: str) -> pd.Series:
    """First known value of each participant."""
    return _known(scans.set_index("participant_id"), name).groupby(level=0).first()


def _answerable(scans: pd.DataFrame, name: str) -> bool:
    """Whether there are people enough for the shipped task of that name."""
    from anatcl.spec.task import load_task

    task, known = load_task(name), _people_with(scans, name)
    if task.kind == "regression":
        return len(known) >= task.min_participants
    counts = known.astype(str).value_counts()
    return len(counts) > 1 and bool(counts.iloc[1] >= task.min_per_class)


def _methods(scans: pd.DataFrame) -> list[str]:
    """Methods that this cohort can train."""
    people, aged = scans["participant_id"].nunique(), len(_people_with(scans, "age"))
    if people < FEWEST_TRAINED:
        return [
            f"  methods: [] # too few to train on ({plural(people, 'participant')}): measures and quality control only"
        ]
    if aged < FEWEST_TRAINED:
        return [f"  methods: [simclr] # the other methods need ages, known for {plural(aged, 'participant')}"]
    return ["  methods: [anatcl-global, anatcl-local, y-aware]"]


def _found(index: Index) -> list[str]:
    """What is there, and what is missing, in sentences."""
    scans = index.scans
    people = scans["participant_id"].nunique()
    sessions = scans["session_id"].replace("n/a", pd.NA).dropna().nunique() if "session_id" in scans else 0
    there = f"{plural(len(scans), 'usable scan')} of {plural(people, 'participant')}"
    lines = [there + (f", {plural(sessions, 'session')}." if sessions else ".")]
    for name in KNOWN:
        known = _share(scans, name)
        text = (
            "for none: tasks that need it are left out" if not known else f"for {known} of {plural(len(scans), 'scan')}"
        )
        lines.append(f"{name}: known {text}{_values(scans, name) if known else ''}.")
    if len(index.excluded):
        lines.append(f"{len(index.excluded)} cannot be used:")
        counts = index.excluded["reason"].astype(str).value_counts().head(5)
        lines += [f"  {number} x {reason}" for reason, number in counts.items()]
    lines += [f"Note: {item['about']}: {item['warning']} {item['remedy']}" for item in index.warnings[:5]]
    return lines


def _values(scans: pd.DataFrame, name: str) -> str:
    """Range of ages, or the values of a column with few."""
    values = _known(scans, name)
    if name == "age":
        ages = pd.to_numeric(values, errors="coerce").dropna()
        return f" ({ages.min():g} to {ages.max():g} years)" if len(ages) else ""
    counts = values.astype(str).value_counts()
    listed = ", ".join(f"{value}: {count}" for value, count in counts.head(MOST_CLASSES).items())
    return f" ({listed}{', ...' if len(counts) > MOST_CLASSES else ''})"


def _several(scans: pd.DataFrame) -> list[str]:
    """The section `bids`, where sessions, acquisitions or runs leave a choice."""
    choices = {name: sorted(set(_known(scans, name).astype(str))) for name in RAW if name in scans}
    choices = {name: values for name, values in choices.items() if values}
    if "run" not in choices and not choices:
        return []
    lines = ["bids:"]
    if "run" in choices:
        lines.append("  runs: all # several runs of one session are there; first: the first usable one")
    shown = {name: values[:8] for name, values in choices.items() if name != "run"}
    lines += [
        f"  # entities: {{{name}: {json.dumps(values)}}} # select some values only" for name, values in shown.items()
    ]
    return [*(lines if len(lines) > 1 and "run" in choices else ["bids: {}", *lines[1:]]), ""]


def _columns(scans: pd.DataFrame) -> list[str]:
    """Columns that may be what is missing under another name."""
    lines = []
    for name in (name for name in KNOWN if not _share(scans, name)):
        close = [str(column) for column in scans if name in str(column).lower() and column not in NAMED | {name}]
        lines += [f"#   columns: {{{name}: {json.dumps(column)}}}" for column in close[:3]]
    return ["# If one of these columns holds the missing values, put it under `bids:`.", *lines, ""] if lines else []


def _suggested(scans: pd.DataFrame) -> list[str]:
    """Tasks that other columns would allow, commented out: only a person knows which of them mean something."""
    people = scans.drop_duplicates("participant_id")
    lines: list[str] = []
    for column in (str(name) for name in scans if name not in NAMED | set(KNOWN) | set(RAW)):
        values = _known(people, column)
        numbers = pd.to_numeric(values, errors="coerce")
        name = "".join(c if c.isalnum() else "-" for c in column).strip("-")
        levels = values.astype(str).value_counts()
        if 2 <= len(levels) <= MOST_CLASSES and levels.iloc[1] >= 2:
            first, second = (json.dumps(str(value), ensure_ascii=False) for value in levels.index[:2])
            ends = f"positives: [{second}], negatives: [{first}]"
            lines.append(f"    # - {{name: {name}, kind: binary, target: {json.dumps(column)}, {ends}}}")
        elif numbers.notna().mean() > 0.9 and numbers.nunique() >= FEWEST_VALUES:
            lines.append(f"    # - {{name: {name}, kind: regression, target: {json.dumps(column)}}}")
    return ["    # Other columns could be tasks:", *lines[:12]] if lines else []


def _known(scans: pd.DataFrame, name: str) -> pd.Series:
    """Values of a column that are there."""
    if name not in scans:
        return pd.Series(dtype=object)
    return scans[name].replace({"n/a": pd.NA, "": pd.NA}).dropna()


def _share(scans: pd.DataFrame, name: str) -> int:
    """Scans for which a column is known."""
    return len(_known(scans, name))


def _comment(lines: Iterable[str]) -> list[str]:
    return [f"# {' '.join(part for part in line.split(chr(10)))}" for line in lines]
