"""Which people of a cohort are known to be in public pretraining cohorts."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.spec.shipped import find_file
from anatcl.spec.yaml_file import read_yaml

TASKS = Path(__file__).resolve().parent / "tasks"
NEEDED = {"cohort", "query"}


def overlaps_file(name: str) -> Path | None:
    """The file that a shipped cohort's name or a path means; None for an empty text.

    Raises
    ------
    InputError
        There is none, or it lists no overlap of the right form.
    """
    if not name:
        return None
    path = find_file(name, TASKS, ".yaml", "cohort with known overlaps")
    rules = read_yaml(path, "list of known overlaps").get("known_overlaps")
    if not isinstance(rules, list) or not all(isinstance(r, dict) and set(r) >= NEEDED for r in rules):
        remedy = "Write known_overlaps: [{cohort: OpenBHB, query: \"dsm == 'control'\", reason: ...}]."
        raise InputError("it lists no known overlaps with cohort and query.", path, remedy)
    return path


@functools.cache
def overlaps_of(task: str) -> tuple[dict[str, Any], ...]:
    """Known overlaps of the shipped cohort that a task belongs to; none for a task of the user's own."""
    for path in sorted(TASKS.glob("*.yaml")):
        content = read_yaml(path, "tasks of a cohort")
        if any(one.get("name") == task for one in content.get("tasks", [])):
            return tuple(content.get("known_overlaps", []))
    return ()
