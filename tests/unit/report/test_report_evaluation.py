"""Curves and counts of two classes, and the checklist: known answers, open where nothing is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from anatcl.report.drawing.classes import calibration_curve, classes, confusion, roc_curve
from anatcl.report.records.checklist import checklist, run_of
from anatcl.report.records.results import Sources


@pytest.fixture
def table(rng) -> pd.DataFrame:
    y = (rng.random(200) < 0.4).astype(int)
    score = np.round(y + rng.normal(size=200), 1)  # with ties
    return pd.DataFrame({"scan": np.arange(200).astype(str), "y_true": y, "score": score, "protocol": "5-fold",
                         "y_pred": (score > 0.5).astype(int), "prob": 1 / (1 + np.exp(-score))})  # fmt: skip


def test_curves_equal_scikit_learns(table):
    false, true = roc_curve(table["y_true"], table["score"])
    assert metrics.auc(false, true) == pytest.approx(metrics.roc_auc_score(table["y_true"], table["score"]))
    predicted, share = calibration_curve(table["y_true"], table["prob"])
    assert len(predicted) == 10 and (np.diff(predicted) >= 0).all()
    assert share.mean() == pytest.approx(table["y_true"].mean())
    tn, fp, fn, tp = metrics.confusion_matrix(table["y_true"], table["y_pred"]).ravel()
    assert confusion(table) == (tp, fn, fp, tn)
    assert confusion(pd.concat([table, table])) == (tp, fn, fp, tn)


def test_every_binary_task_is_drawn_once(table):
    regression = table[["scan", "y_true", "y_pred"]]
    (found,) = classes({("a", "sick"): table, ("confounds", "sick"): table, ("a", "age"): regression})
    assert found.task == "sick" and [row[0] for row in found.counts] == ["a", "Confounds"]
    assert [item.title for item in found.drawn] == ["ROC", "Calibration"]


def test_the_checklist_is_open_without_a_run(tmp_path):
    assert all(item.answer == "" for item in checklist(run_of(Sources())))
    (tmp_path / "scans.tsv").write_text("scan\tparticipant_id\tsite\na\tp\tx\nb\tq\ty\n")
    answers = {item.asks: item.answer for item in checklist(run_of(Sources(scans=tmp_path / "scans.tsv")))}
    assert answers["Sources of data"] == "2 scans of 2 participants at 2 sites; see Cohort"
    assert answers["Funding"] == ""
