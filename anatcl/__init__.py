"""From a BIDS dataset of T1-weighted scans to AnatCL benchmark tables.

>>> import anatcl
>>> encoder = anatcl.load_encoder("results/pretrain/anatcl-local/fold-0")  # doctest: +SKIP
>>> table = anatcl.embed(encoder, ["sub-01_T1w.nii.gz"])  # doctest: +SKIP

Names below are imported when they are first used: `load_encoder`, `embed`, `evaluate`, `losses`, `METHODS`, and
`AnatCL`, the class of the authors' package with the same arguments.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["METHODS", "AnatCL", "embed", "evaluate", "load_encoder", "losses"]
# Where each name is; an empty text: the name is a module of its own.
_PLACES = {
    "METHODS": "anatcl.api",
    "AnatCL": "anatcl.dropin",
    "embed": "anatcl.api",
    "evaluate": "",
    "load_encoder": "anatcl.api",
    "losses": "",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    place = _PLACES[name]
    return getattr(importlib.import_module(place), name) if place else importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
