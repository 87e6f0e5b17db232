"""Which people of a cohort are known to be in public pretraining cohorts."""

from __future__ import annotations

from pathlib import Path

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
