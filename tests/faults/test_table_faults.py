"""Tables of people in every wrong form: read with a remark, or refused with a sentence; the scans stay."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.bids.index import refresh
from anatcl.spec.bids import Options

PLAIN = "participant_id\tage\tsex\nsub-01\t31.5\tM\nsub-02\t40\tF\n"
Write = Callable[[str | bytes], Path]


@pytest.fixture
def people(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Return a function that writes participants.tsv into a dataset of two scans."""
    for name in ("sub-01", "sub-02"):
        path = tmp_path / "bids" / name / "anat" / f"{name}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        data = rng.integers(1, 100, (17, 18, 19)).astype("uint8")
        nib.Nifti1Image(data, np.diag([6.0, 6, 6, 1])).to_filename(path)

    def write(content: str | bytes) -> Path:
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / "bids" / "participants.tsv").write_bytes(raw)
        return tmp_path / "bids"

    return write


def told(out: Path) -> str:
    return " ".join(f"{item['warning']} {item['remedy']}" for item in read_json(out / "run.json")["warnings"])


READ = {
    "byte-order mark": (codecs.BOM_UTF8 + PLAIN.encode(), 2),
    "CRLF": (PLAIN.replace("\n", "\r\n"), 2),
    "commas": (PLAIN.replace("\t", ","), 2),
    "semicolons and decimal commas": (PLAIN.replace("\t", ";").replace("31.5", "31,5"), 2),
    "UTF-16": (PLAIN.encode("utf-16"), 2),
    "latin-1": (PLAIN.replace("sex", "sex\tsite").replace("M\n", "M\tZürich\n").encode("latin-1"), 2),
    "n/a": (PLAIN.replace("31.5", "n/a"), 1),
    "negative age": (PLAIN.replace("31.5", "-3"), 1),
    "300 years": (PLAIN.replace("31.5", "300"), 1),
    "age in words": (PLAIN.replace("31.5", "thirty"), 1),
    "no column age": ("participant_id\tsex\nsub-01\tM\nsub-02\tF\n", 0),
    "nobody of the table has a scan": (PLAIN.replace("sub-0", "sub-9"), 0),
    "a row missing": (PLAIN.replace("sub-02\t40\tF\n", ""), 1),
    "equal rows twice": (PLAIN + "sub-02\t40\tF\n", 2),
}


@pytest.mark.parametrize("case", READ)
def test_a_table_that_is_read(case, people, tmp_path, see):
    content, ages = READ[case]
    scans = refresh(people(content), tmp_path / "out")
    assert len(scans) == 2
    assert ("age" in scans and scans["age"].notna().sum()) == ages
    see(told(tmp_path / "out") or "read as it was meant")


@pytest.mark.parametrize(
    "codes", [("M", "F"), ("male", "female"), ("Man", "WOMAN"), ("m", "f"), ("1", "2")], ids="/".join
)
def test_sex_coded_in_five_ways(codes, people, tmp_path, see):
    levels = {"1": "M", "2": "F"} if codes[0] == "1" else {}
    text = PLAIN.replace("\tM", f"\t{codes[0]}").replace("\tF", f"\t{codes[1]}")
    scans = refresh(people(text), tmp_path / "out", Options.parse({"sex_levels": levels}))
    assert list(scans["sex"]) == ["M", "F"]
    see("M, F" + (" with bids: {sex_levels: {'1': M, '2': F}}" if levels else ""))


def test_sex_coded_in_numbers_without_a_key(people, tmp_path, see):
    scans = refresh(people(PLAIN.replace("\tM", "\t1").replace("\tF", "\t2")), tmp_path / "out")
    assert "sex" not in scans or scans["sex"].isna().all()
    see(told(tmp_path / "out"))


REFUSED = {
    "empty": "",
    "binary": b"\x00\x01\x02",
    "no participant_id": "name\tage\nsub-01\t3\n",
    "separated by spaces": "participant_id age\nsub-01 3\n",
    "a column twice": "participant_id\tage\tage\nsub-01\t3\t4\n",
    "a cell too many": "participant_id\tage\nsub-01\t3\textra\n",
    "duplicate participants that differ": "participant_id\tage\nsub-01\t3\nsub-01\t4\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_is_refused(case, people, tmp_path, see):
    with pytest.raises(InputError) as caught:
        refresh(people(REFUSED[case]), tmp_path / "out")
    assert caught.value.file.endswith("participants.tsv") and caught.value.remedy
    see(caught.value)


def test_a_hundred_thousand_rows(people, tmp_path, see):
    rows = "".join(f"sub-{i:02}\t{20 + i % 60}\t{'MF'[i % 2]}\n" for i in range(1, 100_001))
    assert len(refresh(people("participant_id\tage\tsex\n" + rows), tmp_path / "out")) == 2
    see(told(tmp_path / "out")[:200])


@pytest.mark.parametrize("cell", ["$(touch pwned)", "; touch pwned", "`touch pwned`", "=cmd()", "{scan}", "../../x"])
def test_commands_in_a_table_are_text(cell, people, tmp_path, monkeypatch, see):
    monkeypatch.chdir(tmp_path)
    text = f"participant_id\tage\tsite\nsub-01\t30\t{cell}\nsub-02\t40\tB\n"
    scans = refresh(people(text), tmp_path / "out")
    assert scans["site"].iloc[0] == cell and not list(tmp_path.rglob("pwned"))
    see("kept as text; nothing is executed")
