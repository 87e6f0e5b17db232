"""Methods text with citations, made from the records that the stages left.

A sentence stands only when the records say that its step ran: see ``methods.yaml``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from anatcl import __version__
from anatcl.base.files import read_json, write_text

STAGES = ("preprocess", "measures", "pretrain", "evaluate")
# Numbers that stand alone differ from scan to scan and are searched by no pattern; those inside names (N4) stay.
NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?(?![\w.])")
# Facts that a sentence may name, and the keys that hold them in a record.
FACTS = {
    "recipe": ("recipe",),
    "threads": ("threads", "n_threads"),
    "seed": ("seed", "random_seed"),
    "template": ("template", "template_name"),
    "skullstrip_method": ("skullstrip_method", "skullstrip"),
    "thickness_method": ("thickness_method", "thickness"),
    "architecture": ("architecture",),
    "device": ("device",),
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
    """JSON records by stage."""
    found: dict[str, list[Path]] = {stage: [] for stage in STAGES}
    if preprocess_dir:
        found["preprocess"] += sorted(Path(preprocess_dir).rglob("*.json"))
    for item in map(Path, run_records):
        files = sorted([*item.rglob("run.json"), *item.rglob("model.json")]) if item.is_dir() else [item]
        for file in files:
            if file.exists() and (stage := stage_of(file.absolute())):
                found[stage].append(file)
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
        record = read_json(file)
        texts.add(NUMBER.sub("0", json.dumps(record)))
        for key, value in items(record):
            _note(facts, key, value)
            if key.lower() == "versions" and isinstance(value, dict):
                for name, version in value.items():
                    versions.setdefault(str(name), set()).add(str(version))
    return Records("\n".join(sorted(texts)), facts, versions)


def _note(facts: dict[str, list[str]], key: str, value: Any) -> None:
    """Keep `value` if `key` is one that a sentence may name."""
    if isinstance(value, dict):
        value = value.get("name", value.get("method"))
    if value is None or isinstance(value, (list, dict)) or value == "":
        return
    for fact, keys in FACTS.items():
        if key.lower() in keys and str(value) not in facts.setdefault(fact, []):
            facts[fact].append(str(value))


def _sentence(rule: dict[str, Any], records: Records, facts: dict[str, str], references: dict[str, Any]) -> str:
    """The sentence with its citations, or nothing where the records do not bear it out."""
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
    return yaml.safe_load(resources.files("anatcl.report").joinpath(name).read_text(encoding="utf-8"))


def methods_text(preprocess_dir: str | Path | None, run_records: Sequence[str | Path]) -> str:
    """Methods text as Markdown: paragraphs by stage, versions, BibTeX.

    Parameters
    ----------
    preprocess_dir : path or None
        Folder whose JSON sidecars say which programs ran, with which parameters.
    run_records : sequence of path
        ``run.json`` and ``model.json`` files, or folders of them; their stage is read off their path.
    """
    references = _data("references.yaml")
    files = find_records(preprocess_dir, run_records)
    lines, cited = ["# Methods", ""], list[str]()
    versions: dict[str, set[str]] = {}
    for stage in _data("methods.yaml"):
        if not files[stage["stage"]]:
            continue
        records = read_records(files[stage["stage"]])
        facts = {name: ", ".join(sorted(values)) for name, values in records.facts.items()}
        facts |= {"version": __version__, "scans": str(_count_scans(files[stage["stage"]]))}
        written = [(rule, _sentence(rule, records, facts, references)) for rule in stage["sentences"]]
        lines += [f"## {stage['title']}", "", " ".join(text for _, text in written if text), ""]
        cited += [key for rule, text in written if text for key in rule.get("cite", ())]
        for name, seen in records.versions.items():
            versions.setdefault(name, set()).update(seen)
    lines += _versions(versions) + _bibliography(dict.fromkeys(cited), references)
    return "\n".join(lines)


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


def write_methods(preprocess_dir: str | Path | None, run_records: Sequence[str | Path], out: str | Path) -> None:
    """Write the methods text."""
    write_text(out, methods_text(preprocess_dir, run_records))
