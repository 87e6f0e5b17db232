"""Limits of quality numbers, from a file and from Snakemake's ``--config``."""

from __future__ import annotations

import pytest

from anatcl.base.errors import InputError
from anatcl.spec.config import parse


def test_numbers_in_quotes_are_numbers() -> None:
    """Snakemake hands on numbers within lists as text."""
    assert parse({"preprocess": {"qc": {"cjv": [None, "0.9"], "icv_ml": ["700", 2400]}}}) == parse(
        {"preprocess": {"qc": {"cjv": [None, 0.9], "icv_ml": [700, 2400]}}}
    )


@pytest.mark.parametrize("limit", ["much", "nan", True, [1]])
def test_other_limits_are_refused(limit: object) -> None:
    with pytest.raises(InputError, match="numbers or null"):
        parse({"preprocess": {"qc": {"cjv": [None, limit]}}})
