"""Other tools' tables of features are methods by configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anatcl.base.errors import InputError
from anatcl.plan.plan import Plan
from anatcl.spec.layers import resolve

TEXT = """
evaluate:
  baselines: [majority-median]
  features: {foreign: {table: tables/foreign.csv, columns: "f.*"}}
  protocols: [folds, {kind: few-shot, sizes: [8, 16]}]
"""


def test_a_table_is_a_method_and_its_path_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(TEXT)
    plan = Plan(resolve([tmp_path / "my.yaml"], {}, Path.cwd()), refresh=False)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "foreign.csv").touch()
    assert plan.rivals[-2:] == ["majority-median", "foreign"]
    assert plan.rival("foreign") == (str(tmp_path / "tables" / "foreign.csv"), "f.*")
    assert plan.rival("majority-median") == ("results/measures/measures.tsv", "majority-median")
    word, text = plan.protocols()
    assert word == "folds" and json.loads(text) == {"kind": "few-shot", "sizes": [8, 16]}


@pytest.mark.parametrize("name", ["untrained", "tissue-volumes", "a b", "../x"])
def test_a_table_needs_a_name_of_its_own(name: str) -> None:
    plan = Plan({"evaluate": {"features": {name: {"table": "x.csv"}}}}, refresh=False)
    with pytest.raises(InputError, match="features"):
        _ = plan.rivals


def test_a_table_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    plan = Plan({"evaluate": {"features": {"foreign": {"table": str(tmp_path / "absent.csv")}}}}, refresh=False)
    with pytest.raises(InputError, match=r"absent\.csv.*'foreign' does not exist.*relative to the file"):
        plan.rival("foreign")
