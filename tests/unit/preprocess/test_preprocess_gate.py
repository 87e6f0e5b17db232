"""Limits on quality numbers, and decisions about single scans."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.preprocess.gate import decide, gate_cohort, join
from anatcl.preprocess.limits import broken_limits
from anatcl.spec.recipe import load_recipe, names
from anatcl.spec.template import load_spec

RULES = {"limits": {"cjv": [None, 2.0], "icv_ml": [700, 2400]}, "accept": [], "reject": []}


@pytest.mark.parametrize(
    ("numbers", "broken"),
    [
        ({"cjv": 1.0, "icv_ml": 1500}, []),
        ({"cjv": 2.5, "icv_ml": 1500}, ["cjv 2.5 is above 2"]),
        ({"cjv": 2.5, "icv_ml": 600}, ["cjv 2.5 is above 2", "icv_ml 600 is below 700"]),
        ({"cjv": math.nan, "icv_ml": 1500}, ["cjv could not be measured"]),
        ({"icv_ml": 1500}, ["cjv could not be measured"]),
    ],
)
def test_limits(numbers, broken):
    assert broken_limits(numbers, RULES["limits"]) == broken


def test_a_person_beats_the_numbers():
    bad, good = {"cjv": 9, "icv_ml": 1500}, {"cjv": 1, "icv_ml": 1500}
    assert decide("s", bad, RULES | {"accept": ["s"]}) == ""
    assert decide("s", good, RULES | {"reject": ["s"]}) == "rejected after visual inspection"


def test_the_cohort_table_names_who_failed_and_how_to_take_it_back(tmp_path):
    root = tmp_path / "preprocess"
    scans = {f"sub-0{n}/anat/sub-0{n}": {"cjv": n, "icv_ml": 1500} for n in (1, 2, 3)}
    files = [root / f"{scan}_desc-qc.json" for scan in scans]
    for file, numbers in zip(files, scans.values(), strict=True):
        write_json(file, numbers)
    write_tsv(tmp_path / "chunk.tsv", join(files[::-1], root))
    gate_cohort([tmp_path / "chunk.tsv"], RULES, root / "qc.tsv", root / "excluded.tsv")
    assert list(read_tsv(root / "qc.tsv")["failed"].isna()) == [True, True, False]
    row = read_tsv(root / "excluded.tsv").iloc[0]
    assert (row["scan"], row["participant_id"]) == ("sub-03/anat/sub-03", "sub-03")
    assert "accept: [sub-03/anat/sub-03]" in row["remedy"]


def test_recipes_are_whole():
    assert set(names()) == {"fast", "precise", "testing"}
    for name in names():
        recipe = load_recipe(name)
        register = recipe["register"]
        assert len(register["deformable"]) == len(register["shrink"]) == len(register["sigmas_mm"])


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_broken_recipe_is_a_sentence(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.json"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: A\n", "'space' is missing"),
        ("name: A_b\nspace: A\npackaged: true\n", "letters and digits"),
        ("name: A\nspace: A\nbrain_mask: m.nii\ngm: g.nii\n", "wm"),
        ("name: A\nspace: A\nbrain_mask: m.nii\ngm: g.nii\nwm: w.nii\n", "does not exist"),
        ("name: A\nspace: A\nbran_mask: m.nii\n", "did you mean 'brain_mask'"),
    ],
)
def test_a_broken_template_is_a_sentence(tmp_path, text, words):
    path = Path(tmp_path / "t.yaml")
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_spec(path)
