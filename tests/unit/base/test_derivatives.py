"""Results as BIDS datasets: names of sources, descriptions, names of files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import standard

from anatcl.base.derivatives import BIDS_VERSION, dataset_of, describe, sources, uri
from anatcl.measures import dataset as measures
from anatcl.preprocess.sidecar import DESCRIPTIONS
from anatcl.spec.layout import SURFACE_FILES, SURFACE_NUMBERS

ROOT = Path(__file__).resolve().parents[3]
MADE = Path("results/preprocess")
SCAN = "sub-01/ses-1/anat/sub-01_ses-1"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (MADE / f"{SCAN}_dseg.nii.gz", f"bids::{SCAN}_dseg.nii.gz"),
        (MADE / "template" / "brain.nii.gz", "bids::template/brain.nii.gz"),
        (Path(f"results/given/dataset/{SCAN}_T1w.nii.gz"), f"bids:dataset:{SCAN}_T1w.nii.gz"),
        (Path("/sub-x/my study/sub-01/anat/sub-01_T1w.nii.gz"), "bids:my-study:sub-01/anat/sub-01_T1w.nii.gz"),
        (Path("results/given/masks/a.nii.gz"), "bids:masks:a.nii.gz"),
    ],
)
def test_a_source_is_named_by_its_dataset(path, expected):
    assert uri(path, MADE) == expected


def test_the_dataset_of_a_file():
    assert dataset_of(MADE / f"{SCAN}_dseg.nii.gz") == MADE
    assert dataset_of(Path("somewhere/image.nii.gz")) == Path("somewhere")


def test_sources_have_digests_but_for_transforms(tmp_path):
    one, two = tmp_path / "sub-01" / "one.nii.gz", tmp_path / "sub-01" / "two.h5"
    one.parent.mkdir()
    one.write_bytes(b"")
    found = sources([one], tmp_path, [two])
    assert found["Sources"] == ["bids::sub-01/one.nii.gz", "bids::sub-01/two.h5"]
    assert [digest[:4] for digest in found["SourcesSha256"].values()] == ["e3b0"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"DatasetDOI": "10.1/x"}', [{"URL": "../given/dataset", "DOI": "10.1/x"}]),
        ('{"DatasetDOI": 3}', [{"URL": "../given/dataset"}]),
        ("[]", [{"URL": "../given/dataset"}]),
        ("no JSON", [{"URL": "../given/dataset"}]),
        (None, [{"URL": "../given/dataset"}]),
    ],
)
def test_the_dataset_of_the_scans_is_named(said, expected, tmp_path):
    (tmp_path / "given" / "dataset").mkdir(parents=True)
    if said is not None:
        (tmp_path / "given" / "dataset" / "dataset_description.json").write_text(said)
    describe(tmp_path / "made" / "dataset_description.json", "name", "text", ["x"], uses=["other"])
    about = json.loads((tmp_path / "made" / "dataset_description.json").read_text())
    assert about["SourceDatasets"] == expected
    assert about["DatasetLinks"] == {"other": "../other", "dataset": "../given/dataset"}


def test_without_links_nothing_is_said_of_the_scans(tmp_path):
    describe(tmp_path / "made" / "dataset_description.json", "name", "text", ["x"])
    about = json.loads((tmp_path / "made" / "dataset_description.json").read_text())
    assert not {"SourceDatasets", "DatasetLinks"} & set(about)


def test_the_version_of_bids_is_the_schemas():
    from bidsschematools.schema import load_schema

    schema = load_schema()
    assert BIDS_VERSION in schema.meta.versions
    assert schema.bids_version.rpartition(".")[0] == BIDS_VERSION.rpartition(".")[0]


def test_every_image_of_preprocess_is_described():
    text = "".join((ROOT / "rules" / name).read_text() for name in ("preprocess.smk", "preprocess_maps.smk"))
    images = {name for name in re.findall(r"results/preprocess/\{+scan\}+(_\S+)\"", text) if "." in name}
    images = {name for name in images if name.endswith((".nii.gz", ".h5", ".mat"))}
    assert len(images) == 12
    assert [name for name in images if not name.endswith(tuple(DESCRIPTIONS))] == []


def test_names_of_surfaces_are_bids_or_listed_as_others(tmp_path):
    measures.describe(tmp_path / "dataset_description.json")
    names = [f"hemi-{side}_{end}.gii" for side in "LR" for end in SURFACE_FILES] + [SURFACE_NUMBERS]
    for name in names:
        (tmp_path / "sub-01" / "anat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sub-01" / "anat" / f"sub-01_{name}").write_text("{}")
    assert standard.issues(tmp_path)["error"] == set()
