"""Columns that mislead: units, codes for missing, text among numbers, names that differ a little on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import GOOD, packed, write

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.bids.index import refresh
from anatcl.bids.units import age_unit, size_unit
from anatcl.spec.bids import Options

Say = Callable[[object], None]


def cohort(folder: Path, count: int = 8, sessions: tuple[str, ...] = ()) -> Path:
    """A dataset of `count` people, by sessions where some are named."""
    for i in range(1, count + 1):
        raw = packed(GOOD + bytes(i))
        for session in sessions or ("",):
            middle = f"ses-{session}/" if session else ""
            entity = f"_ses-{session}" if session else ""
            write(folder, f"sub-{i:02}/{middle}anat/sub-{i:02}{entity}_T1w.nii.gz", raw)
    return folder


def table(folder: Path, columns: dict[str, list[Any]], **sidecar: Any) -> Path:
    rows = ["\t".join(["participant_id", *columns])]
    for i, cells in enumerate(zip(*columns.values(), strict=True), 1):
        rows.append("\t".join([f"sub-{i:02}", *map(str, cells)]))
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    (folder / "participants.json").write_text(json.dumps(sidecar))
    return folder


def told(out: Path) -> str:
    return " ".join(f"{w['warning']} {w['remedy']}" for w in read_json(out / "run.json")["warnings"])


MONTHS = [121, 98, 133, 150, 88, 109, 172, 140]
# column, its description, the ages of the first person in years (None: unknown)
UNITS: dict[str, tuple[str, dict[str, str], float | None]] = {
    "years": ("age", {"Units": "years"}, 60.0),
    "UCUM a": ("age", {"Units": "a"}, 60.0),
    "UCUM mo": ("age", {"Units": "mo"}, 5.0),
    "UCUM wk": ("age", {"Units": "wk"}, 1.1499),
    "UCUM d": ("age", {"Units": "d"}, 0.1643),
    "UCUM h": ("age", {"Units": "h"}, 0.0068),
    "Mos.": ("age", {"Units": "Mos."}, 5.0),
    "month(s)": ("age", {"Units": "month(s)"}, 5.0),
    "completed months": ("age", {"Units": "completed months"}, 5.0),
    "WEEKS OLD": ("age", {"Units": "WEEKS OLD"}, 1.1499),
    "in the description": ("age", {"Description": "Age of the child in full months at scanning"}, 5.0),
    "in brackets": ("age", {"Description": "Age [days]"}, 0.1643),
    "in the long name": ("age", {"LongName": "Age (months)"}, 5.0),
    "rounding is no unit": ("age", {"Description": "Age at scan, rounded to 6 months"}, 60.0),
    "years, rounded to months": ("age", {"Description": "Age in years, to the nearest month"}, 60.0),
    "in the name": ("ageMonths", {}, 5.0),
    "days in the name": ("age_in_days", {}, 0.1643),
    "a letter in the name": ("age_m", {}, 5.0),
    "German years": ("age", {"Units": "Jahre"}, 60.0),
    "German months described": ("age", {"Description": "Alter in Monaten"}, 5.0),
    "Dutch days in the name": ("age_dagen", {}, 0.1643),
    "y/o": ("age", {"Units": "y/o"}, 60.0),
    "UCUM named": ("age", {"Units": "UCUM:mo"}, 5.0),
    "key Unit": ("age", {"Unit": "months"}, 5.0),
    "key units": ("age", {"units": "wk"}, 1.1499),
    "by language": ("age", {"Units": {"en": "months"}}, 5.0),
    "(d)": ("age", {"Description": "Age at scan (d)"}, 0.1643),
    "(m)": ("age", {"Description": "Age at scan (m)"}, None),
    "a span is no unit": ("age", {"Description": "Age at the first of 3 visits, 12 months apart"}, 60.0),
    "arithmetic": ("age", {"Description": "Age in days divided by 365"}, None),
    "fortnights": ("age", {"Units": "fortnights"}, None),
    "a lone m": ("age", {"Units": "m"}, None),
    "two units": ("age", {"Units": "years/months"}, None),
    "another birthday": ("age", {"Units": "weeks gestational age"}, None),
    "name and unit differ": ("age_months", {"Units": "years"}, None),
    "description and unit differ": ("age", {"Units": "y", "Description": "age in months"}, None),
}


@pytest.mark.parametrize("case", UNITS)
def test_units_of_age(case: str, tmp_path: Path, see: Say) -> None:
    column, described, years = UNITS[case]
    data = table(cohort(tmp_path / "data", 2), {column: [60, 72]}, **{column: described})
    options = Options.parse({"columns": {"age": column}})
    scans = refresh(data, tmp_path / "out", options)
    first = scans["age"].iloc[0]
    assert (first != first) if years is None else first == pytest.approx(years, abs=1e-4)
    said = told(tmp_path / "out")
    if years is None:
        assert "not understood" in said and "bids: units" in said
    else:
        assert ("converted to years" in said) == (years != 60.0)
    see(said or "read as it was meant")


def test_a_configured_unit_beats_the_sidecar(tmp_path: Path) -> None:
    data = table(cohort(tmp_path / "data", 2), {"age": [60, 72]}, age={"Units": "moons"})
    assert list(refresh(data, tmp_path / "out", Options.parse({"units": {"age": "months"}}))["age"]) == [5.0, 6.0]


def test_ages_that_look_like_months(tmp_path: Path, see: Say) -> None:
    data = table(cohort(tmp_path / "data"), {"age": MONTHS})
    assert refresh(data, tmp_path / "out")["age"].isna().all()
    assert "months or days?" in told(tmp_path / "out")
    see(told(tmp_path / "out"))


def test_units_of_a_sessions_table_are_read(tmp_path: Path, see: Say) -> None:
    data = cohort(tmp_path / "data", 1, ("a", "b"))
    (data / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-a\t36\nses-b\t48\n")
    (data / "sessions.json").write_text('{"age": {"Units": "mo"}}')
    assert list(refresh(data, tmp_path / "out")["age"]) == [3.0, 4.0]
    see(told(tmp_path / "out"))


@pytest.mark.parametrize(
    ("column", "described", "value", "expected"),
    [
        ("tiv_mm3", {"Units": "mm3"}, 1500000, 1.5e6),
        ("tiv_mm3", {"Units": "mm^3"}, 1500000, 1.5e6),
        ("icv", {"Units": "cm3"}, 1500, 1.5e6),
        ("eTIV", {"Units": "mL"}, 1500, 1.5e6),
        ("icv_ml", {}, 1500, 1.5e6),
        ("ICV", {"Description": "intracranial volume in litres"}, 1.5, 1.5e6),
        ("tiv", {}, 1500, 1.5e6),
        ("tiv", {"Units": "L"}, 1500, None),
        ("icv", {"Units": "pints"}, 3, None),
    ],
    ids=["mm3", "mm^3", "cm3", "mL", "column icv_ml", "described as litres", "no unit", "litres that are ml", "pints"],
)
def test_units_of_head_size(
    column: str, described: dict[str, str], value: float, expected: float | None, tmp_path: Path, see: Say
) -> None:
    data = table(cohort(tmp_path / "data", 2), {column: [value, value]}, **{column: described})
    found = refresh(data, tmp_path / "out")[column].iloc[0]
    assert (found != found) if expected is None else found == expected
    see(told(tmp_path / "out") or "read as it was meant")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([20, 31, 45, 52, 38, 27, -9, -9], "-9"),
        ([20, 31, 45, 52, 38, 27, 61, -1], "-1"),
        ([3, 12, 7, 0, 15, 9, 88, 99], "88"),
        ([0.1, -0.7, 1.2, 0.4, -1.1, 0.3, 0.9, -999], "-999"),
        ([101, 96, 120, 88, 110, 93, 9999, 9999], "9999"),
        ([0, 1, 0, 1, 1, 0, 1, 9], "9"),
        ([2.5, 2.1, 2.8, 2.2, 2.6, 2.4, 777, 2.3], "777"),
        ([0, 93, 104, 115, 83, 96, 102, 0], "0"),
        ([3, 4, 5, 32767, 6, 2, 3, 7], "32767"),
    ],
    ids=["-9", "-1", "88", "-999", "9999", "9", "777", "0", "32767"],
)
def test_codes_for_missing_are_named_and_can_be_declared(
    values: list[float], code: str, tmp_path: Path, see: Say
) -> None:
    data = table(cohort(tmp_path / "data"), {"score": values})
    scans = refresh(data, tmp_path / "out")
    assert len(scans) == 8 and scans["score"].notna().all()
    said = told(tmp_path / "out")
    assert f"{code} (" in said and f"bids: {{missing: {{score: [{code}" in said
    declared = Options.parse({"missing": {"score": sorted({v for v in values if float(code) in (v,)})}})
    again = refresh(data, tmp_path / "out", declared)
    assert again["score"].isna().sum() == values.count(float(code))
    see(said)


@pytest.mark.parametrize(
    "values",
    [
        [20, 31, 45, 72, 38, 27, 99, 88],
        [-3, -1, 0, 2, -2, 1, 3, -4],
        [1, 2, 1, 2, 2, 1, 2, 3],
        [88, 99, 101, 120, 77, 93, 110, 95],
    ],
)
def test_ordinary_values_are_not_taken_for_codes(values: list[float], tmp_path: Path) -> None:
    data = table(cohort(tmp_path / "data"), {"score": values})
    refresh(data, tmp_path / "out")
    assert "a code for missing" not in told(tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "example"),
    [
        (["28/30", "30/30", "25/30", "27/30", "29/30", "26/30", "n/a", "30/30"], "28/30"),
        (["12,5", "13,0", "9,5", "11,0", "10", "12", "8", "9"], "12,5"),
        (["<5", "7", "9", "12", "6", "8", "11", "10"], "<5"),
        (["7", "9", "12", "6", "8", "11", "10", "refused"], "refused"),
        (["95%", "90%", "85%", "99%", "88%", "91%", "93%", "97%"], "95%"),
        (["27 of 30", "29 of 30", "30 of 30", "12 of 30", "28", "27 of 30", "n/a", "30 of 30"], "27 of 30"),
        (["5*", "6", "7", "8*", "9", "10", "11", "12"], "5*"),
        ([".", "3", "4", "5", "6", "7", "8", "."], "."),
    ],
    ids=["28/30", "12,5", "<5", "refused", "95%", "27 of 30", "5*", "a dot"],
)
def test_text_among_numbers_is_named(values: list[str], example: str, tmp_path: Path, see: Say) -> None:
    data = table(cohort(tmp_path / "data"), {"mmse": values})
    assert len(refresh(data, tmp_path / "out")) == 8
    assert "mmse" in told(tmp_path / "out") and repr(example) in told(tmp_path / "out")
    see(told(tmp_path / "out"))


def test_dates_and_words_are_no_broken_numbers(tmp_path: Path) -> None:
    columns = {"date": ["2020-01-02"] * 8, "time": ["10:30"] * 8, "group": list("ABABABAB"), "version": ["v1"] * 8}
    refresh(table(cohort(tmp_path / "data"), columns), tmp_path / "out")
    assert told(tmp_path / "out") == ""


@pytest.mark.parametrize(
    ("folders", "labels", "repair"),
    [
        (("M006", "M012"), ("ses-M06", "ses-M12"), "leading zeros"),
        (("1", "2"), ("ses-01", "ses-02"), "leading zeros"),
        (("bl", "fu"), ("BL", "FU"), "letter case"),
        (("pre", "post"), ("sespre", "sespost"), ""),
        (("m12", "m24"), ("ses-M12", "ses-m24"), "letter case"),
    ],
    ids=["M006 and M06", "1 and 01", "bl and BL", "pre and sespre", "m12 and M12"],
)
def test_sessions_that_do_not_match(
    folders: tuple[str, str], labels: tuple[str, str], repair: str, tmp_path: Path, see: Say
) -> None:
    data = cohort(tmp_path / "data", 2, folders)
    rows = [f"sub-{i:02}\t{label}\t{40 + i}" for i in (1, 2) for label in labels]
    (data / "sessions.tsv").write_text("\n".join(["participant_id\tsession_id\tage", *rows]) + "\n")
    scans = refresh(data, tmp_path / "out")
    said = told(tmp_path / "out")
    assert scans["age"].isna().any() and "sessions with scans have no match" in said
    assert "rows by session have no match" in said and repair in said
    see(said)


@pytest.mark.parametrize(
    ("identifier", "repair"),
    [
        ("sub-{:03d}", "leading zeros"),
        ("SUB-{:02d}", ""),
        ("sub-{:02d}_", "underscores"),
        ("sub_{:02d}", "prefix"),
        ("sub\u2013{:02d}", "prefix"),
        ("sub-\u200b{:02d}", "invisible characters"),
    ],
    ids=["sub-001", "SUB-01", "sub-01_", "sub_01", "a dash", "an unseen sign"],
)
def test_participants_that_do_not_match(identifier: str, repair: str, tmp_path: Path, see: Say) -> None:
    data = cohort(tmp_path / "data", 3)
    rows = [f"{identifier.format(i)}\t{40 + i}" for i in (1, 2, 3)]
    (data / "participants.tsv").write_text("\n".join(["participant_id\tage", *rows]) + "\n")
    assert refresh(data, tmp_path / "out")["age"].isna().all()
    said = told(tmp_path / "out")
    assert "3 participants with scans have no row" in said and repair in said
    see(said)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 88\n"
ANNEX = b"/annex/objects/MD5E-s1--0.tsv\n"


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda path: path.write_bytes(LFS), "git lfs pull"),
        (lambda path: path.write_bytes(ANNEX), "datalad get"),
        (lambda path: path.symlink_to(".git/annex/objects/x/MD5E-s1--0.tsv"), "datalad get"),
    ],
    ids=["LFS", "annex", "annex link"],
)
@pytest.mark.parametrize("name", ["participants.tsv", "sessions.tsv"])
def test_tables_that_were_not_fetched(
    make: Callable[[Path], None], name: str, remedy: str, tmp_path: Path, see: Say
) -> None:
    data = cohort(tmp_path / "data", 2)
    make(data / name)
    with pytest.raises(InputError) as caught:
        refresh(data, tmp_path / "out")
    assert remedy in caught.value.remedy
    see(caught.value)


def test_a_sidecar_that_was_not_fetched_is_reported(tmp_path: Path, see: Say) -> None:
    data = table(cohort(tmp_path / "data", 2), {"age": [30, 40]})
    (data / "participants.json").write_bytes(LFS)
    refresh(data, tmp_path / "out")
    assert "git lfs pull" in told(tmp_path / "out")
    see(told(tmp_path / "out"))


@pytest.mark.parametrize("word", ["year", "years", "yr", "yrs", "y.o.", "Jahre", "ans", "años"])
def test_words_of_a_unit(word: str) -> None:
    assert age_unit("age", {"Units": word}).name == "year"
    assert size_unit("icv", {"Units": word}).name == ""


def test_a_sidecar_names_its_columns_in_other_case(tmp_path: Path, see: Say) -> None:
    data = table(cohort(tmp_path / "data", 2), {"age": [60, 72]}, Age={"Units": "months"})
    assert list(refresh(data, tmp_path / "out")["age"]) == [5.0, 6.0]
    see(told(tmp_path / "out"))


def test_one_item_is_reported_in_the_singular(tmp_path: Path, see: Say) -> None:
    data = table(cohort(tmp_path / "data", 3), {"age": [30, 40, 50]})
    (data / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\nsub-3\t50\n")
    refresh(data, tmp_path / "out")
    said = told(tmp_path / "out")
    assert "1 participant with scans has no row" in said and "1 row belongs to no folder" in said
    see(said)


def test_notes_are_a_table_for_the_report(tmp_path: Path) -> None:
    data = table(cohort(tmp_path / "data", 2), {"age": [60, 72]}, age={"Units": "months"})
    refresh(data, tmp_path / "out")
    (note,) = read_tsv(tmp_path / "out" / "notes.tsv").to_dict("records")
    assert note["about"] == "participants.tsv" and "converted to years" in note["note"]
