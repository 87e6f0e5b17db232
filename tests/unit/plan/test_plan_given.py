"""Links to what the user gives, and digests of its content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anatcl.plan import content, given
from anatcl.spec.task import load_task


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a run, and beside it what a user gives."""
    (tmp_path / "run").mkdir()
    (tmp_path / "study" / "bids").mkdir(parents=True)
    (tmp_path / "study" / "old.yaml").write_text("name: old\nkind: regression\ntarget: age\n")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


def values(study: Path) -> dict:
    return {
        "bids_dir": str(study / "bids"),
        "seed": 3,
        "preprocess": {
            "recipe": "fast",
            "template": str(study / "mine.yaml"),
            "corrections": str(study / "corrections.tsv"),
            "skullstrip": {"method": "mask", "masks": f"{study}/masks/{{scan}}/brain.nii.gz"},
        },
        "measures": {"atlas": "desikan-killiany", "freesurfer": str(study / "fs")},
        "evaluate": {
            "tasks": ["sex", str(study / "old.yaml"), {"name": "x"}],
            "features": {"other": {"table": str(study / "other.tsv"), "columns": "all"}},
        },
    }


def test_no_path_is_left_and_every_link_leads_there(run):
    study = run.parent / "study"
    found = given.linked(values(study))
    assert str(study) not in json.dumps(found)
    assert Path(found["bids_dir"]).samefile(study / "bids")
    assert Path(found["evaluate"]["tasks"][1]).samefile(study / "old.yaml")
    assert found["evaluate"]["tasks"][::2] == ["sex", {"name": "x"}] and found["seed"] == 3
    assert found["preprocess"]["recipe"] == "fast" and found["measures"]["atlas"] == "desikan-killiany"
    masks = found["preprocess"]["skullstrip"]["masks"].replace("{scan}", "a")
    assert os.path.realpath(masks) == str(study / "masks" / "a" / "brain.nii.gz")
    assert Path(found["evaluate"]["features"]["other"]["table"]).name == "other.tsv"
    assert given.targets()["dataset"] == str(study / "bids")


def test_another_place_has_the_same_names(run):
    before = given.linked(values(run.parent / "study"))
    (run.parent / "study").rename(run.parent / "elsewhere")
    after = given.linked(values(run.parent / "elsewhere"))
    assert before == after and Path(after["bids_dir"]).samefile(run.parent / "elsewhere" / "bids")
    # What leads through links already stays.
    assert given.linked(after) == after


def test_what_lies_in_the_run_is_linked_relatively(run):
    (run / "bids").mkdir()
    assert not given.link("dataset", run / "bids").readlink().is_absolute()
    assert (run / "results" / "given" / "dataset").samefile(run / "bids")


def test_without_links_paths_stay_as_they_are(run, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    study = run.parent / "study"
    assert given.linked(values(study)) == values(study)
    assert "cannot be a link (Operation not permitted)" in caplog.text


def test_the_content_of_a_task_is_what_it_asks(tmp_path):
    file = tmp_path / "old.yaml"
    texts = {
        "name: old\nkind: regression\ntarget: age\n": True,
        "# a comment\ntarget: age\nname: old\nkind: regression\nnote: said\n": True,
        "name: old\nkind: regression\ntarget: age\nmin_participants: 9\n": False,
    }
    first = content.task_content(load_task({"name": "old", "kind": "regression", "target": "age"}))
    for text, same in texts.items():
        file.write_text(text)
        assert (content.task_content(load_task(file)) == first) is same


def test_the_content_of_a_file_is_read_again_when_it_changed(tmp_path):
    file = tmp_path / "table.tsv"
    assert content.file_content(file) == ""
    file.write_text("a")
    first = content.file_content(file)
    file.write_text("b")
    os.utime(file, (1, 1))
    assert content.file_content(file) != first
    file.write_text("a")
    os.utime(file, (2, 2))
    assert content.file_content(file) == first


def test_the_shipped_atlas_and_template_have_digests():
    assert len(content.atlas_content("desikan-killiany")) == len(content.template_content("MNI152NLin2009aSym")) == 16


def test_words_of_methods_are_of_those_asked_for():
    words = json.loads(content.method_words(["y-aware", "regional-measures"]))
    assert set(words) == {"y-aware"} and "label" in words["y-aware"] and "options" not in words["y-aware"]
