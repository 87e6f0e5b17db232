"""The configuration: defaults, schema and YAML file say the same; wrong values get a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.cli.schema import table
from anatcl.spec.config import Config, parse

ROOT = Path(__file__).resolve().parents[3]


def test_the_yaml_file_holds_every_key_with_its_default():
    written = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert parse(written).model_dump(mode="json", by_alias=True) == Config().model_dump(mode="json", by_alias=True)
    assert _keys(written) == _keys(Config().model_dump(mode="json", by_alias=True))


def _keys(values, free=("qc", "entities", "columns", "sex_levels", "thickness_options", "options")):
    found = set()
    for key, value in values.items():
        found.add(key)
        if isinstance(value, dict) and key not in free:
            found |= {f"{key}.{inner}" for inner in _keys(value, free)}
    return found


def test_the_schema_file_is_up_to_date():
    schema = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert schema == Config.model_json_schema(by_alias=True), "make it anew: python -m anatcl.cli.schema"


def test_the_docs_table_is_up_to_date():
    assert (ROOT / "docs" / "config.md").read_text() == table(), "make it anew: python -m anatcl.cli.schema"


def test_every_key_is_described():
    def check(schema, place):
        for name, field in schema.get("properties", {}).items():
            assert "description" in field or "$ref" in field, f"{place}.{name} has no description"

    schema = Config.model_json_schema(by_alias=True)
    for name, section in {**schema["$defs"], "": schema}.items():
        assert section.get("description"), f"section {name} has no description"
        check(section, name)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pretrain": {"temprature": 0.1}}, ["pretrain.temprature", "'temperature'"]),
        ({"preprocess": {"skulstrip": {}}}, ["preprocess.skulstrip", "'skullstrip'"]),
        ({"pretrain": {"folds": 1, "epochs": 0}}, ["pretrain.folds", "pretrain.epochs"]),
        ({"preprocess": {"threads": 2}}, ["deterministic"]),
        ({"preprocess": {"skullstrip": {"method": "mask"}}}, ["{scan}"]),
        ({"device": "tpu"}, ["device"]),
        ({"pretrain": None}, ["pretrain"]),
    ],
)
def test_a_wrong_value_gets_a_sentence_that_names_it(values, words):
    with pytest.raises(InputError) as caught:
        parse(values)
    assert all(word in str(caught.value) for word in words)
