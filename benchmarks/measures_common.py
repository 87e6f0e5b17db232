"""What the comparisons of measures share: correlations with intervals, and how their results are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats


def correlation(a: Any, b: Any) -> tuple[float, float, float, int]:
    """Pearson's r with its 95 % interval (Fisher's z) and the number of pairs that are whole."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    use = np.isfinite(a) & np.isfinite(b)
    n = int(use.sum())
    if n < 4:
        return (np.nan, np.nan, np.nan, n)
    r = float(np.clip(np.corrcoef(a[use], b[use])[0, 1], -0.999999, 0.999999))
    half = stats.norm.ppf(0.975) / np.sqrt(n - 3)
    return r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)), n


def agreement(name: str, ours: Any, theirs: Any, unit: str, note: str = "") -> dict[str, Any]:
    """One row: correlation, means, and the mean difference in percent of the reference."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    use = np.isfinite(ours) & np.isfinite(theirs)
    r, low, high, n = correlation(ours, theirs)
    difference = (ours - theirs)[use]
    mean, shift = theirs[use].mean(), difference.mean()
    return {
        "quantity": name, "unit": unit, "n": n, "r": r, "r_low": low, "r_high": high, "ours_mean": ours[use].mean(),
        "reference_mean": mean, "mean_difference": shift, "percent_difference": 100 * shift / mean, "note": note,
    }  # fmt: skip


def write(folder: Path, name: str, table: pd.DataFrame, about: dict[str, Any], text: str = "") -> None:
    """Write ``<name>.tsv``, ``<name>.md`` (the same for readers) and ``<name>.json`` (how it was made)."""
    from anatcl.base.files import write_json, write_text, write_tsv
    from anatcl.base.provenance import hardware, versions

    write_tsv(folder / f"{name}.tsv", table, "%.5g")
    write_text(folder / f"{name}.md", f"{text}\n\n{markdown(table)}\n".lstrip())
    write_json(folder / f"{name}.json", about | {"versions": versions(), "hardware": hardware()})


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; numbers with four digits, missing ones empty."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(_cell(v) for v in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return ""
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def last_line(result: dict[str, Any]) -> str:
    """The JSON line that a benchmark ends with; floats rounded, NaN as null."""
    return json.dumps({k: _plain(v) for k, v in result.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float | np.floating):
        return None if not np.isfinite(value) else float(f"{value:.5g}")
    return value.item() if isinstance(value, np.generic) else value
