"""A table of the encoders that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base.files import read_json, read_tsv, sha256, write_tsv

COLUMNS = ["method", "fold", "seed", "encoder", "n_train", "epochs", "last_loss", "sha256"]


def list_models(models: Sequence[str | Path], out: str | Path) -> None:
    """Write one row per trained encoder.

    Parameters
    ----------
    models : sequence of path
        ``model.json`` files, with ``encoder.safetensors`` and ``history.tsv`` beside them.
    out : path
        Table: method, fold, seed, encoder, number of training participants, epochs, last loss, SHA-256 of the weights.
    """
    rows = [_row(Path(model)) for model in models]
    write_tsv(out, pd.DataFrame(rows, columns=COLUMNS).sort_values(["method", "fold", "seed"]))


def _row(model: Path) -> dict[str, Any]:
    about, history = read_json(model), read_tsv(model.with_name("history.tsv"))
    last = history["loss"].iloc[-1] if len(history) and "loss" in history else None
    return {
        "method": about["method"],
        "fold": about["fold"],
        "seed": about["seed"],
        "encoder": about["architecture"] if isinstance(about["architecture"], str) else about["architecture"]["name"],
        "n_train": len(about["train_participants"]),
        "epochs": len(history),
        "last_loss": last,
        "sha256": sha256(model.with_name("encoder.safetensors")),
    }
