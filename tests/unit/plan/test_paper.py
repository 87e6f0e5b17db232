"""The paper's protocol as one configuration: twelve tasks, ten scores, published values."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from anatcl.evaluate.statistics.published import PROTOCOL, load_published, published_rows
from anatcl.plan.check import _tasks
from anatcl.plan.methods import Methods
from anatcl.plan.plan import Plan
from anatcl.spec.check_seen import check_seen
from anatcl.spec.config import parse
from anatcl.spec.task import load_task

ROOT = Path(__file__).resolve().parents[3]
PAPER = yaml.safe_load((ROOT / "workflow" / "paper.yaml").read_text(encoding="utf-8"))


def test_it_has_the_twelve_tasks_and_the_ten_scores():
    tasks = [load_task(name) for name in PAPER["evaluate"]["tasks"]]
    assert sum(task.table != "clinical_scores" for task in tasks) == 12
    assert sum(task.table == "clinical_scores" for task in tasks) == 10
    config = parse(PAPER)
    assert {"y-aware", "simclr", "expw", "age-regression"} <= set(config.pretrain.methods)
    assert config.evaluate.encoders["official-anatcl-local"].members == 5


def test_what_the_dataset_lacks_is_skipped_with_a_sentence(caplog):
    table = pd.DataFrame({"scan": [f"s{i}" for i in range(80)], "participant_id": [f"s{i}" for i in range(80)]})
    table = table.assign(age=range(80), sex=["M", "F"] * 40, site="A")
    assert _tasks(Plan(parse(PAPER)), table) == []
    assert "will be skipped" in caplog.text and "'dsm'" in caplog.text and "'openbhb-age'" not in caplog.text
    refusing = {**PAPER, "evaluate": {**PAPER["evaluate"], "unanswerable": "refuse"}}
    assert len(_tasks(Plan(parse(refusing)), table)) >= 10


def test_encoders_that_saw_the_very_cohort_are_left_out_or_refused(tmp_path):
    release = {**PAPER, "bids": {"layout": "openbhb"}}
    skipping = parse(release)
    assert list(check_seen(skipping)) == []
    assert Methods(skipping).brought == [] and len(Methods(parse(PAPER)).brought) == 2
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.json").write_text('{"pretrained_on": ["OpenBHB"], "train_participants": null}')
    (tmp_path / "people.txt").write_text("sub-1\n")
    script = {"weights": "a.ts", "input": {"map": "vbm", "shape": [9, 9, 9]}, "pretrained_on": ["OpenBHB"]}
    encoders = {
        "named": script,
        "listed": {**script, "participants": str(tmp_path / "people.txt")},
        "other": {**script, "pretrained_on": "unknown"},
        "bundle": {"weights": str(tmp_path / "bundle")},
    }
    refusing = parse({"bids": {"layout": "openbhb"}, "evaluate": {"encoders": encoders}})
    wrong = {place[-1]: error.reason for place, error in check_seen(refusing)}
    assert set(wrong) == {"named", "bundle"} and "pretrained on OpenBHB" in wrong["named"]


def test_published_values_are_those_of_the_figure_and_name_their_source():
    rows = [row for row in load_published() if "animated figure" in row["source"]]
    assert len(rows) == 33 and all(0.5 < row["value"] < 0.85 for row in rows)
    found = {(row["task"], row["method"]): row["value"] for row in rows}
    assert found["schizconnect-bipolar", "anatcl-global"] == pytest.approx(0.842)
    assert found["schizconnect-schizoaffective", "y-aware"] == pytest.approx(0.703)
    assert found["oasis3-hc-ad", "simclr"] == pytest.approx(0.740)
    table = pd.DataFrame({"task": ["adni-hc-ad"], "kind": ["binary"], "group": ["diagnosis"]})
    beside = published_rows(["adni-hc-ad"], table)
    assert {row["protocol"] for row in beside} == {PROTOCOL} and "no interval published" in beside[0]["flags"]
    assert set(found) == {
        (task, method) for task in {t for t, _ in found} for method in ("anatcl-global", "y-aware", "simclr")
    }
