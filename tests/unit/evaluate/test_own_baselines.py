"""A baseline of the user's own: the page's example, what it may not do, and how it is named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.base.named import plugins
from anatcl.evaluate.probes.own import OwnProbe
from anatcl.evaluate.steps.task import Settings, run_task
from anatcl.plan.methods import Methods
from anatcl.spec.baselines import OwnBaseline
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse
from anatcl.spec.layers import read_layers

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "extend.md").read_text(encoding="utf-8")
FOREST = next(piece for piece in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def forest" in piece)
WRONG = """
import numpy as np

class Wrong:
    def __init__(self, kind):
        pass
    def fit(self, x, y):
        self.n = len(y)
    def predict(self, x):
        return np.zeros(self.n)

class Drawn(Wrong):
    def predict(self, x):
        return np.random.random(len(x))
    def fit(self, x, y):
        self.n, x[:], y[:] = len(y), 0, 0
"""


@pytest.fixture
def files(tmp_path, rng):
    (tmp_path / "my_baselines.py").write_text(FOREST)
    (tmp_path / "wrong_baselines.py").write_text(WRONG)
    names = [f"sub-{i:03d}" for i in range(60)]
    scans = pd.DataFrame(
        {"scan": names, "participant_id": names, "age": rng.uniform(20, 80, 60), "sex": ["M", "F"] * 30}
    )
    # A square: no line tells it.
    x = (scans["age"] - 50) * rng.choice([-1, 1], 60)
    measures = pd.DataFrame({"scan": names, "thickness_lh_bankssts": x, "thickness_lh_cuneus": rng.normal(size=60)})
    write_tsv(tmp_path / "scans.tsv", scans.assign(far=(scans["age"] - 50).abs()))
    write_tsv(tmp_path / "measures.tsv", measures)
    write_tsv(tmp_path / "folds.tsv", scans[["participant_id"]].assign(fold=np.arange(60) % 3))
    return tmp_path


def scored(files: Path, task: dict, own: OwnBaseline | None) -> pd.DataFrame:
    out = files / "p.tsv", files / "s.tsv"
    settings = Settings(n_bootstrap=20, shuffles=1, own=own)
    measures = files / "measures.tsv"
    run_task(task, "m", files / "scans.tsv", files / "folds.tsv", *out, features=measures,
             feature_set="regional-measures", measures=measures, settings=settings)  # fmt: skip
    return read_tsv(out[1]).set_index("metric")


FAR = {"name": "far", "kind": "regression", "target": "far"}


def test_the_pages_forest_finds_what_a_line_cannot(files):
    forest = OwnBaseline(baseline=f"{files}/my_baselines.py:forest", arguments={"trees": 30})
    assert scored(files, FAR, forest).loc["mae", "value"] < 0.5 * scored(files, FAR, None).loc["mae", "value"]
    old = {"name": "old", "kind": "binary", "target": "age", "threshold": 50}
    found = scored(files, old, forest)
    assert found.loc["roc_auc", "value"] > 0.4 and found.loc["roc_auc", "folds"] == 3
    sex = {"name": "sex", "kind": "binary", "target": "sex", "positives": ["M"], "negatives": ["F"]}
    assert 0 <= scored(files, sex, forest).loc["brier", "value"] <= 1


def test_what_it_lacks_is_said(files):
    wrong = OwnBaseline(baseline=f"{files}/wrong_baselines.py:Wrong")
    with pytest.raises(InputError, match=r"predicted shape \(40,\), where \(20,\)"):
        scored(files, FAR, wrong)
    skipped = scored(
        files, {"name": "sex", "kind": "binary", "target": "sex", "positives": ["M"], "negatives": ["F"]}, wrong
    )
    assert "no method predict_proba for a binary task" in skipped.loc["skipped", "flags"]


def test_what_it_draws_is_drawn_again_and_what_it_changes_is_a_copy(files, rng):
    drawn = OwnProbe(OwnBaseline(baseline=f"{files}/wrong_baselines.py:Drawn"), "regression")
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    before = x.copy(), y.copy()
    first, again = (drawn.fit(x, y, np.arange(9), np.random.default_rng(3)).predict(x) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert first.shape == (9, 2)


def test_it_is_named_in_the_configuration_or_by_an_installed_package(files, monkeypatch):
    (files / "own.yaml").write_text(
        'evaluate:\n  own:\n    forest: {baseline: "my_baselines.py:forest", columns: tissue-volumes}\n'
        '    absent: {baseline: "my_baselines.py:wood"}\n    y-aware: {baseline: "nowhere.py:X", columns: "("}\n'
    )
    config = parse(read_layers([files / "own.yaml"], {}, Path("/elsewhere")).values)
    errors = {".".join(map(str, place)): str(error) for place, error in check_files_and_names(config)}
    assert "defines no 'wood'" in errors["evaluate.own.absent.baseline"]
    assert "not a regular expression" in errors["evaluate.own.y-aware.columns"]
    assert "does not exist" in errors["evaluate.own.y-aware.baseline"] and "evaluate.own.forest.baseline" not in errors
    methods = Methods(config)
    assert "forest" in methods.tables and methods.columns("forest") == "tissue-volumes"
    flag, text = methods.own_flag("forest")
    assert flag == "--own" and json.loads(text)["baseline"] == f"{files}/my_baselines.py:forest"
    assert len(methods.table_content("forest")) == 64 and methods.own_flag("tissue-volumes") == []
    info = files / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[anatcl.baselines]\ntheir-forest = my_baselines:forest\n")
    monkeypatch.setattr(sys, "path", [str(files), *sys.path])
    plugins.cache_clear()
    try:
        told = parse({"evaluate": {"baselines": ["tissue-volumes", "their-forest"]}})
        assert Methods(told).tables == ["tissue-volumes", "their-forest"]
        with pytest.raises(InputError, match=r"their-forst.*'their-forest'"):
            parse({"evaluate": {"baselines": ["their-forst"]}})
    finally:
        plugins.cache_clear()
