"""The index as a whole: real datasets, filters, files that stay put."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.bids.index import build_index, refresh
from anatcl.spec.bids import Options
from anatcl.spec.layout import SCAN_PATTERN

OUTPUTS = ("scans.tsv", "excluded.tsv", "participants.tsv", "run.json")


def test_ixi(shared_data: Path, tmp_path: Path) -> None:
    scans = refresh(shared_data / "ixi_hh_2mm", tmp_path)
    assert len(scans) == 64
    assert (tmp_path / "excluded.tsv").read_text().count("\n") == 1
    first = scans.iloc[0]
    assert first["scan"] == "sub-IXI013/anat/sub-IXI013"
    assert (first["age"], first["sex"], first["site"]) == (46.71, "M", "HH")
    assert (shared_data / "ixi_hh_2mm" / first["path"]).is_file() and not Path(first["path"]).is_absolute()
    assert "session_id\t" in (tmp_path / "scans.tsv").read_text() and scans["session_id"].isna().all()
    pd.testing.assert_frame_equal(scans, read_tsv(tmp_path / "scans.tsv"))


def test_two_sessions_without_participants_table(shared_data: Path, tmp_path: Path) -> None:
    scans = refresh(shared_data / "ms_two_sessions", tmp_path)
    assert list(scans["session_id"]) == ["ses-1", "ses-2"] * 2
    assert scans[["age", "sex", "site"]].isna().all(axis=None)
    assert "no such table" in read_json(tmp_path / "run.json")["warnings"][0]["warning"]


def test_names_of_real_and_mixed_scans_fit_the_wildcard(dataset: Path) -> None:
    scans = build_index(dataset).scans
    assert list(scans["scan"]) == sorted(scans["scan"]) and len(scans) == 6
    assert all(re.fullmatch(SCAN_PATTERN, scan) for scan in scans["scan"])
    assert not re.fullmatch(SCAN_PATTERN, "sub-01/anat/sub-01_space-MNI")
    assert list(scans.columns[:6]) == ["scan", "path", "participant_id", "session_id", "acq", "run"]
    assert list(scans["acq"]) == [None, None, None, None, "mprage", "flash"]


def test_listing_equals_that_of_a_slow_search(dataset: Path) -> None:
    """Names that fit the standard's pattern, found by pathlib, are the names that we list."""
    pattern = r"(sub-[A-Za-z0-9+]+)(/ses-[A-Za-z0-9+]+)?/anat/sub-[A-Za-z0-9+_-]+_T1w\.nii(\.gz)?"
    files = (path.relative_to(dataset).as_posix() for path in dataset.rglob("*"))
    paths = {name for name in files if re.fullmatch(pattern, name)}
    assert paths == set(build_index(dataset).scans["path"])


def test_labels_with_a_plus_are_taken(dataset: Path, write_scan) -> None:
    write_scan("sub-a+b/ses-1+/anat/sub-a+b_ses-1+_acq-x+y_T1w.nii.gz")
    scans = build_index(dataset).scans
    assert "sub-a+b/ses-1+/anat/sub-a+b_ses-1+_acq-x+y" in set(scans["scan"])


def test_raw_entities_are_those_of_the_schema() -> None:
    import bidsschematools.schema

    from anatcl.spec.layout import ENTITIES, INDICES

    schema = bidsschematools.schema.load_schema()
    allowed = [rule.entities for rule in schema.rules.files.raw.anat.values() if "T1w" in rule.suffixes]
    assert {entity for entities in allowed for entity in entities} == set(ENTITIES)
    for entity, short in ENTITIES.items():
        definition = schema.objects.entities[entity]
        assert definition["name"] == short
        assert (definition["format"] == "index") == (short in INDICES)


def test_a_second_call_writes_nothing_and_opens_nothing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = refresh(dataset, out)
    before = {name: (out / name).stat().st_mtime_ns for name in (*OUTPUTS, ".cache.json")}
    monkeypatch.setattr("anatcl.bids.check.check", lambda *_: pytest.fail("a file was opened again"))
    pd.testing.assert_frame_equal(refresh(dataset, out), first)
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}


