"""Configurations in every wrong form: one sentence that names the key or the file, and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.plan import Plan, open_plan, resolve
from anatcl.spec.config import parse

WRONG = {
    "unknown key": {"pretrian": {}},
    "unknown key of a section": {"pretrain": {"temprature": 0.1}},
    "a word for a number": {"pretrain": {"epochs": "many"}},
    "a number for a list": {"evaluate": {"tasks": 3}},
    "a list for a section": {"preprocess": []},
    "null for a section": {"measures": None},
    "negative": {"pretrain": {"temperature": -1}},
    "one fold": {"pretrain": {"folds": 1}},
    "task without a name": {"evaluate": {"tasks": [{"kind": "binary"}]}},
    "unknown device": {"device": "tpu"},
    "unknown baseline": {"evaluate": {"baselines": ["oracle"]}},
    "threads and determinism": {"preprocess": {"threads": 4}},
    "masks without a pattern": {"preprocess": {"skullstrip": {"method": "mask"}}},
    "yes for a number": {"seed": [1]},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value(case, see):
    with pytest.raises(InputError) as caught:
        parse(WRONG[case])
    assert "\n" not in str(caught.value)
    see(caught.value)


MISSING = {
    "unknown recipe": ({"preprocess": {"recipe": "quick"}}, lambda plan: plan.imaging.thickness),
    "unknown template": ({"preprocess": {"template": "Colin27"}}, lambda plan: plan.imaging.template),
    "template file that does not exist": (
        {"preprocess": {"template": "/nowhere/x.yaml"}},
        lambda plan: plan.imaging.template,
    ),
    "dataset that does not exist": ({"bids_dir": "/nowhere"}, lambda plan: plan.cohort.index),
    "task that does not exist": ({"evaluate": {"tasks": ["agee"]}}, lambda plan: plan.tasks.names),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_file_or_name_that_does_not_exist(case, see, tmp_path, monkeypatch):
    values, ask = MISSING[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        ask(Plan(values))
    assert caught.value.remedy
    see(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a: [", "- a list\n", "\x00", "a: b: c", "\tx: 1", "!!python/object/apply:os.system ['touch pwned']"],
    ids=["open bracket", "a list", "NUL byte", "two colons", "a tab", "a Python object"],
)
def test_a_file_that_is_not_a_configuration(text, see, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        open_plan([file], {}, tmp_path, main=True)
    assert "my.yaml" in str(caught.value) and not (tmp_path / "pwned").exists()
    see(caught.value)


def test_a_configuration_file_that_does_not_exist(see, tmp_path):
    with pytest.raises(InputError, match="does not exist") as caught:
        resolve([tmp_path / "my.yaml"], {}, tmp_path)
    see(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["bids_dir", "participants", "failures", "bids", "preprocess", "measures", "pretrain", "x"])


@given(st.dictionaries(SECTIONS, ANYTHING, max_size=4))
def test_any_values_are_a_configuration_or_a_sentence(values):
    try:
        parse(values)
    except InputError as error:
        assert error.reason.startswith("the configuration is not valid")


@given(st.binary(max_size=200) | st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3).map(yaml.safe_dump))
def test_any_file_is_a_mapping_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes | str):
    file: Path = tmp_path_factory.mktemp("fuzz") / "my.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(resolve([file], {}, file.parent), dict)
    except InputError as error:
        assert error.remedy and "my.yaml" in error.file
