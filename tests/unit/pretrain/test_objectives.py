"""Regression of measures and joint objectives as methods: configured, planned, trained, described."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.cli.steps import code_digest
from anatcl.plan.parameters import Training
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.device import resolve
from anatcl.pretrain.methods import find_method
from anatcl.report.records.methods import methods_text
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse
from anatcl.spec.training import Options

JOINT = {"both": {"y-aware": 1.0, "regress": 0.5}}


def test_a_joint_objective_is_trained_and_embeds(pretrain, cohort_files):
    folder = pretrain("both", epochs=6, batch_size=8, joint=JOINT)
    about = read_json(folder / "model.json")
    assert about["method"] == "both" and about["objective"] == "1 y-aware + 0.5 regress"
    assert about["head"] == "linear-15+projection" and set(about["statistics"]) == {"y-aware", "regress"}
    assert set(about["weights_perplexity"]) == {"y-aware age"}
    history = read_tsv(folder / "history.tsv")
    np.testing.assert_allclose(history["loss"], history["y-aware"] + 0.5 * history["regress"], rtol=1e-5)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    arrays = open_arrays(cohort_files["arrays"])
    model, _ = load_encoder(folder, arrays)
    found = embed_arrays(model, arrays, [0, 1], resolve("cpu", "fp32", threads=1))
    assert found.shape == (2, 64) and torch.isfinite(found).all()


def test_a_part_with_all_the_weight_learns_what_it_learns_alone(pretrain):
    """The encoder of ``{regress: 1}`` is that of ``regress``: same start, same head, same steps."""
    alone, joint = pretrain("regress", "a"), pretrain("only", "b", joint={"only": {"regress": 1.0}})
    one, two = (load_file(folder / "encoder.safetensors") for folder in (alone, joint))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_views_are_augmented_when_a_part_asks_for_it(pretrain):
    joint = {"mine": {"simclr": 1.0, "age-regression": 0.1}}
    about = read_json(pretrain("mine", epochs=1, joint=joint) / "model.json")
    assert about["augmentation"] and about["head"] == "projection+regression"
    assert find_method("mine", Options.parse({"joint": joint})).views == 2


@pytest.mark.parametrize(
    ("joint", "methods", "words"),
    [
        ({"both": {"y-awre": 1}}, ["both"], ["pretrain.joint.both.y-awre", "'y-aware'"]),
        ({"both": {"untrained": 1}}, ["both"], ["pretrain.joint.both.untrained"]),
        ({"both": {"y-aware": 0}}, ["both"], ["pretrain.joint.both.y-aware is 0", "greater than 0"]),
        ({"simclr": {"y-aware": 1}}, ["simclr"], ["pretrain.joint.simclr", "another method's name"]),
        ({"a b": {"y-aware": 1}}, ["a b"], ["pretrain.joint.a b", "letters, digits"]),
        ({"both": {"y-aware": 1}}, ["bth"], ["pretrain.methods[0] is 'bth'", "'both'"]),
        ({"both": "y-aware"}, ["both"], ["pretrain.joint.both", "mapping"]),
    ],
)
def test_wrong_objectives_are_named(joint, methods, words):
    with pytest.raises(InputError) as caught:
        parse({"pretrain": {"joint": joint, "methods": methods}})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_only_its_own_objective_shapes_a_training():
    """Options and code of a method do not change when a joint objective is added beside it."""
    plain, more = (Training(parse({"pretrain": p})) for p in ({}, {"joint": JOINT, "methods": ["both", "y-aware"]}))
    assert plain.options("y-aware") == more.options("y-aware")
    assert json.loads(more.options("both"))["joint"] == JOINT
    assert Options.parse(json.loads(more.options("both"))).joint == JOINT
    assert plain.parts("y-aware") == ["y-aware"] and more.parts("both") == ["y-aware", "regress"]
    digests = {code_digest("pretrain", "train", *parts) for parts in (["y-aware"], ["regress"], ["y-aware", "regress"])}
    assert len(digests) == 3


def test_raw_and_standardised_measures_stand_in_one_run(pretrain):
    """A list of names standardises the measures of those methods alone."""
    told = {"joint": {"global-z": {"anatcl-global": 1.0}}, "methods": ["anatcl-global", "global-z"]}
    plan = Training(parse({"pretrain": told | {"options": {"standardise": "global-z"}}}))
    found = {name: json.loads(plan.options(name)) for name in told["methods"]}
    assert found["global-z"]["standardise"] is True and "standardise" not in found["anatcl-global"]
    wrong = parse({"pretrain": told | {"options": {"standardise": ["glob-z"]}}})
    ((place, error),) = check_files_and_names(wrong)
    assert place == ("pretrain", "options", "standardise") and "'global-z'" in str(error)
    kernels = {}
    for listed in (["anatcl-global"], ["another"]):
        model = read_json(pretrain("anatcl-global", listed[0], epochs=1, standardise=listed) / "model.json")
        kernels[listed[0]] = model["weights_perplexity"]["anatomy"]
    assert kernels["anatcl-global"] < 0.95 < kernels["another"]


def test_the_control_stands_beside_its_method(pretrain):
    """A list of names exchanges the measures of those methods alone."""
    told = {"joint": {"control": {"anatcl-z": 1.0}}, "methods": ["anatcl-z", "control"]}
    plan = Training(parse({"pretrain": told | {"options": {"permuted": ["control"]}}}))
    found = {name: json.loads(plan.options(name)) for name in told["methods"]}
    assert found["control"]["permuted"] is True and "permuted" not in found["anatcl-z"]
    everybody = Training(parse({"pretrain": told | {"options": {"permuted": True}}}))
    assert json.loads(everybody.options("anatcl-z"))["permuted"] is True
    wrong = parse({"pretrain": told | {"options": {"permuted": "contrl"}}})
    ((place, error),) = check_files_and_names(wrong)
    assert place == ("pretrain", "options", "permuted") and "'control'" in str(error)
    for listed, count in ((["anatcl-z"], 16), (["control"], None)):
        about = read_json(pretrain("anatcl-z", listed[0], epochs=1, permuted=listed) / "model.json")
        assert about["permuted"].get("people") == count


def test_the_methods_text_says_what_was_added(pretrain, tmp_path):
    folder = pretrain("both", "pretrain/both/fold-0", epochs=1, joint=JOINT)
    text = methods_text(None, [folder.parents[1]], {"pretrain": {"methods": ["both"], "joint": JOINT}})
    assert "weighted sums" in text and "y-aware" in text and "regress" in text and "0.5" in text, text
    assert "y-Aware weights pairs" in text and "Regional regression trains" in text and "SimCLR" not in text


def test_the_nearest_name_may_be_a_joint_one():
    with pytest.raises(InputError, match="'both'"):
        find_method("bot", Options.parse({"joint": JOINT}))
