"""Methods text with citations, made from the records that the stages left.

A sentence stands only when the records say that its step ran: see ``methods.yaml``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from anatcl import __version__
from anatcl.base.files import read_json, read_tsv, write_text
from anatcl.report.records import results
from anatcl.report.records.options import Options, read_options
from anatcl.report.tables import vocabulary as words
from anatcl.spec.methods import declared_methods, declared_references

PROGRAMS = ("freesurfer", "fastsurfer")  # whose tables can replace our measures
STAGES = ("preprocess", "measures", "pretrain", "evaluate")
# Numbers that stand alone differ from scan to scan and are searched by no pattern; those inside names (N4) stay.
NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?(?![\w.])")
# Facts that a sentence may name, and the keys (in small letters) that hold them in a record.
FACTS = {
    "recipe": ("recipe",),
    "threads": ("threads",),
    "seed": ("seed",),
    "template": ("template", "space"),
    "engine": ("engine",),
    "atlas": ("atlas",),
    "architecture": ("architecture",),
    "epochs": ("epochs",),
    "batch_size": ("batch_size",),
    "learning_rate": ("learning_rate",),
    "temperature": ("temperature",),
    "objective": ("objective",),
    "folds": ("folds",),
    "task": ("task",),
    "baselines": ("baselines",),
}
# The part of a file name that says what the file is: ``desc-brain_mask``.
KIND = re.compile(r"_((?:desc|space|label|from|atlas)-.*|dseg)\.json$")
# Which files of a stage's folder are records.
PATTERNS = {
    "preprocess": ("*.json",),
    "measures": ("run.json", "*_measures.json", "measures.tsv"),
    "pretrain": ("run.json", "model.json"),
    "evaluate": ("run.json", "scores.tsv"),
}


@dataclasses.dataclass(frozen=True)
class Records:
    """What the records of one stage say.

    Parameters
    ----------
    text : str
        All records as JSON text, searched by the patterns of the sentences.
    facts : dict
        Values found under the keys of `FACTS`, in order of appearance, each once.
    versions : dict
        Library name to the versions seen.
    """

    text: str
    facts: dict[str, list[str]]
    versions: dict[str, set[str]]


def stage_of(path: Path) -> str:
    """Stage that a record belongs to: the last folder of its path that is named like one."""
    return next((part for part in reversed(path.parts) if part in STAGES), "")


def find_records(preprocess_dir: str | Path | None, run_records: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Records by stage; folders are searched, files are taken as they are."""
    found: dict[str, list[Path]] = {stage: [] for stage in STAGES}
    for item in map(Path, ([preprocess_dir] if preprocess_dir else []) + list(run_records)):
        stage = "preprocess" if item == Path(preprocess_dir or "") else stage_of(item.absolute())
        if stage and item.is_dir():
            found[stage] += sorted(path for pattern in PATTERNS[stage] for path in item.rglob(pattern))
        elif stage and item.is_file():
            found[stage].append(item)
    return {stage: list(dict.fromkeys(files)) for stage, files in found.items()}


