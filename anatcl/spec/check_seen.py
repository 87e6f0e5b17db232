"""Encoders that were pretrained on the very dataset that is to test them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.spec.config import Config
from anatcl.spec.encoders import BUNDLE, Encoder, kind
from anatcl.spec.openbhb import LAYOUT

# What a layout of `bids` holds, by the name that encoders give for it.
COHORTS = {LAYOUT: "OpenBHB"}


def seen(config: Config) -> frozenset[str]:
    """Names of the encoders (``evaluate: encoders``) that say that they have seen the cohort and not whom of it."""
    cohort = COHORTS.get(config.bids.layout, "")
    return frozenset(name for name, one in config.evaluate.encoders.items() if cohort and cohort in pretrained_on(one))


def pretrained_on(one: Encoder) -> list[str]:
    """Cohorts whose people an encoder has seen; empty where these are listed, so that each can be compared."""
    if one.participants:
        return []
    place = one.weights[0] if one.weights else ""
    if place and kind(place) == "official":
        return ["OpenBHB"]
    about = _about(Path(place) / BUNDLE) if place and kind(place) == "bundle" else {}
    return [] if about.get("train_participants") else [*one.pretrained_on, *(about.get("pretrained_on") or [])]


def _about(file: Path) -> dict[str, list[str] | None]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}  # said elsewhere


def check_seen(config: Config) -> Iterator[tuple[tuple[str | int, ...], InputError]]:
    """Refuse such encoders, unless what cannot be answered is to be skipped: then they are left out with a sentence."""
    for name in sorted(seen(config)) if config.evaluate.unanswerable == "refuse" else ():
        cohort = COHORTS[config.bids.layout]
        reason = f"it was pretrained on {cohort}, and which of the tested participants it has seen is not known."
        remedy = "Remove it, list its participants (participants), or write evaluate: unanswerable: skip."
        yield (("evaluate", "encoders", name), InputError(reason, None, remedy))
