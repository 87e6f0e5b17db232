"""The methods text says of every option and engine what was done, and nothing that was not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anatcl.base.files import write_json, write_tsv
from anatcl.report.records import methods, options
from anatcl.spec.config import Config
from anatcl.spec.protocol import Design
from anatcl.spec.task import Task

# Options that change how, how fast or where something is computed or shown, and nothing that a reader must know; and
# those of which the records speak, which the tests below ask for one by one.
SILENT = {
    "bids_dir", "deterministic", "device", "report.title", "failures.retry", "failures.fatal", "failures.check_disk",
    "bids.columns", "bids.sex_levels", "bids.units", "bids.missing", "bids.verify",
    "preprocess.threads", "measures.chunk", "pretrain.dtype",
    "pretrain.threads", "pretrain.gpus", "pretrain.nodes", "pretrain.processes",
    "pretrain.options.probe_every", "pretrain.options.compile", "pretrain.options.tensorboard",
    "evaluate.unanswerable", "evaluate.untrained_seeds",
    "task.name", "task.kind", "task.target", "task.positives", "task.negatives", "task.classes", "task.metrics",
    "task.unit", "task.site", "task.dataset", "task.table", "task.note",
}  # fmt: skip
OF_RECORDS = {
    "seed", "preprocess.recipe", "preprocess.deformable", "preprocess.skullstrip.method", "preprocess.skullstrip.masks",
    "preprocess.skullstrip.retry", "preprocess.skullstrip.compare", "measures.atlas", "measures.thickness",
    "measures.engine", "measures.freesurfer", "measures.surface_mm", "measures.surface_qc",
    "pretrain.methods", "pretrain.encoder", "pretrain.epochs", "pretrain.batch_size", "pretrain.learning_rate",
    "pretrain.temperature", "evaluate.tasks", "evaluate.protocols", "evaluate.baselines", "evaluate.rivals",
    "evaluate.finetune.epochs", "evaluate.finetune.batch_size", "evaluate.finetune.learning_rate", "protocol.train",
    "protocol.test",
}  # fmt: skip
# Values that differ from the default, where the next word or number would not do.
OTHERS: dict[str, Any] = {
    "preprocess.qc": {"cjv": [None, 1.5]}, "bids.voxel_mm": [0.5, 3.0], "bids.runs": "first",
    "bids.layout": "openbhb", "pretrain.final": ["y-aware"],
    "bids.unoriented": "accept", "pretrain.map": "quasi-raw", "pretrain.precision": "bf16",
    "pretrain.crop": [[0, 9], [0, 9], [0, 9]], "pretrain.options.pooling": "grid",
    "pretrain.options.optimiser": "adamw", "pretrain.options.schedule": "cosine",
    "pretrain.options.missing_measures": "drop", "pretrain.options.augment": {"flip": {}},
    "pretrain.joint": {"both": {"simclr": 1.0}}, "pretrain.own": {"mine": {"loss": "my_loss:Mine"}},
    "evaluate.own": {"wood": {"baseline": "my:forest"}},
    "pretrain.options.permuted": ["y-aware"], "measures.thickness_options": {"steps": 9},
    "evaluate.features": {"theirs": {"table": "x.tsv"}}, "evaluate.encoders": {"theirs": {"weights": ["x.pt"]}},
    "evaluate.finetune.methods": ["y-aware"], "evaluate.subgroups": ["handedness"],
    "protocol.kind": "repeated", "protocol.probe": "knn", "protocol.folds": 7, "protocol.repeats": 3,
    "protocol.sizes": [3], "protocol.column": "scanner", "task.harmonise": "combat", "task.per_participant": "first",
    "task.threshold": 3.5, "task.gap_groups": [{"name": "g", "column": "c", "positives": ["a"], "negatives": ["b"]}],
    "task.covariates": ["height"], "task.preserve": ["height"], "task.query": "age > 20",
}  # fmt: skip
# What an option of a task needs beside it.
BESIDE: dict[str, dict[str, Any]] = {
    "task.covariates_query": {"covariates": ["height"]},
    "task.preserve": {"harmonise": "combat"},
    "task.threshold": {"kind": "binary"},
}
TASK = {"name": "t", "kind": "regression", "target": "age"}


def everything() -> Iterator[str]:
    """Dotted names of all options, of tasks and protocols, too."""
    yield from dict(options.leaves(Config().model_dump(mode="json", by_alias=True)))
    yield from (f"task.{name}" for name in Task.model_fields)
    yield from (f"protocol.{name}" for name in Design.model_fields)


def default_of(name: str) -> Any:
    """The default of an option, of the whole configuration."""
    whole = dict(options.leaves(Config().model_dump(mode="json", by_alias=True)))
    return whole[name] if name in whole else options.defaults()[name]


def another(name: str) -> Any:
    """A value of an option that is not its default."""
    if name in OTHERS:
        return OTHERS[name]
    default = default_of(name)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    return ["other"] if isinstance(default, list) else "other"


def changed(name: str) -> dict[str, Any]:
    """The default configuration with another value of one option."""
    config = Config().model_dump(mode="json", by_alias=True)
    config["evaluate"]["tasks"] = [copy.deepcopy(TASK)]
    config["evaluate"]["tasks"][0] |= BESIDE.get(name, {})
    *path, last = name.split(".")
    if path == ["task"]:
        config["evaluate"]["tasks"][0] |= {last: another(name)}
    elif path == ["protocol"]:
        kinds = {"sizes": "few-shot", "folds": "repeated", "repeats": "repeated", "column": "leave-site-out"}
        design = {"kind": kinds.get(last, "folds"), last: another(name)}
        config["evaluate"]["protocols"] = [design]
    else:
        section = config
        for part in path:
            section = section[part]
        section[last] = another(name)
    return config


@pytest.fixture(scope="module")
def text_of(results_dir: Path) -> Any:
    """The methods text of the made-up run with a configuration."""
    keep = [next((results_dir / "pretrain" / "y-aware").rglob("model.json")), results_dir / "evaluate" / "scores.tsv"]

    def text(config: dict[str, Any]) -> str:
        preprocess = results_dir / "preprocess" / "sub-02" / "anat"
        return methods.methods_text(
            preprocess, [*keep, results_dir / "measures" / "run.json"], json.loads(json.dumps(config))
        )

    return text


def test_every_option_is_known_to_this_test() -> None:
    names = set(everything())
    assert names >= SILENT | OF_RECORDS, sorted((SILENT | OF_RECORDS) - names)
    assert not SILENT & OF_RECORDS and set(OTHERS) <= names


@pytest.mark.parametrize("name", sorted(set(everything()) - SILENT - OF_RECORDS))
def test_every_option_has_its_sentence(name: str, text_of: Any) -> None:
    usual = Config().model_dump(mode="json", by_alias=True)
    usual["evaluate"]["tasks"] = [copy.deepcopy(TASK)]
    usual["evaluate"]["tasks"][0] |= BESIDE.get(name, {}) if name != "task.threshold" else {}
    assert text_of(changed(name)) != text_of(usual), f"the methods text does not say that {name} was changed"


def test_defaults_of_sentences_are_those_of_the_configuration() -> None:
    stages = methods._data("methods.yaml")
    said = [pair for s in stages for rule in s["sentences"] for pair in rule.get("unlike", {}).items()]
    said = [pair for pair in said if pair != ("pretrain.arrays", "release")]  # not a default, but a word of its own
    assert said and all(default_of(name) == value for name, value in said)
    whole = dict(options.leaves(Config().model_dump(mode="json", by_alias=True)))
    assert all(whole[name] == value for name, value in options.defaults().items() if name in whole)
    named = {rule["option"] for s in stages for rule in s["sentences"] if isinstance(rule.get("option"), str)}
    # An option without a default here counts as asked for when it is not empty: its default must be.
    assert not any(default_of(name) for name in named - set(options.defaults()))


def written(folder: Path, stage: str, name: str, record: dict[str, Any], **further: Any) -> str:
    """The methods text of one record of a stage."""
    write_json(folder / stage / name, record)
    return methods.methods_text(folder / stage if stage == "preprocess" else None, [folder / stage], **further)


MASKED = "sub-1_desc-brain_mask.json"
WARPED = "sub-1_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.json"


@pytest.mark.parametrize(
    ("name", "record", "said", "unsaid"),
    [
        (MASKED, {"Method": "ants"}, "warping the template's masks", "deepbet"),
        (MASKED, {"Method": "deepbet"}, "the network deepbet (Fisch et al., 2024)", "template's masks"),
        (MASKED, {"Method": "mask"}, "Brain masks were given", "deepbet"),
        (MASKED, {"Method": "none"}, "skull-stripped before", "deepbet"),
        (
            MASKED,
            {"Method": "ants", "Retry": {"Because": "x"}},
            "those of deepbet took their place",
            "second intracranial masks",
        ),
        (MASKED, {"Method": "ants", "SecondOpinion": {"Dice": 0.9}}, "second intracranial masks", "took their place"),
        (WARPED, {"DeformableEngine": "antspyx 0.6.3", "Template": "T"}, "(SyN) transform of ANTs", "greedy"),
        (WARPED, {"DeformableEngine": "picsl-greedy 0.0.6", "Template": "T"}, "of greedy (Yushkevich", "SyN"),
        (
            "sub-1_label-GM_probseg.json",
            {"Calls": ["Atropos"], "TissueMethod": "fractions"},
            "pure and mixed",
            "poster",
        ),
        ("sub-1_label-GM_probseg.json", {"Calls": ["Atropos"], "TissueMethod": "posterior"}, "posterior prob", "pure"),
    ],
)
def test_every_engine_of_preprocessing_has_its_sentence(name, record, said, unsaid, tmp_path: Path) -> None:
    text = written(tmp_path, "preprocess", name, record)
    assert said in text and unsaid not in text


@pytest.mark.parametrize(
    ("method", "said", "unsaid"),
    [
        ("distance", "inner and outer border", "DiReCT"),
        ("direct", "a solver of anatcl-workflow's own", "KellyKapowski"),
        ("kelly_kapowski", "KellyKapowski of ANTs (Das", "own, which"),
        ("surface", "cat-surf on a grid of 0.7 mm", "DiReCT"),
    ],
)
def test_every_engine_of_thickness_has_its_sentence(method: str, said: str, unsaid: str, tmp_path: Path) -> None:
    config = Config().model_dump(mode="json", by_alias=True)
    config["measures"]["engine"] = "surface" if method == "surface" else "volume"
    record = {"Atlas": "desikan-killiany", "ThicknessMethod": method}
    text = written(tmp_path, "measures", "sub-1_measures.json", record, config=config)
    assert said in text and unsaid not in text
    assert ("surfaces lay beyond a limit" in text) == (method == "surface")


def test_measures_of_other_programs_are_counted(tmp_path: Path) -> None:
    table = pd.DataFrame({"scan": list("abcd"), "source": ["anatcl", "freesurfer 7.4.1", "freesurfer", "fastsurfer 2"]})
    write_tsv(tmp_path / "measures" / "measures.tsv", table)
    text = written(tmp_path, "measures", "run.json", {"Atlas": "desikan-killiany"})
    assert "2 scan(s) were taken from FreeSurfer's tables instead (Fischl, 2012)" in text
    assert "1 scan(s) were taken from FastSurfer's tables" in text


def test_numbers_and_files_stand_there_as_people_write_them(tmp_path: Path) -> None:
    config = Config().model_dump(mode="json", by_alias=True)
    text = written(
        tmp_path, "preprocess", MASKED, {"Method": "ants", "Recipe": "results/given/r/own.json"}, config=config
    )
    assert "0.2 to 6 mm" in text and "icv_ml: 700 to 2400; template_dice: at least 0.8" in text
    assert "the recipe `own.json`" in text


def test_exclusions_are_counted_by_stage(tmp_path: Path) -> None:
    excluded = pd.DataFrame({"stage": ["bids", "bids", "preprocess qc"]})
    text = written(tmp_path, "preprocess", MASKED, {"Method": "ants"}, excluded=excluded)
    assert "3 were left out (2 in bids, 1 in preprocess qc)" in text
    text = written(tmp_path, "preprocess", MASKED, {"Method": "ants"}, excluded=excluded.iloc[:0])
    assert "none was left out" in text


def test_adam_combat_holm_and_gradients_are_cited(text_of: Any) -> None:
    text = text_of(changed("task.harmonise"))
    for cited in ("Kingma and Ba, 2015", "Johnson et al., 2007", "Holm, 1979", "Sundararajan et al., 2017"):
        assert cited in text, cited
    assert "@article{combat," in text
    assert "ComBat" not in text_of(changed("seed"))


def test_names_of_people_are_counted_and_not_told(text_of: Any) -> None:
    config = changed("seed")
    config["preprocess"]["reject"] = ["sub-07/anat/sub-07"]
    text = text_of(config)
    assert "1 scan(s) were rejected after visual inspection" in text and "sub-07" not in text
