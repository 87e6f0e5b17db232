"""Other tools' tables of features are methods by configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anatcl.plan.plan import Plan
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse
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
    assert plan.methods.all[-2:] == ["majority-median", "foreign"]
    assert (plan.methods.table("foreign"), plan.methods.columns("foreign")) == (
        str(tmp_path / "tables" / "foreign.csv"),
        "f.*",
    )
    assert plan.methods.table("majority-median") == "results/measures/measures.tsv"
    assert plan.methods.columns("majority-median") == "majority-median"
    word, text = plan.tasks.protocols()
    assert word == "folds" and json.loads(text) == {"kind": "few-shot", "sizes": [8, 16]}


@pytest.mark.parametrize("name", ["untrained", "tissue-volumes", "a b", "../x"])
def test_a_table_needs_a_name_of_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("scan,f1\n")
    config = parse({"evaluate": {"features": {name: {"table": str(tmp_path / "x.csv")}}}})
    ((place, error),) = check_files_and_names(config)
    assert place == ("evaluate", "features", name) and f"{name!r}" in str(error)
    assert ("another method's name" in str(error)) == (name in ("untrained", "tissue-volumes"))


def test_every_seed_of_a_trained_encoder_is_embedded_and_audited() -> None:
    layers = {"pretrain": {"methods": ["y-aware"], "folds": 2, "seeds": 2}, "evaluate": {"untrained_seeds": 2}}
    plan = Plan(resolve([], layers, Path.cwd()), refresh=False)
    places = ["y-aware/fold-0", "y-aware/fold-1", "y-aware/seed-1/fold-0", "y-aware/seed-1/fold-1"]
    assert plan.methods.trainings == ["y-aware", "y-aware/seed-1", "untrained"]
    assert plan.methods.embeddings("y-aware") == [f"results/evaluate/{place}/embeddings.npz" for place in places]
    assert plan.methods.encoder_files("y-aware") == [f"results/pretrain/{place}/model.json" for place in places]
    assert [plan.methods.seed_count(m) for m in ("y-aware", "untrained", "voxel-pca")] == [2, 2, 1]
    assert plan.methods.embeddings("untrained")[-1] == "results/evaluate/untrained/seed-1/embeddings.npz"
    seeds = [
        json.loads(plan.training.options(*plan.methods.method_and_seed(t)))["seed"] for t in plan.methods.trainings
    ]
    assert seeds == [plan.config.seed, plan.config.seed + 1, plan.config.seed]
