"""The first configuration for OpenBHB's public release: its maps where they are there, else its raw heads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from anatcl.base.words import plural
from anatcl.bids.index import Index, build_index
from anatcl.bids.openbhb import looks_like_release
from anatcl.spec.bids import Options
from anatcl.spec.openbhb import DERIVATIVES, LAYOUT, PARTS, RAW, RELEASE, SPLIT, SUFFIX, desikan_files, desikan_tables

# What may be trained on, best first: a kind of map, or raw heads.
KINDS = {"vbm": "CAT12 maps", "quasi-raw": "quasi-raw maps", "": "raw heads"}
TRAINED, TESTED = "train", ("internal_test", "external_test")


def is_release(root: Path) -> bool:
    """Whether a folder is the release and no BIDS dataset."""
    return looks_like_release(root) and not any(root.glob("sub-*"))


def index_release(root: Path) -> tuple[str, Index, list[str]]:
    """The kind of image to take (a key of `KINDS`), its index, and what images there are, in sentences."""
    found = {kind: index for kind in KINDS if (index := _index(root, kind)) is not None}
    lines = [f"{what}: {_people(found.get(kind))}." for kind, what in KINDS.items()]
    measured = len(desikan_files(root)) or (desikan_tables(root) and "tables") or "none"
    lines.append(
        f"FreeSurfer's Desikan measures: {measured if isinstance(measured, str) else plural(measured, 'file')}."
    )
    best = next((kind for kind, index in found.items() if len(index.scans)), next(iter(found)))
    return best, found[best], lines


def _index(root: Path, kind: str) -> Index | None:
    """Index of one kind of image; None where the release has no folder of them."""
    if not any((root / part / (DERIVATIVES if kind else RAW)).is_dir() for part in PARTS):
        return None
    return build_index(root, Options.parse({"layout": LAYOUT, "maps": kind}))


def _people(index: Index | None) -> str:
    number = 0 if index is None else len(index.scans)
    return f"of {plural(number, 'participant')}" if number else "none"


def release_sections(root: Path, kind: str, index: Index, methods: list[str]) -> Iterator[str]:
    """Lines of YAML that follow ``bids_dir``.

    Parameters
    ----------
    root : Path
    kind : str
        What is trained on, of `KINDS`.
    index : Index
        Of that kind.
    methods : list of str
        Lines of ``pretrain`` that name the methods that ages allow.
    """
    splits = set(index.scans[SPLIT].dropna()) if SPLIT in index.scans else set()
    tested = [name for name in TESTED if name in splits]
    official = TRAINED in splits and bool(tested)
    yield from ["bids:", f"  layout: {LAYOUT} # the release as it is unpacked", ""]
    if not kind:
        yield from ["preprocess:", "  recipe: fast # its maps are missing: the raw scans are preprocessed", ""]
    yield "pretrain:"
    if kind:
        yield f"  arrays: {RELEASE} # the release's own maps; nothing is preprocessed"
        yield f"  map: {kind}"
    yield from methods if _measured(root) or not kind else _without_measures(methods)
    yield "  # final: [y-aware] # one more encoder, trained on all participants, for your own data"
    yield from ["  group: split # whole parts are held out", "  folds: 2"] if official else [_folds(index.scans)]
    yield from ["  epochs: 300 # use few without a GPU", "", "evaluate:"]
    yield "  tasks: [openbhb-age, openbhb-sex, openbhb-site] # site: siteXacq, as the challenge has it"
    if official:
        yield "  protocols: # the official split"
        yield from (f"    - {{kind: transfer, column: {SPLIT}, train: [{TRAINED}], test: [{name}]}}" for name in tested)
        yield "  interpret: false"
    yield "  unanswerable: skip"


def _measured(root: Path) -> bool:
    return bool(desikan_files(root) or desikan_tables(root))


def _without_measures(methods: list[str]) -> list[str]:
    """The same without the methods that train on regional measures."""
    if not any("anatcl" in line for line in methods):
        return methods
    return [
        f"  methods: [y-aware, simclr] # AnatCL needs Desikan measures ({json.dumps(SUFFIX['desikan'])}, or tables)"
    ]


def _folds(scans: pd.DataFrame) -> str:
    return f"  folds: {max(2, min(5, scans['participant_id'].nunique()))} # by participant: there is no official split"