def test_only_what_changed_is_opened_and_written(dataset: Path, tmp_path: Path, write_scan) -> None:
    out = tmp_path / "out"
    refresh(dataset, out)
    before = {name: (out / name).stat().st_mtime_ns for name in OUTPUTS}
    (dataset / "sub-01/anat/sub-01_T1w.nii.gz").write_bytes(b"")
    write_scan("sub-05/anat/sub-05_T1w.nii.gz")
    scans = refresh(dataset, out)
    assert "sub-05/anat/sub-05" in set(scans["scan"]) and "sub-01/anat/sub-01" not in set(scans["scan"])
    assert all((out / name).stat().st_mtime_ns > before[name] for name in OUTPUTS)


def test_one_changed_age_leaves_the_exclusions_untouched(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refresh(dataset, out)
    before = (out / "excluded.tsv").stat().st_mtime_ns
    table = dataset / "participants.tsv"
    table.write_text(table.read_text().replace("31.5", "32.5"))
    scans = refresh(dataset, out)
    assert scans["age"].iloc[0] == 32.5
    assert (out / "excluded.tsv").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["", "[]", '{"key": 1}', "\0\1", '{"key": "x", "files": 3}'])
def test_a_damaged_cache_costs_time_only(dataset: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    first = refresh(dataset, out)
    (out / ".cache.json").write_text(damage)
    (out / "run.json").write_text(damage)
    pd.testing.assert_frame_equal(refresh(dataset, out), first)


def test_a_mended_file_comes_back(dataset: Path, tmp_path: Path, write_scan) -> None:
    out = tmp_path / "out"
    file = dataset / "sub-01/anat/sub-01_T1w.nii.gz"
    good = file.read_bytes()
    file.write_bytes(good[:200])
    assert len(refresh(dataset, out)) == 5
    file.write_bytes(good)
    assert len(refresh(dataset, out)) == 6
    assert (out / "excluded.tsv").read_text().count("\n") == 1


def test_byte_equal_reruns(dataset: Path, tmp_path: Path) -> None:
    (dataset / "sub-03/anat/sub-03_acq-mprage_T1w.nii.gz").write_bytes(b"")
    for out in ("one", "two"):
        refresh(dataset, tmp_path / out)
    for name in OUTPUTS[:3]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "expected", "rows"),
    [
        ({"include": ["01"]}, ["sub-01"], 0),
        ({"include": "sub-0[12]"}, ["sub-01", "sub-02", "sub-02", "sub-02"], 0),
        ({"exclude": ["sub-02", "4*", "04"]}, ["sub-01", "sub-03"], 4),
        ({"entities": {"session": ["1"]}}, ["sub-02", "sub-02"], 0),
        ({"entities": {"ses": ["ses-2", "n/a"]}}, ["sub-01", "sub-02", "sub-03"], 0),
        ({"entities": {"run": [1]}}, ["sub-02", "sub-04"], 0),
        ({"entities": {"acq": "mp*"}}, ["sub-03"], 0),
        ({"runs": "first"}, ["sub-01", "sub-02", "sub-02", "sub-03", "sub-04"], 1),
        ({"query": "age > 40 and sex == 'F'"}, ["sub-02", "sub-02", "sub-02", "sub-03"], 2),
        ({"query": "site == 'A'", "exclude": ["03"]}, ["sub-01"], 5),
    ],
)
def test_filters(dataset: Path, options: dict, expected: list[str], rows: int) -> None:
    index = build_index(dataset, Options.parse(options))
    assert list(index.scans["participant_id"]) == expected
    assert len(index.excluded) == rows
    assert index.counts["scans used"] + rows + index.counts["not asked for"] == index.counts["T1w images found"]


