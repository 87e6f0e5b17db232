"""Everything the page shows, read once; whatever is missing is empty, never an error.

A run stopped after the measures, or one without a GPU stage, still gets its page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, read_tsv
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.build import load_scores

PathLike = str | Path | None


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the parts of a report come from; each may be missing."""

    benchmark: PathLike = None
    tables: PathLike = None
    scans: PathLike = None
    measures: PathLike = None
    reliability: PathLike = None
    preprocess: PathLike = None
    evaluate: PathLike = None
    pretrain: PathLike = None
    excluded: PathLike = None
    notes: PathLike = None
    runtime: PathLike = None
    methods: PathLike = None
    interpretation: PathLike = None
    config: PathLike = None
    cohort_page: PathLike = None
    decoded: Sequence[str] | None = None
    perturbed: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Embeddings of all scans by the encoder of one fold.

    Parameters
    ----------
    fold : int
        The fold whose participants the encoder has not seen.
    scan : ndarray of str, shape (N,)
        Scans, one per row.
    values : ndarray of float, shape (N, D)
        One row per scan.
    """

    fold: int
    scan: np.ndarray
    values: np.ndarray


def table(path: PathLike) -> pd.DataFrame:
    """Read a table; an empty one when there is no such file."""
    if path is None or not Path(path).is_file():
        return pd.DataFrame()
    return read_tsv(path)


def records(found: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as dictionaries; missing values are empty text."""
    return [{str(k): "" if pd.isna(v) else v for k, v in row.items()} for row in found.to_dict("records")]


def beside(folder: PathLike, name: str) -> pd.DataFrame:
    """Table `name` of a folder; an empty one when there is none."""
    return table(None if folder is None else Path(folder) / name)


def scores(path: PathLike) -> pd.DataFrame:
    """Read the benchmark table; an empty one when there is no such file."""
    return load_scores(path) if path is not None and Path(path).is_file() else pd.DataFrame()


def text(path: PathLike) -> str:
    """Read a text file; empty when there is no such file."""
    return Path(path).read_text(encoding="utf-8") if path is not None and Path(path).is_file() else ""


def configured(path: PathLike) -> dict[str, Any]:
    """The resolved configuration; empty when there is no such JSON file."""
    if path is None or Path(path).suffix != ".json" or not Path(path).is_file():
        return {}
    return dict(read_json(path))


def predictions(folder: PathLike) -> dict[tuple[str, str], pd.DataFrame]:
    """Predictions by method and task, from ``{method}/{task}_predictions.tsv``."""
    if folder is None:
        return {}
    files = sorted(Path(folder).glob("*/*_predictions.tsv"))
    return {(path.parent.name, path.name.removesuffix("_predictions.tsv")): read_tsv(path) for path in files}


def skipped(folder: PathLike) -> list[dict[str, str]]:
    """Tasks that the evaluation refused: ``task``, ``method`` (readable, joined) and ``flags`` (why)."""
    found = beside(folder, "skipped.tsv")
    if found.empty:
        return []
    named = found.assign(method=found["method"].map(words.method_label), flags=found["flags"].fillna(""))
    joined = named.groupby(["task", "flags"], sort=True)["method"].agg(", ".join).reset_index()
    return [{str(name): str(value) for name, value in row.items()} for row in joined.to_dict("records")]


def by_scan(predictions: pd.DataFrame) -> pd.DataFrame:
    """One prediction per scan: the mean over repetitions and encoders."""
    return predictions.groupby("scan", sort=True)[["y_true", "y_pred"]].mean().reset_index()


def fold_number(path: Path) -> int:
    """Number in a folder's name ``fold-3``."""
    return int(path.name.removeprefix("fold-"))


def fold_folders(folder: Path) -> list[Path]:
    """Folders ``fold-0``, ``fold-1`` ... in numerical order."""
    found = [path for path in folder.glob("fold-*") if path.name.removeprefix("fold-").isdigit()]
    return sorted(found, key=fold_number)


def histories(folder: PathLike) -> dict[str, dict[int, pd.DataFrame]]:
    """Training histories by method and fold, from ``{method}/fold-{k}/history.tsv``."""
    if folder is None or not Path(folder).is_dir():
        return {}
    found: dict[str, dict[int, pd.DataFrame]] = {}
    for method in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        for fold in fold_folders(method):
            if (fold / "history.tsv").is_file():
                found.setdefault(method.name, {})[fold_number(fold)] = read_tsv(fold / "history.tsv")
    return found


def perplexities(folder: PathLike) -> pd.DataFrame:
    """How far from uniform each method's pair weights are: columns ``method``, ``kernel``, ``share`` (mean of folds).

    A share of 1 means that every pair weighs the same.
    """
    rows = []
    for path in sorted(Path(folder).glob("*/fold-*/model.json")) if folder is not None else []:
        model = read_json(path)
        for kernel, share in (model.get("weights_perplexity") or {}).items():
            rows.append((path.parent.parent.name, str(kernel), float(share)))
    found = pd.DataFrame(rows, columns=["method", "kernel", "share"])
    return found.groupby(["method", "kernel"], sort=True)[["share"]].mean().reset_index()


def embeddings(folder: PathLike) -> dict[str, Embedding]:
    """The embeddings of each method's first fold, from ``{method}/fold-{k}/embeddings.npz``."""
    if folder is None or not Path(folder).is_dir():
        return {}
    found = {}
    for method in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        for fold in fold_folders(method):
            if (fold / "embeddings.npz").is_file():
                with np.load(fold / "embeddings.npz", allow_pickle=False) as arrays:
                    found[method.name] = Embedding(fold_number(fold), arrays["scan"], arrays["embedding"])
                break
    return found


def quality(folder: PathLike, scans: list[str]) -> dict[str, dict[str, Any]]:
    """Numbers of ``{scan}_desc-qc.json`` by scan, for the scans that have one."""
    if folder is None:
        return {}
    paths = {scan: Path(folder) / f"{scan}_desc-qc.json" for scan in scans}
    return {scan: read_json(path) for scan, path in paths.items() if path.is_file()}


def run_records(*folders: PathLike) -> list[dict[str, Any]]:
    """All ``run.json`` under some folders, each with its ``path`` relative to its folder."""
    found = []
    for folder in folders:
        if folder is not None and Path(folder).is_dir():
            for path in sorted(Path(folder).rglob("run.json")):
                name = path.parent.relative_to(Path(folder).parent).as_posix()
                found.append({"path": name, **read_json(path)})
    return found
