"""The configuration that `anatcl init` writes: valid, and true of the dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from openbhb_release import make_release

from anatcl.base.errors import InputError
from anatcl.images import Volume, save
from anatcl.run.init import write_starter
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse

STEMS = [f"sub-{n:02d}/ses-{s}/anat/sub-{n:02d}_ses-{s}_run-{r}" for n in range(1, 9) for s in (1,) for r in (1, 2)]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Eight people with two runs each, ages under another name, a diagnosis, one broken scan."""
    root = tmp_path / "a 'study'"
    data = np.random.default_rng(0).random((14, 15, 16)).astype(np.float32)
    for stem in STEMS:
        path = root / f"{stem}_T1w.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, Volume(data, np.diag([6.0, 6, 6, 1])))
    (root / f"{STEMS[0]}_T1w.nii.gz").write_bytes(b"")
    rows = [f"sub-{n:02d}\t{20 + n}\t{'MF'[n % 2]}\t{['HC', 'AD'][n % 2]}" for n in range(1, 9)]
    (root / "participants.tsv").write_text("participant_id\tmy_age\tsex\tdx\n" + "\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    return root


def test_it_is_valid_and_says_what_is_there(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "my own.yaml"
    said = write_starter(dataset, out)
    text = out.read_text()
    values = yaml.safe_load(text)
    assert parse(values).bids_dir == str(dataset)
    assert values["evaluate"]["tasks"] == ["sex"]
    assert values["bids"] == {"runs": "all"}
    assert "# 15 usable scans of 8 participants, 1 session." in text
    assert "# age: known for none" in text and '#   columns: {age: "my_age"}' in text
    assert (
        'target: "dx", positives: ["AD"], negatives: ["HC"]' in text or 'positives: ["HC"], negatives: ["AD"]' in text
    )
    assert "1 cannot be used" in text and "1 cannot be used" in said
    assert said.startswith("15 usable scans of 8 participants") and f"Written: {out}\n" in said
    assert said.endswith(f"Everything: anatcl run -- --configfile '{out}'")


def test_a_suggested_task_is_one_when_its_mark_is_removed(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "my.yaml"
    write_starter(dataset, out)
    out.write_text(out.read_text().replace("    # - {name", "    - {name"))
    tasks = parse(yaml.safe_load(out.read_text())).evaluate.tasks
    assert [t.name for t in tasks if not isinstance(t, str)] == ["dx"]


def test_a_file_is_not_replaced_unless_asked(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "my.yaml"
    out.write_text("mine: 1\n")
    with pytest.raises(InputError, match="exists already"):
        write_starter(dataset, out)
    write_starter(dataset, out, overwrite=True)
    assert "bids_dir" in out.read_text()


def test_without_ages_it_proposes_what_can_finish(dataset: Path, tmp_path: Path) -> None:
    write_starter(dataset, tmp_path / "my.yaml")
    values = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert values["pretrain"]["methods"] == ["simclr"]


@pytest.mark.parametrize(("people", "methods"), [(3, []), (7, ["simclr"])])
def test_few_people_get_skipped_tasks_and_no_training(
    dataset: Path, tmp_path: Path, people: int, methods: list[str]
) -> None:
    for n in range(people + 1, 9):
        shutil.rmtree(dataset / f"sub-{n:02d}")
    write_starter(dataset, tmp_path / "my.yaml")
    values = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert values["pretrain"]["methods"] == methods
    assert values["evaluate"]["unanswerable"] == "skip" and values["evaluate"]["tasks"] == ["age", "sex"]
    assert values["evaluate"].get("untrained", True) == bool(methods)


def test_ages_allow_every_method(dataset: Path, tmp_path: Path) -> None:
    table = dataset / "participants.tsv"
    table.write_text(table.read_text().replace("my_age", "age"))
    write_starter(dataset, tmp_path / "my.yaml")
    values = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert "anatcl-global" in values["pretrain"]["methods"] and values["evaluate"]["tasks"] == ["age", "sex"]
    assert "unanswerable" not in values["evaluate"]


def of_release(root: Path, tmp_path: Path) -> tuple[str, dict]:
    """What is written for a release; nothing of it is wrong by what can be said without a run."""
    write_starter(root, tmp_path / "my.yaml")
    text = (tmp_path / "my.yaml").read_text()
    assert list(check_files_and_names(parse(yaml.safe_load(text)))) == []
    return text, yaml.safe_load(text)


def test_openbhbs_release_is_known_and_its_maps_are_taken(tmp_path: Path) -> None:
    make_release(tmp_path / "openBHB", 20)
    text, values = of_release(tmp_path / "openBHB", tmp_path)
    assert values["bids"] == {"layout": "openbhb"} and values["bids_dir"] == str(tmp_path / "openBHB")
    pretrain = {key: values["pretrain"][key] for key in ("arrays", "map", "group", "folds")}
    assert pretrain == {"arrays": "release", "map": "vbm", "group": "split", "folds": 2}
    assert values["pretrain"]["methods"] == ["anatcl-global", "anatcl-local", "y-aware"]
    assert [p["test"] for p in values["evaluate"]["protocols"]] == [["internal_test"], ["external_test"]]
    assert "# CAT12 maps: of 20 participants." in text and "# raw heads: of 20 participants." in text
    assert "Desikan measures: tables." in text and "# 20 usable scans of 20 participants" in text


def test_a_release_without_maps_has_its_heads_worked_on(tmp_path: Path) -> None:
    make_release(tmp_path / "openBHB", 10, maps=False)
    text, values = of_release(tmp_path / "openBHB", tmp_path)
    assert "arrays" not in values["pretrain"] and values["preprocess"] == {"recipe": "fast"}
    assert "anatcl-global" in values["pretrain"]["methods"] and "# CAT12 maps: none." in text


def test_a_release_without_measures_trains_what_needs_none(tmp_path: Path) -> None:
    root = tmp_path / "openBHB"
    make_release(root, 10, heads=False)
    for file in root.glob("*/derivatives/freesurfer_roi/*.csv"):
        file.unlink()
    for file in root.glob("*/derivatives/*/*/*cat12vbm*"):
        file.unlink()
    text, values = of_release(root, tmp_path)
    assert values["pretrain"]["map"] == "quasi-raw" and values["pretrain"]["methods"] == ["y-aware", "simclr"]
    assert "Desikan measures: none." in text
