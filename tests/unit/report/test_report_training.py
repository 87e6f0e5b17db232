"""What training wrote by epoch, drawn: the loss, and the early probe on the fold that is held out."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from anatcl.base.files import write_tsv
from anatcl.report.drawing import figures
from anatcl.report.page.page import record_context
from anatcl.report.records.results import Sources


def history(errors) -> pd.DataFrame:
    epochs = np.arange(1, len(errors) + 1)
    return pd.DataFrame({"epoch": epochs, "loss": 4.0 / epochs, "probe_age_mae": errors})


def test_a_probe_of_every_second_epoch_is_one_line_through_its_values():
    n = float("nan")
    drawn = figures.probe_curves({0: history([n, 12.0, n, 8.0]), 1: history([n, 10.0, n, 9.0])}, "y-Aware")
    assert drawn.note == "2 folds, mean 11.0 → 8.5 years" and "MAE, held out (years)" in drawn.chart
    paths = re.findall(r'class="line c[01]" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', drawn.chart)
    assert len(paths) == 2
    for path in paths:  # a smaller error later: to the right and lower on the page
        x, y, later, lower = map(float, path)
        assert later > x and lower > y


def test_one_probe_is_a_dot_and_none_is_no_drawing():
    only = figures.probe_curves({0: history([float("nan"), 7.0])}, "y-Aware")
    assert 'class="dots c0"' in only.chart and only.note == "1 fold, mean 7.0 → 7.0 years"
    assert figures.probe_curves({0: history([float("nan")] * 3)}, "y-Aware") is None
    assert figures.probe_curves({0: history([1.0]).drop(columns="probe_age_mae")}, "y-Aware") is None
    assert figures.learning_curves({0: pd.DataFrame({"epoch": [], "loss": []})}, "y-Aware") is None


@pytest.mark.parametrize("every", [0, 2])
def test_the_page_has_the_probe_where_there_was_one(pretrain_history, every):
    context = record_context(Sources(pretrain=pretrain_history(every)))
    assert [drawn.title for drawn in context["curves"]] == ["AnatCL (global)", "y-Aware"]
    assert [drawn.title for drawn in context["probes"]] == (["y-Aware"] if every else [])


@pytest.fixture
def pretrain_history(tmp_path):
    """Folder of two methods' histories; one was probed, if at all."""

    def write(every: int):
        for method in ("anatcl-global", "y-aware"):
            table = history([9.0, 8.0, 7.0, 6.0])
            table = table if every and method == "y-aware" else table.drop(columns="probe_age_mae")
            write_tsv(tmp_path / method / "fold-0" / "history.tsv", table)
        return tmp_path

    return write
