"""YAML files of a user: one mapping each, no key twice, keys as text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from anatcl.base.errors import InputError

MERGE = "<<"  # YAML's own key, which may stand in a mapping several times


class _Once(yaml.SafeLoader):
    """A loader that refuses a key that stands in a mapping twice; YAML's own keeps the last one and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, _ in node.value:
            if key.value != MERGE and isinstance(key, yaml.ScalarNode) and keys[key.value] > 1:
                problem = f"the key {key.value!r} occurs twice, first in line {key.start_mark.line + 1}"
                raise yaml.MarkedYAMLError(problem=problem)
        return {_text(key): value for key, value in super().construct_mapping(node, deep).items()}


def _text(key: Any) -> Any:
    """A key as text: YAML reads ``1:`` as a number, and every key of ours is a word."""
    return key if isinstance(key, str) else str(key)


def read_yaml(path: Path, what: str, empty: bool = False) -> dict[str, Any]:
    """A YAML file that holds one mapping.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What a sentence calls it: ``task``.
    empty : bool
        A file without content is an empty mapping.

    Raises
    ------
    InputError
        It is not YAML, no mapping, or holds a key twice.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _Once)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"the {what} is not valid YAML ({_reason(error)}).", path, _remedy(error)) from None
    if content is None and empty:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"the {what} is not a mapping of keys to values.", path, "Write 'key: value' lines.")
    return content


def _reason(error: Exception) -> str:
    """What YAML says, in one line: the problem, and the line of the file."""
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}: {error.problem}" if mark else error.problem


def _remedy(error: Exception) -> str:
    if "\\t" in str(error):
        return "Use spaces instead of tabs."
    return "Remove one of the two." if "occurs twice" in str(error) else "Correct the line it names."