def items(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of nested dictionaries and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from items(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from items(inner)


def read_records(files: Sequence[Path]) -> Records:
    """Read the records of one stage."""
    texts: set[str] = set()
    facts: dict[str, list[str]] = {}
    versions: dict[str, set[str]] = {}
    for file in files:
        record = _record(file)
        if isinstance(record, dict) and record.get("method") == "untrained":
            continue  # its options were never used
        texts.add(NUMBER.sub("0", json.dumps(record)))
        if kind := KIND.search(file.name):
            texts.add(kind[1])
        for key, value in items(record):
            _note(facts, key, value)
            if key.lower() == "versions" and isinstance(value, dict):
                for name, version in value.items():
                    versions.setdefault(str(name), set()).add(str(version))
    return Records("\n".join(sorted(texts)), facts, versions)


def _record(file: Path) -> Any:
    """Content of a record; of a table of scores, what is the same for many rows."""
    if file.suffix == ".json":
        return read_json(file)
    if file.name == "measures.tsv":
        return {}  # counted elsewhere
    scores = read_tsv(file)
    methods = set(scores["method"]) if "method" in scores else set()
    columns = [name for name in ("task", "protocol", "folds", "seed", "metric") if name in scores]
    shared = [{name: value} for name in columns for value in sorted(scores[name].dropna().unique().tolist())]
    named = ", ".join(words.method_label(name).lower() for name in words.BASELINES if name in methods)
    return {"columns": list(scores), "rows": shared, "baselines": named}


def _note(facts: dict[str, list[str]], key: str, value: Any) -> None:
    """Keep `value` if `key` is one that a sentence may name."""
    if isinstance(value, dict):
        value = value.get("name")
    if value is None or isinstance(value, list | dict) or value == "":
        return
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    for fact, known in FACTS.items():
        if key.lower() in known and str(value) not in facts.setdefault(fact, []):
            facts[fact].append(str(value))


def _sentence(
    rule: dict[str, Any], records: Records, facts: dict[str, str], references: dict[str, Any], options: Options
) -> str:
    """The sentence with its citations, or nothing where records and options do not bear it out."""
    if "option" in rule and not options.asks(rule["option"]):
        return ""
    if "unlike" in rule and options.asks(rule["unlike"]):
        return ""
    if not all(re.search(pattern, records.text, re.IGNORECASE) for pattern in rule.get("when", ())):
        return ""
    if any(name in facts for name in rule.get("unless", ())):
        return ""
    try:
        text = rule["text"].format(**facts)
    except KeyError:
        return ""
    cited = "; ".join(references[key]["short"] for key in rule.get("cite", ()))
    return f"{text[:-1]} ({cited})." if cited else text


def _data(name: str) -> Any:
    return yaml.safe_load(resources.files("anatcl.report.records").joinpath(name).read_text(encoding="utf-8"))


def _references() -> dict[str, Any]:
    """Works by key, those that the pretraining methods bring along included."""
    return _data("references.yaml") | {key: work.model_dump() for key, work in declared_references().items()}


def _rules_of_methods() -> list[dict[str, Any]]:
    """A sentence for each pretraining method, in the form of those in ``methods.yaml``."""
    return [
        {
            "text": method.sentence.replace("{", "{{").replace("}", "}}"),
            "when": [f'"(method": "|objective": "([^"]* )?){re.escape(method.name)}[ "]'],
            "cite": method.cite,
        }
        for method in declared_methods().values()
        if method.sentence
    ]


def methods_text(
    preprocess_dir: str | Path | None,
    run_records: Sequence[str | Path],
    config: Mapping[str, Any] | None = None,
    excluded: pd.DataFrame | None = None,
) -> str:
    """Methods text as Markdown: paragraphs by stage, versions, BibTeX.

    Parameters
    ----------
    preprocess_dir : path or None
        Folder whose JSON sidecars say which programs ran, with which parameters.
    run_records : sequence of path
        ``run.json`` and ``model.json`` files, or folders of them; their stage is read off their path.
    config : mapping, optional
        The resolved configuration or sections of it; without it nothing is said of options.
    excluded : DataFrame, optional
        The joined table of exclusions.
    """
    references, options = _references(), read_options(config or {})
    files = find_records(preprocess_dir, run_records)
    lines, cited = ["# Methods", ""], list[str]()
    versions: dict[str, set[str]] = {}
    for stage in _data("methods.yaml"):
        if not files[stage["stage"]]:
            continue
        records = read_records(files[stage["stage"]])
        facts = {name: ", ".join(sorted(map(_name, values))) for name, values in records.facts.items()}
        facts |= options.facts() | _further(files[stage["stage"]], excluded)
        rules = stage["sentences"] + (_rules_of_methods() if stage.get("methods") else [])
        written = [(rule, _sentence(rule, records, facts, references, options)) for rule in rules]
        lines += [f"## {stage['title']}", "", " ".join(text for _, text in written if text), ""]
        cited += [key for rule, text in written if text for key in rule.get("cite", ())]
        for name, seen in records.versions.items():
            versions.setdefault(name, set()).update(seen)
    lines += _versions(versions) + _bibliography(dict.fromkeys(cited), references)
    return "\n".join(lines)


def _name(value: str) -> str:
    """A value as it stands in the text: of a file its name, since its folder is this machine's."""
    return Path(value).name if "/" in value and value.endswith((".json", ".yaml", ".yml")) else value


def _further(files: Sequence[Path], excluded: pd.DataFrame | None) -> dict[str, str]:
    """The version, and what is counted: scans, exclusions, scans whose measures come from another program."""
    found = {"version": __version__, "scans": str(_count_scans(files))}
    if excluded is not None:
        stages = excluded["stage"].value_counts(sort=False).to_dict() if len(excluded) else {}
        by = ", ".join(f"{count} in {stage}" for stage, count in stages.items())
        found["excluded"] = f"{len(excluded)} were left out ({by})" if by else "none was left out"
    for table in (read_tsv(file) for file in files if file.name == "measures.tsv"):
        rows = table["source"].dropna().astype(str).tolist() if "source" in table else []
        counts = {name: sum(row.startswith(name) for row in rows) for name in PROGRAMS}
        found |= {f"from_{name}": str(count) for name, count in counts.items() if count}
    return found


def _count_scans(files: Sequence[Path]) -> int:
    return sum(file.name.endswith("_desc-qc.json") for file in files)


def _versions(versions: dict[str, set[str]]) -> list[str]:
    if not versions:
        return []
    named = [f"{name} {' and '.join(sorted(seen))}" for name, seen in sorted(versions.items())]
    return ["## Software", "", ", ".join(named) + ".", ""]


def _bibliography(keys: dict[str, None], references: dict[str, Any]) -> list[str]:
    if not keys:
        return []
    entries = "\n".join(references[key]["bibtex"].rstrip() for key in sorted(keys))
    return ["## References", "", "```bibtex", entries, "```", ""]


def write_methods(
    preprocess_dir: str | Path | None,
    run_records: Sequence[str | Path],
    out: str | Path,
    config: str | Path | None = None,
    excluded: str | Path | None = None,
) -> None:
    """Write the methods text."""
    table = None if excluded is None else results.table(excluded)
    write_text(out, methods_text(preprocess_dir, run_records, results.configured(config), table))
