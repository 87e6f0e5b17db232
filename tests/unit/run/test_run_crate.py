"""A finished run as an RO-Crate that names nobody."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from anatcl.base.errors import InputError
from anatcl.cli import main
from anatcl.run.crate import OF_PEOPLE, TABLES, write

rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed (pip install rocrate)")
CONFIG = {"participants": {"include": ["sub-01"], "exclude": [], "query": ""}, "preprocess": {"accept": []}, "seed": 3}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of two people, its files in outline."""
    folder = tmp_path / "run"
    for path in (*TABLES, *OF_PEOPLE):
        target = folder / path / "age.md" if path.name == "tables" else folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("participant_id\nsub-01\nsub-02\n" if path in OF_PEOPLE else "method\tmae\nours\t4\n")
    (folder / "results" / "report" / "tables" / ".snakemake_timestamp").write_text("")
    record = {"config": CONFIG, "versions": {"anatcl": "1"}, "given": {"dataset": "/home/someone/data"}}
    (folder / "results" / "run.json").write_text(json.dumps(record))
    (folder / "results" / "benchmarks").mkdir()
    (folder / "results" / "benchmarks" / "measures.tsv").write_text("s\th:m:s\n60\t0:01:00\n")
    (folder / "results" / "given" / "dataset").mkdir(parents=True)
    about = {"Name": "Heads", "DatasetDOI": "https://doi.org/10.1/heads"}
    (folder / "results" / "given" / "dataset" / "dataset_description.json").write_text(json.dumps(about))
    return folder


def test_other_programs_read_it(run, tmp_path):
    assert main(["crate", str(run), "--out", str(tmp_path / "made"), "--license", "CC-BY-4.0"]) == 0
    crate = rocrate.ROCrate(str(tmp_path / "made"))
    assert (crate.name, crate.license) == ("AnatCL benchmark of Heads", "CC-BY-4.0")
    assert crate.mainEntity.id == "workflow/Snakefile" and crate.mainEntity.lang.name == "Snakemake"
    [action] = crate.root_dataset["mentions"]
    assert action["instrument"] is crate.mainEntity
    assert {path.as_posix() for path in TABLES if path.suffix} < {made.id for made in action["result"]}
    assert "https://doi.org/10.1/heads" in {used.get("identifier") for used in action["object"]}
    assert action["startTime"] < action["endTime"]
    described = {part.id for part in crate.root_dataset["hasPart"]}
    there = {p.relative_to(tmp_path / "made").as_posix() for p in (tmp_path / "made").rglob("*") if p.is_file()}
    assert there == described | {"ro-crate-metadata.json"}


def test_it_names_nobody(run, tmp_path):
    made = write(run, tmp_path / "made")
    results = [*made.glob("*.json"), *(p for p in (made / "results").rglob("*") if p.is_file())]
    text = "".join(path.read_text() for path in results)
    assert "sub-0" not in text and "someone" not in text
    config = json.loads((made / "config.json").read_text())
    assert config["participants"]["include"] == "left out: it may name participants"
    assert (config["participants"]["exclude"], config["seed"]) == ([], 3)


def test_a_name_in_a_table_is_refused_and_nothing_is_left(run, tmp_path):
    (run / "results" / "report" / "methods.md").write_text("We left out sub-02.")
    with pytest.raises(InputError, match=r"methods\.md: it names the participant sub-02") as refused:
        write(run, tmp_path / "made")
    assert "--with-participants" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_longer_name_is_another_one(run, tmp_path):
    (run / "results" / "report" / "methods.md").write_text("sub-021 and xsub-02 are no participants.")
    assert write(run, tmp_path / "made").is_dir()


def test_with_participants_it_has_the_page_and_the_configuration(run, tmp_path):
    made = write(run, tmp_path / "made.zip", people=True)
    with zipfile.ZipFile(made) as archive:
        assert {path.as_posix() for path in OF_PEOPLE} < set(archive.namelist())
        assert json.loads(archive.read("config.json")) == CONFIG


def test_a_run_without_its_record_is_refused(run, tmp_path):
    (run / "results" / "run.json").unlink()
    with pytest.raises(InputError, match=r"run\.json: there is no finished run"):
        write(run, tmp_path / "made")


def test_what_cannot_be_is_a_sentence(run, tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        write(tmp_path, tmp_path / "made")
    (tmp_path / "made").mkdir()
    with pytest.raises(InputError, match="exists already"):
        write(run, tmp_path / "made")
