"""Filters: which of the scans that were found are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from anatcl.bids.names import Name
from anatcl.spec.bids import ABSENT, Options, matches
from anatcl.spec.layout import INDICES


def asked_for(participant: str, options: Options) -> bool:
    """Say whether a participant is among those to include."""
    return not options.include or matches(participant, options.include, "sub-")


def left_out(participant: str, options: Options) -> bool:
    """Say whether a participant is excluded by name."""
    return matches(participant, options.exclude, "sub-")


def unmatched(participants: Iterable[str], options: Options) -> list[tuple[str, str]]:
    """Return (option, pattern) of the patterns that match no participant: most likely misspelt."""
    people = list(participants)
    patterns = [("include", p) for p in options.include] + [("exclude", p) for p in options.exclude]
    return [(name, p) for name, p in patterns if not any(matches(person, (p,), "sub-") for person in people)]


def fits_entities(name: Name, options: Options) -> bool:
    """Say whether a scan has the asked-for values of its entities."""
    for key, patterns in options.entities.items():
        value = name.entities.get(key, ABSENT)
        wanted = [p.removeprefix(f"{key}-") for p in patterns]
        if key in INDICES:  # run-1 and run-01 are one index
            value, wanted = value.lstrip("0") or "0", [p.lstrip("0") or "0" for p in wanted]
        if not matches(value, wanted):
            return False
    return True


def later_runs(names: Iterable[Name]) -> dict[str, str]:
    """Return the scans that are not the first run of their session, each with the one that is.

    Scans that differ in anything but ``run`` (``acq-``, ``rec-`` ...) are different images, not runs of one.
    """
    keyed = sorted((_group(name), int(name.entities.get("run", 0)), name.scan) for name in names)
    replaced: dict[str, str] = {}
    for _, runs in itertools.groupby(keyed, key=lambda item: item[0]):
        first, *others = [scan for _, _, scan in runs]
        replaced |= dict.fromkeys(others, first)
    return replaced


def _group(name: Name) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in name.entities.items() if key != "run"))
