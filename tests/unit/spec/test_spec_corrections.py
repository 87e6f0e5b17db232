"""Decisions about single scans."""

from __future__ import annotations

import pytest

from anatcl.base.errors import InputError
from anatcl.spec.corrections import read_corrections

HEAD = "scan\tdecision\tmask\tnote\n"


def test_a_table_is_read(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "one.nii.gz").touch()
    table = tmp_path / "words.tsv"
    table.write_text(
        HEAD + "sub-1/anat/sub-1\tn/a\tmasks/one.nii.gz\tdura\n"
        "sub-2/anat/sub-2\taccept\tn/a\tlooks fine\nsub-3/anat/sub-3\treject\t\tmoved\n"
    )
    found = read_corrections(table)
    assert found.accept == ["sub-2/anat/sub-2"] and found.reject == ["sub-3/anat/sub-3"]
    assert found.masks == {"sub-1/anat/sub-1": str(tmp_path / "masks" / "one.nii.gz")}


def test_no_table_and_a_table_without_masks():
    assert read_corrections("").masks == {}


def test_columns_may_be_left_out(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("scan\tdecision\nsub-2/anat/sub-2\taccept\n")
    assert read_corrections(table).accept == ["sub-2/anat/sub-2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("subject\tdecision\na\taccept\n", "unknown column"),
        ("decision\naccept\n", "no column 'scan'"),
        (HEAD + "a\tkeep\tn/a\tn/a\n", r"line 2: decision is 'keep', which is unknown \(known: accept, reject\)"),
        (HEAD + "a\taccept\tn/a\t\na\treject\tn/a\t\n", "occurs twice"),
        (HEAD + "a\tn/a\tnowhere.nii.gz\t\n", "does not exist"),
    ],
)
def test_a_broken_table_is_a_sentence(tmp_path, text, words):
    table = tmp_path / "t.tsv"
    table.write_text(text)
    with pytest.raises(InputError, match=words):
        read_corrections(table)


def test_an_absent_table_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="corrections does not exist"):
        read_corrections(tmp_path / "none.tsv")
