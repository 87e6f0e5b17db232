"""Tables of people: every form that they come in, and one form that leaves."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.bids import phenotypes
from anatcl.bids.tables import as_text, from_texts, read_table, typed
from anatcl.bids.values import AGE_RANGE
from anatcl.spec.bids import Options

PLAIN = "participant_id\tage\tsex\nsub-01\t31.5\tM\nsub-02\tn/a\tF\n"


def people(folder: Path, text: str | bytes, options: Options | None = None, **sidecar: object) -> phenotypes.Phenotypes:
    """Write a participants table and read it back."""
    folder.mkdir(exist_ok=True)
    (folder / "participants.tsv").write_bytes(text.encode() if isinstance(text, str) else text)
    if sidecar:
        (folder / "participants.json").write_text(json.dumps(sidecar))
    return phenotypes.read(folder, [], options or Options())


def said(found: phenotypes.Phenotypes) -> str:
    return " | ".join(item["warning"] for item in found.warnings)


@pytest.mark.parametrize(
    ("raw", "warning"),
    [
        (PLAIN.encode(), ""),
        (codecs.BOM_UTF8 + PLAIN.encode(), ""),
        (PLAIN.replace("\n", "\r\n").encode(), ""),
        (PLAIN.replace("\n", "\r").encode(), ""),
        (PLAIN.strip().encode(), ""),
        (("\n" + PLAIN + "\n\n").encode(), ""),
        (PLAIN.replace("sub-", "").encode(), ""),
        (PLAIN.replace("\t", ",").encode(), "separated by commas"),
        (PLAIN.replace("\t", ";").encode(), "separated by semicolons"),
        (PLAIN.replace("\t", ";").replace("31.5", "31,5").encode(), "separated by semicolons"),
        (PLAIN.encode("utf-16"), "read as utf-16"),
        (PLAIN.replace("\n", "\t\n").encode(), ""),
        (PLAIN.replace("n/a\tF", "\tF").encode(), ""),
        (PLAIN.replace("age", "Age").replace("sex", "Gender").encode(), ""),
        (PLAIN.replace("\tM", "\t Male ").replace("\tF", "\tfemale").encode(), ""),
        (PLAIN.replace("\tM", '\t"M"').encode(), ""),
    ],
)
def test_one_table_in_many_forms(tmp_path: Path, raw: bytes, warning: str) -> None:
    found = people(tmp_path, raw)
    assert found.of("sub-01") == {"age": "31.5", "sex": "M", "site": ""}
    assert found.of("sub-02") == {"age": "", "sex": "F", "site": ""}
    assert found.of("sub-99") == {"age": "", "sex": "", "site": ""}
    assert warning in said(found) and bool(warning) == bool(found.warnings)


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    found = people(tmp_path, "participant_id\tsite\nsub-01\tZürich\n".encode("latin-1"))
    assert found.of("sub-01")["site"] == "Zürich" and "latin-1" in said(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("\0\1\2", "NUL bytes"),
        ("name\tage\nsub-01\t3\n", "no column participant_id"),
        ("participant_id age\nsub-01 3\n", "no column participant_id"),
        ("participant_id\tage\tage\nsub-01\t3\t4\n", "age occurs twice"),
        ("participant_id\t\tage\nsub-01\t\t4\n", "column 2 of the table has no name"),
        ("participant_id\tage\nsub-01\t3\textra\n", "line 2 has 3 cells"),
        ("participant_id\tage\nsub-01\t3\nsub-01\t4\n", "sub-01 has several rows that differ"),
        ("participant_id\tage\nsub-01\t3\n01\t4\n", "sub-01 has several rows that differ"),
        ("participant_id\tx\nsub-01\t" + "a" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_unusable_tables_are_errors_that_name_the_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        people(tmp_path, text)
    assert caught.value.file.endswith("participants.tsv") and caught.value.remedy


def test_equal_rows_are_merged_and_said(tmp_path: Path) -> None:
    found = people(tmp_path, PLAIN + "sub-01\t31.5\tM\n")
    assert found.of("sub-01")["age"] == "31.5" and "several equal rows" in said(found)


@pytest.mark.parametrize("stray", ['5" tall', '"open', 'a "b" c', "'", '""', 'x"'])
def test_stray_quotes_swallow_nothing(tmp_path: Path, stray: str) -> None:
    found = people(tmp_path, f'participant_id\tnote\tage\nsub-01\t{stray}\t20\nsub-02\tfine\t30\nsub-03\t"x\t40\n')
    assert [found.of(f"sub-0{i}")["age"] for i in (1, 2, 3)] == ["20", "30", "40"]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("20", "20"), ("020.50", "020.50"), ("89+", "89"), ("31,5", "31.5"), ("0", "0"), ("120", "120"), ("2e1", "20"),
        ("٣٠", "30"),
        ("-3", ""), ("300", ""), ("120.1", ""), ("inf", ""), ("nan", ""), ("twenty", ""), ("n/a", ""), ("1_0", ""),
    ],
)  # fmt: skip
def test_ages(tmp_path: Path, text: str, age: str) -> None:
    found = people(tmp_path, f"participant_id\tage\nsub-01\t{text}\n")
    assert found.of("sub-01")["age"] == age
    if not age and text not in ("n/a", "nan"):
        assert f"sub-01 ({text})" in said(found)


def test_ages_in_months(tmp_path: Path) -> None:
    found = people(tmp_path, "participant_id\tage\nsub-01\t30\n", age={"Units": "months"})
    assert found.of("sub-01")["age"] == "2.5" and "converted to years" in said(found)


@pytest.mark.parametrize("code", ["M", "m", "Male", "MALE", "male", " man "])
def test_sex_words(tmp_path: Path, code: str) -> None:
    assert people(tmp_path, f"participant_id\tsex\nsub-01\t{code}\n").of("sub-01")["sex"] == "M"


@pytest.mark.parametrize(
    ("options", "sidecar", "expected"),
    [
        ({}, {}, ["", "", ""]),
        ({"sex_levels": {"1": "M", "2": "F"}}, {}, ["M", "F", ""]),
        ({}, {"sex": {"Levels": {"1": "male", "2": "Female", "3": "other"}}}, ["M", "F", ""]),
        ({}, {"sex": {"Levels": {"1": {"Description": "male"}, "2": {"Description": "female"}}}}, ["M", "F", ""]),
        ({"sex_levels": {"1": "F"}}, {"sex": {"Levels": {"1": "male"}}}, ["F", "", ""]),
        ({}, {"sex": {"Levels": ["1", "2"]}}, ["", "", ""]),
        ({}, {"sex": "1 is male"}, ["", "", ""]),
    ],
)
def test_sex_codes_need_a_key(tmp_path: Path, options: dict, sidecar: dict, expected: list[str]) -> None:
    text = "participant_id\tsex\nsub-01\t1\nsub-02\t2.0\nsub-03\t3\n"
    found = people(tmp_path, text, Options.parse(options), **sidecar)
    assert [found.of(f"sub-0{i}")["sex"] for i in (1, 2, 3)] == expected
    assert "sex coded as" in said(found)


def test_a_damaged_sidecar_is_said(tmp_path: Path) -> None:
    (tmp_path / "participants.json").write_text("{not json")
    assert "is ignored" in said(people(tmp_path, PLAIN))


def test_decimal_commas_in_any_column(tmp_path: Path) -> None:
    found = people(tmp_path, "participant_id;score;note\nsub-01;-3,25;a, b\n")
    assert (found.of("sub-01")["score"], found.of("sub-01")["note"]) == ("-3.25", "a, b")


def test_configured_columns_win(tmp_path: Path) -> None:
    text = "Subject\tage\tAge_MRI\tscan\trun\tCentre\n7\t1\t70\tx\ty\tHH\n"
    columns = {"participant_id": "Subject", "age": "Age_MRI", "site": "Centre"}
    found = people(tmp_path, text, Options(columns=columns))
    row = found.of("sub-7")
    assert (row["age"], row["site"], row["participants_age"]) == ("70", "HH", "1")
    assert (row["participants_scan"], row["participants_run"]) == ("x", "y")


def test_sessions_override_participants(tmp_path: Path) -> None:
    (tmp_path / "sessions.tsv").write_text("participant_id\tsession_id\tage\tmood\n01\t2\t33.5\tlow\n01\t3\tn/a\tx\n")
    found = people(tmp_path, PLAIN)
    assert [found.of("sub-01", f"ses-{i}")["age"] for i in (1, 2, 3)] == ["31.5", "33.5", "31.5"]
    assert [found.of("sub-01", f"ses-{i}")["mood"] for i in (1, 2, 3)] == ["", "low", "x"]


def test_sessions_tables_of_participants(dataset: Path) -> None:
    from anatcl.bids.index import build_index

    (dataset / "sub-02/sub-02_sessions.tsv").write_text("session_id\tage\nses-1\t62\nses-2\t64.5\n")
    (dataset / "sub-04/sub-04_sessions.tsv").write_text("visit\tage\nses-a\t62\n")
    (dataset / "sub-01/sub-01_sessions.tsv").write_text("")
    index = build_index(dataset)
    assert list(index.scans.loc[index.scans["participant_id"] == "sub-02", "age"]) == ["62", "62", "64.5"]
    texts = [item["warning"] for item in index.warnings if "sub-0" in item["about"]]
    assert len(texts) == 2 and all("the table is ignored" in text for text in texts)


def test_rows_and_folders_that_do_not_meet_are_said(dataset: Path) -> None:
    from anatcl.bids.index import build_index

    table = dataset / "participants.tsv"
    table.write_text(table.read_text().replace("sub-03", "sub-3"))
    index = build_index(dataset)
    texts = " ".join(item["warning"] for item in index.warnings)
    assert "2 participants with scans have no row: sub-03, sub-04" in texts
    assert "1 row belongs to no folder: sub-3" in texts
    assert len(index.scans) == 6


@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    rows = "".join(f"sub-{i}\t{20 + i % 60}\t{'MF'[i % 2]}\n" for i in range(100_000))
    found = people(tmp_path, "participant_id\tage\tsex\n" + rows)
    assert len(found.rows) == 100_000 and found.of("sub-99999") == {"age": "59", "sex": "F", "site": ""}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "participants.tsv"
    file.write_bytes(raw)
    try:
        table = read_table(file)
    except InputError as error:
        assert error.remedy
    else:
        assert all(list(row) == table.columns for row in table.rows)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_behind_a_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        found = people(tmp_path_factory.mktemp("fuzz"), "participant_id\tage\tsex\n" + text)
    except InputError as error:
        assert error.remedy
        return
    for row in found.rows.values():
        assert row.get("sex", "") in ("", "M", "F")
        assert AGE_RANGE[0] <= float(row.get("age", 0)) <= AGE_RANGE[1]


CELL = st.one_of(
    st.none(), st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), min_size=1)
)


@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_our_tables_survive_writing_and_reading(rows: list[tuple[str | None, str | None]]) -> None:
    table = from_texts([{"scan": a or "", "a_id": b or ""} for a, b in rows], ["scan", "a_id"])
    back = typed(table)
    assert len(back) == len(table)
    for before, after in zip(table.to_numpy().ravel(), back.to_numpy().ravel(), strict=True):
        assert (after == before) or (pd.isna(after) and before in (None, "n/a"))
    assert as_text(back) == as_text(table)
