"""Merge configuration files; a relative path is relative to the file that names it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from anatcl.base.errors import InputError
from anatcl.spec.encoders import OFFICIAL, PUBLISHED
from anatcl.spec.openbhb import RELEASE
from anatcl.spec.task import FILES
from anatcl.spec.yaml_file import read_yaml

# Keys that always hold a path, and keys that hold a shipped name or a path.
PATHS = (
    ("bids_dir",),
    ("preprocess", "corrections"),
    ("preprocess", "skullstrip", "masks"),
    ("measures", "freesurfer"),
    ("pretrain", "maps"),
)
NAMES = (
    ("preprocess", "recipe"),
    ("preprocess", "template"),
    ("measures", "atlas"),
    ("evaluate", "tasks"),
    ("evaluate", "known_overlaps"),
)
OWN = ("loss", "baseline")  # keys of what is the user's own that name a class
COMMAND_LINE = "--config"


@dataclasses.dataclass(frozen=True)
class Layers:
    """A configuration, and the file that each value comes from.

    Attributes
    ----------
    sources : list of (str, mapping)
        Files (or ``--config``) and what they say, later ones over earlier ones, with every path made absolute.
    """

    sources: list[tuple[str, Mapping[str, Any]]]

    @property
    def values(self) -> dict[str, Any]:
        """All of them merged."""
        return functools.reduce(merge, (values for _, values in self.sources), {})

    def origin(self, place: Sequence[str | int]) -> str:
        """The file whose value is used at `place` (keys that lead to a value); empty where none says anything."""
        keys = list(itertools.takewhile(lambda part: isinstance(part, str), place))
        for depth in range(len(keys), 0, -1):
            for source, values in reversed(self.sources):
                if _has(values, keys[:depth]):
                    return source
        return ""


def _has(values: Any, keys: Sequence[str | int]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def resolve(files: Iterable[Path], overrides: Mapping[str, Any], invocation: Path) -> dict[str, Any]:
    """As `read_layers`, merged.

    Parameters
    ----------
    files, overrides, invocation
        See `read_layers`.
    """
    return read_layers(files, overrides, invocation).values


def read_layers(files: Iterable[Path], overrides: Mapping[str, Any], invocation: Path) -> Layers:
    """Read configuration layers, later ones over earlier ones, with every path made absolute.

    Parameters
    ----------
    files : iterable of Path
        YAML files; relative paths in them are relative to the file's folder.
    overrides : mapping
        Values given on the command line; relative paths are relative to `invocation`.
    invocation : Path
        Folder in which the command was typed.
    """
    sources = [(str(file), _absolute(read(file), Path(file).resolve().parent)) for file in files]
    return Layers([*sources, (COMMAND_LINE, _absolute(_text_keys(overrides), invocation))])


def _text_keys(value: Any) -> Any:
    """Copy of what the command line says whose keys are text; YAML reads ``{1: 2}`` with a number."""
    if isinstance(value, Mapping):
        return {str(key): _text_keys(item) for key, item in value.items()}
    return [_text_keys(item) for item in value] if isinstance(value, list) else value


def read(file: Path) -> dict[str, Any]:
    """Read one YAML file.

    Raises
    ------
    InputError
        The file is missing, is not YAML, or is not a mapping.
    """
    if not Path(file).is_file():
        raise InputError("the configuration file does not exist.", file, "Correct its path.")
    return read_yaml(Path(file), "configuration", empty=True)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return `low` with `high` over it; mappings are merged, everything else is replaced.

    A section without a line says nothing: ``pretrain:`` with every line below it commented out.
    """
    merged = dict(low)
    for key, value in high.items():
        if value is None and isinstance(merged.get(key), Mapping):
            continue
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def spoken(words: Iterable[str], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--config`` says, read as a file would be.

    Snakemake reads what stands within a value as text, so that the limits in ``preprocess={qc: {cjv: [null, 1.9]}}``
    arrive as ``"null"`` and ``"1.9"``, and quotes do not arrive at all.

    Parameters
    ----------
    words : iterable of str
        As they were typed: ``key=value``.
    parsed : mapping
        What Snakemake made of them. A program that uses Snakemake may have given other values than text; these are
        returned as they are.
    """
    if not all(_is_text(value) for value in parsed.values() if isinstance(value, Mapping | list)):
        return dict(parsed)
    said: dict[str, Any] = {}
    for word in words:
        said = merge(said, _yaml(word))
    # A word alone stays as it is (a folder may be called 2024-01-01), but for YAML's words for nothing.
    read = {key for key, value in parsed.items() if isinstance(value, Mapping | list) or said.get(key) is None}
    return {key: said.get(key) if key in read else value for key, value in parsed.items()}


def _is_text(value: Any) -> bool:
    """Whether all that stands within a value is text."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return all(map(_is_text, value)) if isinstance(value, list) else isinstance(value, str)


def _yaml(word: str) -> dict[str, Any]:
    """One ``key=value``; a value that is not YAML is text."""
    key, _, text = word.partition("=")
    try:
        return {key: yaml.safe_load(text)}
    except (yaml.YAMLError, ValueError):  # 2024-13-01 is no date
        return {key: text}


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy of a layer whose paths are absolute."""

    def path(text: Any) -> Any:
        # normpath and not resolve(): a dataset reached through a link keeps the user's name for it.
        return str(_normal(folder / Path(text).expanduser())) if isinstance(text, str) and text else text

    def name(item: Any) -> Any:
        if isinstance(item, list):
            return [name(part) for part in item]
        return path(item) if isinstance(item, str) and item.endswith(FILES) else item

    def tables(items: Any) -> Any:
        if not isinstance(items, Mapping):
            return items
        return {
            key: {**item, "table": path(item["table"])} if isinstance(item, Mapping) and "table" in item else item
            for key, item in items.items()
        }

    def brought(items: Any) -> Any:
        if not isinstance(items, Mapping):
            return items
        return {key: each_path(item, path) if isinstance(item, Mapping) else item for key, item in items.items()}

    changes = [(k, path) for k in PATHS] + [(k, name) for k in NAMES] + [(("evaluate", "features"), tables)]
    changes += [(("evaluate", "encoders"), brought)]
    changes += [(("pretrain", "encoder"), lambda text: class_path(text, path))]
    changes += [(("pretrain", "arrays"), lambda text: text if text == RELEASE else path(text))]
    changes += [((section, "own"), lambda items: own_paths(items, path)) for section in ("pretrain", "evaluate")]
    for keys, change in changes:
        values = _change(values, keys, change)
    return values


def class_path(text: Any, change: Callable[[str], Any]) -> Any:
    """``file.py:Class`` with a change of the file; anything else as it is."""
    if not isinstance(text, str) or ".py:" not in text:
        return text
    file, _, name = text.rpartition(":")
    return f"{change(file)}:{name}"


def own_paths(items: Any, change: Callable[[str], Any]) -> Any:
    """Losses or baselines of the user's own with a change of the files that hold them."""
    if not isinstance(items, Mapping):
        return items
    return {
        name: {key: class_path(value, change) if key in OWN else value for key, value in one.items()}
        if isinstance(one, Mapping)
        else one
        for name, one in items.items()
    }


def each_path(encoder: Mapping[str, Any], change: Callable[[str], Any]) -> dict[str, Any]:
    """Copy of an outside encoder, with a change of every path in it: weights, people, files of classes."""

    def paths(item: Any) -> Any:
        if isinstance(item, str) and (item in OFFICIAL or PUBLISHED.fullmatch(item)):
            return item
        return [paths(part) for part in item] if isinstance(item, list | tuple) else change(item)

    def named(text: Any) -> Any:
        return class_path(text, change)

    found = dict(encoder)
    for key, convert in (("weights", paths), ("participants", change), ("architecture", named), ("adapter", named)):
        if found.get(key):
            found[key] = convert(found[key])
    return found


def _normal(path: Path) -> Path:
    import os.path

    return Path(os.path.normpath(path))


def _change(values: dict[str, Any], keys: tuple[str, ...], function: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping) or keys[0] not in values:
        return values
    inner = values[keys[0]]
    return {**values, keys[0]: _change(inner, keys[1:], function) if len(keys) > 1 else function(inner)}
