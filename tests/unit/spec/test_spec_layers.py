"""Configuration layers: later ones win, paths are those of the file that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.cli import parse_config

from anatcl.base.errors import InputError
from anatcl.plan import resolve
from anatcl.spec.layers import merge, read, spoken


def test_paths_are_relative_to_their_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.yaml").write_text("bids_dir: data\nmeasures: {atlas: my.yaml}\n")
    (tmp_path / "two.yaml").write_text("measures: {freesurfer: fs}\npreprocess: {recipe: fast}\n")
    values = resolve([tmp_path / "a" / "one.yaml", tmp_path / "two.yaml"], {}, Path("/elsewhere"))
    assert values["bids_dir"] == str(tmp_path / "a" / "data")
    assert values["measures"] == {"atlas": str(tmp_path / "a" / "my.yaml"), "freesurfer": str(tmp_path / "fs")}
    assert values["preprocess"]["recipe"] == "fast"


def test_the_command_line_is_relative_to_where_it_was_typed(tmp_path):
    assert resolve([], {"bids_dir": "../x"}, tmp_path)["bids_dir"] == str(tmp_path.parent / "x")


# What is typed after --config, and what a file with the same text says.
TYPED = [
    "preprocess={qc: {cjv: [null, 1.9], icv_ml: [700, 2400]}}",
    'preprocess={"qc":{"cjv":[null,1.9]}}',
    "pretrain={crop: null, epochs: 3, options: {foreach: false}}",
    "pretrain={crop: [[0, 9], [0, 9], [0, 9]]}",
    "participants={include: ['01', \"002\", sub-03]}",
    "report={title: '2024', interpret: no}",
    "bids={columns: {site: null}}",
    "pretrain=",
    "evaluate={}",
]


@pytest.mark.parametrize("word", TYPED)
def test_the_command_line_is_read_as_a_file_would_be(tmp_path, word):
    key, _, text = word.partition("=")
    (tmp_path / "my.yaml").write_text(f"{key}: {text}\n")
    assert spoken([word], parse_config([word])) == read(tmp_path / "my.yaml")


def test_several_words_for_one_section_are_joined():
    words = ["pretrain={epochs: 3}", "seed=4", "pretrain={width: 0.5}", "deterministic=False"]
    assert spoken(words, parse_config(words)) == {
        "pretrain": {"epochs": 3, "width": 0.5},
        "seed": 4,
        "deterministic": False,
    }


@pytest.mark.parametrize("name", ["2024-01-01", "2024-13-01", "12:30", "yes", "a: b", "[", "@x", "a #1"])
def test_a_folder_may_have_any_name(name):
    words = [f"bids_dir={name}"]
    parsed = parse_config(words)
    assert spoken(words, parsed) == parsed


def test_what_a_program_gives_is_taken_as_it_is():
    given = {"preprocess": {"qc": {"cjv": [None, 1.9]}}, "bids_dir": "x"}
    assert spoken(["preprocess={'qc': {'cjv': [None, 1.9]}}", "bids_dir='x'"], given) == given


def test_tasks_may_be_names_files_or_written_out(tmp_path):
    tasks = ["age", "my/task.yaml", {"name": "t"}]
    values = resolve([], {"evaluate": {"tasks": tasks}}, tmp_path)
    assert values["evaluate"]["tasks"] == ["age", str(tmp_path / "my" / "task.yaml"), {"name": "t"}]


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        resolve([tmp_path / "c.yaml"], {}, tmp_path)


trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)
mappings = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(mappings, mappings)
def test_merge_keeps_what_is_not_overridden(low, high):
    merged = merge(low, high)
    assert set(merged) == set(low) | set(high)
    assert merge(merged, high) == merged
    assert merge(low, {}) == low
