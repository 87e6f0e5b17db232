"""Confounds, which may explain a target: site, age, sex, head size, image quality, and columns that a user names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.evaluate.data.features import DEMOGRAPHICS, Features, no_features
from anatcl.spec.names import QUALITY_CONFOUNDS
from anatcl.spec.task import canonical


def present(table: pd.DataFrame, target: str, site: str, extra: Sequence[str] = ()) -> list[str]:
    """Confounds that the table knows and that vary, less the target.

    Raises
    ------
    InputError
        A column of `extra` is not there.
    """
    absent = [c for c in extra if c not in table]
    if absent:
        remedy = f"{nearest(absent[0], list(map(str, table.columns)))} Correct evaluate: confounds."
        raise InputError(f"the scans table has no confound {absent[0]!r}.", None, remedy)
    wanted = dict.fromkeys((site, *DEMOGRAPHICS, *QUALITY_CONFOUNDS, *extra))
    return [c for c in wanted if c != target and c in table and table[c].nunique() > 1]


def is_number(table: pd.DataFrame, column: str, site: str) -> bool:
    """Whether a confound is a quantity; sites and sexes are none, whatever their codes."""
    return column not in (site, "sex") and bool(pd.api.types.is_numeric_dtype(table[column]))


def confounds(table: pd.DataFrame, target: str, site: str, extra: Sequence[str] = ()) -> Features:
    """Confounds as features: numbers as they are, others as one indicator per value but the first.

    Parameters
    ----------
    table : DataFrame of n rows
        Scans with what is known of them.
    target : str
        Column that is predicted.
    site : str
        Column of the site.
    extra : sequence of str
        Further columns.
    """
    columns, names = [], []
    for name in present(table, target, site, extra):
        if is_number(table, name, site):
            columns.append(table[name].to_numpy(float))
            names.append(name)
            continue
        text = table[name].map(canonical)
        for level in sorted(set(text) - {""})[1:]:
            columns.append(np.where(text == "", np.nan, text == level))
            names.append(f"{name}={level}")
    if not names:
        return no_features(len(table))
    matrix = np.column_stack(columns).astype(float)
    return Features({-1: matrix}, np.isfinite(matrix).any(1), names)