def test_run_policy_takes_the_first_usable_run(dataset: Path) -> None:
    (dataset / "sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz").write_bytes(b"")
    index = build_index(dataset, Options(runs="first"))
    assert "sub-02/ses-1/anat/sub-02_ses-1_run-2" in set(index.scans["scan"])
    assert list(index.excluded["reason"]) == ["the file is empty (zero bytes)."]


def test_run_policy_says_what_it_left_out(dataset: Path) -> None:
    (row,) = build_index(dataset, Options(runs="first")).excluded.to_dict("records")
    assert row["scan"] == "sub-02/ses-1/anat/sub-02_ses-1_run-2"
    assert row["reason"].startswith("run policy") and row["stage"] == "bids" and row["remedy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inclde": ["01"]}, "did you mean 'include'"),
        ({"include": {"a": 1}}, "include: it must be a list"),
        ({"exclude": [1.5]}, "exclude: it must be a list"),
        ({"runs": "best"}, "runs is 'best', which is unknown (known: all, first)"),
        ({"runs": ["all"]}, "(known: all, first)"),
        ({"entities": {"sesion": ["1"]}}, "did you mean 'session'"),
        ({"entities": ["ses"]}, "entities: it must be a mapping"),
        ({"query": 3}, "query is 3: it should be text"),
        ({"columns": {"age": ["x"]}}, "columns: it must map names"),
        ({"columns": {"age": "Age_years_at_scan"}}, "'Age_years_at_scan', which no table has"),
        ({"sex_levels": {"1": "male"}}, "sex_levels must map codes"),
        ({"voxel_mm": 3}, "voxel_mm must be two lengths"),
        ({"voxel_mm": [3, 1]}, "voxel_mm must be"),
        ({"min_extent_mm": -1}, "min_extent_mm is -1: it should be"),
        ({"verify": "no"}, "verify is 'no', which is unknown"),
        ({"query": "agee > 3"}, "Did you mean 'age'"),
        ({"query": "age +"}, "cannot be evaluated"),
        ({"query": "age"}, "is not a comparison"),
        ({"query": "@open('x')"}, "'@' or '__'"),
        ({"query": "age.__class__"}, "'@' or '__'"),
    ],
)
def test_wrong_options_are_named(dataset: Path, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        build_index(dataset, Options.parse(options))


def test_a_pattern_that_fits_nobody_is_said(dataset: Path) -> None:
    warnings = build_index(dataset, Options(include=("01", "sub-9*"))).warnings
    assert any("'sub-9*' matches no participant" in item["warning"] for item in warnings)


def test_nothing_left_is_an_error_after_the_tables_are_written(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no usable T1w scan.*excluded\.tsv"):
        refresh(dataset, tmp_path / "out", Options(exclude=("*",)))
    assert (tmp_path / "out" / "excluded.tsv").read_text().count("\n") == 7


def test_participants_table(dataset: Path, tmp_path: Path) -> None:
    refresh(dataset, tmp_path / "out")
    people = read_tsv(tmp_path / "out" / "participants.tsv")
    assert list(people["participant_id"]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert list(people["n_scans"]) == [1, 3, 1, 1]
    assert people["age"].isna().tolist() == [False, False, False, True]


def test_command_line(dataset: Path, tmp_path: Path) -> None:
    """The step runs, and the index needs neither torch nor ANTs."""
    script = (
        "import sys; from anatcl.cli.bids import register; import argparse\n"
        "parser = argparse.ArgumentParser(); register(parser.add_subparsers())\n"
        "args = parser.parse_args(sys.argv[1:]); args.function(args)\n"
        "assert not {'torch', 'ants', 'nipype', 'sklearn'} & set(sys.modules)\n"
    )
    out = tmp_path / "out"
    flags = ["--bids-dir", str(dataset), "--out-dir", str(out), "--options", '{"runs": "first"}']
    here = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script, "bids", "index", *flags]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(here)})
    assert len(read_tsv(out / "scans.tsv")) == 5
    assert read_tsv(out / "excluded.tsv")["reason"].str.startswith("run policy").all()
