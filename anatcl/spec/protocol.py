"""Who is trained on and who is tested, in a few words of configuration."""

from __future__ import annotations

import dataclasses
import difflib
import json
from typing import Any

from anatcl.base.errors import InputError
from anatcl.spec.task import canonical

KINDS = ("folds", "repeated", "leave-site-out", "transfer", "few-shot")
PROBES = ("linear", "knn")


@dataclasses.dataclass(frozen=True)
class Design:
    """Who is trained on and who is tested.

    Parameters
    ----------
    kind : {"folds", "repeated", "leave-site-out", "transfer", "few-shot"}
        ``folds``: the folds table, fold k with the encoder of fold k. ``repeated``: stratified folds by participant,
        dealt anew `repeats` times. ``leave-site-out``: each value of `column` is tested once. ``transfer``: rows whose
        `column` is in `train` are trained on, those in `test` are tested. ``few-shot``: the folds table (or dealt folds
        without one), but only `sizes` participants of each training part, drawn `repeats` times.
    folds : int
        Number of folds.
    repeats : int
        Repetitions; 0 chooses by the kind: 1 for repeated, 10 draws for few-shot.
    column : str
        Column of sites or cohorts.
    train, test : tuple of str
        Values of `column`.
    sizes : tuple of int
        Numbers of training participants.
    probe : {"linear", "knn"}
        Ridge or logistic regression, or nearest neighbours.
    """

    kind: str = "folds"
    folds: int = 5
    repeats: int = 0
    column: str = "site"
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (8, 16, 32, 64)
    probe: str = "linear"


def load_design(source: str | dict[str, Any]) -> Design:
    """Read a protocol from a word (``folds``), a JSON string or a dictionary."""
    if isinstance(source, str):
        source = json.loads(source) if source.lstrip().startswith("{") else {"kind": source}
    fields = {f.name for f in dataclasses.fields(Design)}
    for key in source:
        if key not in fields:
            near = difflib.get_close_matches(str(key), sorted(fields), n=1)
            raise InputError(f"unknown protocol key {key!r}.", remedy=f"Did you mean {near[0]!r}?" if near else "")
    lists = {k: tuple(canonical(v) for v in source[k]) for k in ("train", "test") if k in source}
    sizes = {"sizes": tuple(int(n) for n in source["sizes"])} if "sizes" in source else {}
    design = Design(**{**source, **lists, **sizes})
    if design.kind not in KINDS or design.probe not in PROBES:
        raise InputError(
            f"protocol {design.kind!r} with probe {design.probe!r} is unknown.",
            remedy=f"Kinds: {sorted(KINDS)}; probes: {sorted(PROBES)}.",
        )
    return design
