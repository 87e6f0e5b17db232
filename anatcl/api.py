"""What `import anatcl` offers: encoders, embeddings, scores. Nothing here changes torch's global state for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from anatcl.base.errors import InputError
from anatcl.spec.names import methods

METHODS: tuple[str, ...] = methods()
PROTOCOL = {"kind": "repeated", "folds": 5}


def load_encoder(source: str | Path | Mapping[str, Any]) -> nn.Module:
    """Load an encoder in evaluation mode, on the CPU; no code of a file is executed.

    Parameters
    ----------
    source : path, str or mapping
        A folder with ``model.json`` that this project wrote, a published name (``anatcl-g3/global/fold-0``, downloaded
        when first used), or the value of ``evaluate: encoders: NAME`` for an outside encoder.

    Returns
    -------
    nn.Module
        ``encoder.embed(x)`` maps volumes (N, 1, X, Y, Z) to (N, D) float32; ``encoder.contract`` is its ``model.json``.

    Raises
    ------
    InputError
        It cannot be used; the message gives the reason and a remedy.
    """
    from anatcl.pretrain.outside import open_encoder
    from anatcl.spec.encoders import Encoder

    values = dict(source) if isinstance(source, Mapping) else {"weights": str(source)}
    model, contract = open_encoder(Encoder.parse(values, "encoder").member(0))
    model.contract = contract  # type: ignore[assignment]
    return model


def embed(
    encoder: nn.Module | str | Path | Mapping[str, Any],
    images: Sequence[str | Path],
    *,
    device: str = "auto",
    precision: str = "auto",
) -> pd.DataFrame:
    """Embed preprocessed maps (NIfTI); raw scans go through ``python -m anatcl embed``, which preprocesses them.

    Parameters
    ----------
    encoder : nn.Module of `load_encoder`, or its source
    images : sequence of path
    device : {"auto", "cpu", "cuda"}
    precision : {"auto", "fp32", "bf16", "fp16"}

    Returns
    -------
    DataFrame
        ``scan``, ``participant_id``, ``image``, ``e000`` ...: one row per usable image; others are logged.
    """
    from anatcl.pretrain.device import applied, for_embedding
    from anatcl.pretrain.embed_images import embed_with

    model = encoder if isinstance(encoder, nn.Module) else load_encoder(encoder)
    contract: Mapping[str, Any] = model.contract  # type: ignore[assignment]
    place = for_embedding(str(contract.get("architecture", "")), device, precision)
    with applied(place):
        return embed_with(model, contract, images, device=place)[0]


def evaluate(
    features: np.ndarray | pd.DataFrame,
    people: pd.DataFrame,
    task: str | Mapping[str, Any],
    *,
    protocol: str | Mapping[str, Any] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score features on a task: probes with inner cross-validation, 95 % intervals by participant, shuffled controls.

    Parameters
    ----------
    features : array or DataFrame of shape (n, d)
        One row for each row of `people`, in its order.
    people : DataFrame of n rows
        The task's columns; ``participant_id`` and ``scan`` if a participant has several rows.
    task : str or mapping
        A shipped name (``age``, ``sex``), or a task as a mapping: ``{name, kind, target, positives, negatives, ...}``.
    protocol : str or mapping, optional
        Five folds by default; see `anatcl.spec.protocol.Design`.
    bootstrap : int
        Resamples of participants.
    seed : int

    Returns
    -------
    DataFrame
        A row per metric: ``metric``, ``value``, ``low``, ``high``, ``n``, ``flags`` ...; ``skipped`` with the reason
        if the participants cannot answer the task.

    Raises
    ------
    InputError
        The numbers of rows differ, or some features are not numbers.
    """
    from anatcl.evaluate.data.features import Features
    from anatcl.evaluate.steps.task import Settings, evaluate_task
    from anatcl.spec.task import load_task

    matrix, names = _matrix(features)
    if len(matrix) != len(people):
        reason = f"there are {len(matrix)} rows of features and {len(people)} rows of people."
        raise InputError(reason, None, "Give one row of features for each row of people, in the same order.")
    told = dict(task) if isinstance(task, Mapping) else task
    design = dict(protocol) if isinstance(protocol, Mapping) else protocol or PROTOCOL
    given = Features({-1: matrix}, np.isfinite(matrix).all(1), names)
    settings = Settings(design, seed, bootstrap)
    return evaluate_task(load_task(told), "features", _named(people), given, None, settings)[1]


def _matrix(features: np.ndarray | pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    names = [str(c) for c in features.columns] if isinstance(features, pd.DataFrame) else []
    try:
        matrix = np.asarray(features, float)
    except (TypeError, ValueError) as error:
        raise InputError("some features are not numbers.", None, "Keep numeric columns only.") from error
    if matrix.ndim != 2:
        raise InputError(f"the features have shape {matrix.shape}, not (rows, features).", None, "Reshape them.")
    return matrix, names or [f"f{i}" for i in range(matrix.shape[1])]


def _named(people: pd.DataFrame) -> pd.DataFrame:
    """The table with names where it has none: each row is a person of their own."""
    table = people.reset_index(drop=True)
    numbers = [f"row-{i:06d}" for i in range(len(table))]
    if "participant_id" not in table:
        table = table.assign(participant_id=table.get("scan", numbers))
    return table if "scan" in table else table.assign(scan=numbers)
