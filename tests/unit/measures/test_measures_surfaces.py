"""Surfaces: geometry by known shapes, files by round trips, atlases by made annotations; no cat-surf needed here."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import marching_cubes

from anatcl.base.errors import InputError
from anatcl.base.programs import Killed
from anatcl.images import Volume, save
from anatcl.measures import exports, tables
from anatcl.measures.atlas import LEFT, RIGHT, load_atlas
from anatcl.measures.surfaces import annotation, carry, engine, filling, gifti, quality, rows, shape
from anatcl.measures.surfaces.picture import section
from anatcl.measures.surfaces.table import distances, regions, vertex_table
from anatcl.measures.tissues import load_tissues

VERTICES = annotation.VERTICES


def ball(radius, template):
    """The template's sphere with another radius."""
    return carry.unit(template["sphere"]) * radius


@pytest.fixture(scope="module")
def template():
    return annotation.fsaverage5("L")


@pytest.fixture(scope="module")
def surfaces(template):
    """A cortex of 2 mm around a ball of 40 mm, whose registered sphere is fsaverage's own."""
    middle, sphere = ball(41, template), ball(100, template)
    return engine.Surfaces(
        template["faces"], middle, ball(40, template), ball(42, template), sphere, sphere, np.full(VERTICES, 2.0)
    )


# -- shapes ----------------------------------------------------------------------------------------------------------


def test_a_ball_has_the_areas_volumes_and_curvatures_of_a_ball(surfaces):
    table = vertex_table(surfaces)
    assert table["area"].sum() == pytest.approx(4 * np.pi * 40**2, rel=0.01)
    assert table["volume"].sum() == pytest.approx(4 / 3 * np.pi * (42**3 - 40**3), rel=0.01)
    assert table["k1"].to_numpy() == pytest.approx(-1 / 40, rel=0.05)
    assert table["k2"].to_numpy() == pytest.approx(-1 / 40, rel=0.05)
    assert shape.volume(surfaces.white, surfaces.faces) == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.01)
    assert distances(surfaces) == pytest.approx(2, rel=0.02)


def test_the_sum_of_gaussian_curvature_is_that_of_the_topology(surfaces):
    table = vertex_table(surfaces)
    assert (table["k1"] * table["k2"] * table["area"]).sum() == pytest.approx(4 * np.pi, rel=0.03)


def test_curvatures_of_a_cylinder_and_a_saddle():
    grid = np.stack(np.meshgrid(np.linspace(-6, 6, 40), np.linspace(-6, 6, 40), indexing="ij"), -1).reshape(-1, 2)
    at = np.arange(1600).reshape(40, 40)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    x, y = grid.T
    inner = np.flatnonzero((np.abs(grid) < 2).all(axis=1))
    k1, k2 = shape.curvatures(np.c_[grid, x**2 / 20], faces)
    middle = inner[np.abs(x[inner]) < 0.5]
    assert np.abs(k1[middle]) == pytest.approx(0.1, rel=0.03) and np.abs(k2[middle]).max() < 0.005
    k1, k2 = shape.curvatures(np.c_[grid, (x**2 - y**2) / 20], faces)
    middle = inner[np.linalg.norm(grid[inner], axis=1) < 0.5]
    assert (k1 * k2)[middle] == pytest.approx(-0.01, rel=0.06)


def slow_euler(faces):
    """V - E + F by loops."""
    pairs = {tuple(sorted((f[i], f[(i + 1) % 3]))) for f in faces.tolist() for i in range(3)}
    return len(set(faces.ravel().tolist())) - len(pairs) + len(faces)


def test_topology_of_a_ball_a_ring_and_two_balls():
    x, y, z = np.meshgrid(*(np.arange(n) - n // 2 for n in (26, 27, 28)), indexing="ij")
    solid = np.sqrt(x**2 + y**2 + z**2) - 6
    ring = np.hypot(np.hypot(x, y) - 8, z) - 3
    two = np.minimum(solid, np.sqrt((x - 10.0) ** 2 + y**2 + z**2) - 2)
    for field, wanted, parts in ((solid, 2, 1), (ring, 0, 1), (two, 4, 2)):
        _, faces, *_ = marching_cubes(-field.astype(float), 0.0)
        assert shape.euler(faces) == slow_euler(faces) == wanted
        assert shape.components(faces) == parts


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_measures_do_not_change_with_the_place_and_direction_of_the_head(seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    points, faces, *_ = marching_cubes(-(np.indices((9, 10, 11)).T - [4, 5, 5.0] @ np.eye(3)).T.__pow__(2).sum(0), -9.0)
    moved = points @ turn.T + rng.normal(size=3) * 50
    assert shape.face_areas(moved, faces).sum() == pytest.approx(shape.face_areas(points, faces).sum())
    assert shape.volume(moved, faces) == pytest.approx(shape.volume(points, faces), rel=1e-6)
    k1, k2 = shape.curvatures(points, faces)
    again = shape.curvatures(moved, faces)
    assert again[0] * again[1] == pytest.approx(k1 * k2, abs=1e-6)


def test_a_plane_cuts_a_ball_in_a_circle(surfaces):
    lines = section(surfaces.white, surfaces.faces, 2, 12.0)
    assert lines[..., 2] == pytest.approx(12, abs=1e-6)
    assert np.linalg.norm(lines[..., :2], axis=-1) == pytest.approx(np.sqrt(40**2 - 12**2), rel=0.01)
    assert np.linalg.norm(lines[:, 0] - lines[:, 1], axis=1).sum() == pytest.approx(
        2 * np.pi * np.sqrt(40**2 - 12**2), rel=0.01
    )


# -- labels over the sphere ------------------------------------------------------------------------------------------


def test_points_inside_a_triangle_get_its_values(template):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet([1, 1, 1], 300)
    chosen = template["faces"][rng.integers(0, len(template["faces"]), 300)]
    unit = carry.unit(template["sphere"])
    points = (unit[chosen] * weights[..., None]).sum(axis=1)
    corners, found = carry.barycentric(template["sphere"], template["faces"], points)
    assert found.sum(axis=1) == pytest.approx(1) and found.min() >= 0
    assert (unit[corners] * found[..., None]).sum(axis=1) == pytest.approx(points, abs=1e-6)


def test_labels_and_values_are_carried_onto_themselves(template):
    labels = annotation.load_annotations("desikan-killiany")["L"].labels
    carried = carry.carry_labels(labels, template["sphere"], template["faces"], template["sphere"] * 0.3)
    assert (carried == labels).all()
    values = carry.carry_values(template["sphere"][:, 2], template["sphere"], template["faces"], template["sphere"])
    assert values == pytest.approx(template["sphere"][:, 2], abs=1e-3)


# -- annotations -----------------------------------------------------------------------------------------------------


def own_annotation(folder, kind="gii", vertices=VERTICES):
    """Upper and lower half of fsaverage, with a medial wall, as an atlas of two files and a YAML."""
    files = {}
    for side, name in (("L", "left"), ("R", "right")):
        sphere = annotation.fsaverage5(side)["sphere"]
        labels = np.where(sphere[:, 2] > 0, 1, 2)
        labels[np.abs(sphere[:, 0]) > 95] = 0
        labels = np.resize(labels, vertices)
        files[name] = f"{name}.{'annot' if kind == 'annot' else 'label.gii'}"
        if kind == "annot":
            colours = np.array([[9, 9, 9, 0], [200, 0, 0, 0], [0, 200, 0, 0]])
            names = ["Medial_wall", "G_and_S upper", "S_lower"]
            nib.freesurfer.write_annot(folder / files[name], labels, colours, names, fill_ctab=True)
        else:
            gifti.write_labels(folder / files[name], labels, {1: "G_and_S upper", 2: "S_lower"}, side)
    (folder / "halves.yaml").write_text(yaml.safe_dump({"name": "halves", "annotation": files}))
    return folder / "halves.yaml"


@pytest.mark.parametrize("kind", ["gii", "annot"])
def test_any_annotation_is_an_atlas_by_a_yaml_file(tmp_path, surfaces, kind):
    path = own_annotation(tmp_path, kind)
    found = annotation.load_annotations(path)
    assert found["L"].keys() == {1001: "lh_G_and_S-upper", 1002: "lh_S_lower"}
    assert found["R"].keys() == {2001: "rh_G_and_S-upper", 2002: "rh_S_lower"}
    upper = annotation.fsaverage5("L")["sphere"][:, 2] > 0
    assert set(found["L"].labels[upper]) <= {0, 1001}
    assert (found["L"].labels == 0).any()
    table = regions(vertex_table(surfaces), annotation.carried(found["L"], surfaces.registered), found["L"])
    assert list(table["region"]) == ["lh_G_and_S-upper", "lh_S_lower"]
    atlas = load_atlas(path)
    assert atlas.name == "halves" and {"lh_hippocampus", "lh_bankssts"} <= set(atlas.regions["key"])
    atlas.check_space("MNI152NLin2009aSym")


def test_the_shipped_annotation_has_the_regions_and_values_of_the_volume():
    table = load_atlas("desikan-killiany").regions
    wanted = table[table["structure"] == "cortex"].set_index("index")["key"].to_dict()
    found = annotation.load_annotations("desikan-killiany")
    assert found["L"].keys() | found["R"].keys() == wanted


def test_annotations_that_are_none_are_sentences(tmp_path):
    with pytest.raises(InputError, match="has 5000 vertices"):
        annotation.load_annotations(own_annotation(tmp_path, vertices=5000))
    (tmp_path / "left.label.gii").write_bytes(b"<GIFTI>")
    with pytest.raises(InputError, match="cannot be read"):
        annotation.load_annotations(tmp_path / "halves.yaml")
    (tmp_path / "left.annot").write_bytes(b"abc")
    with pytest.raises(InputError, match="cannot be read"):
        annotation.read_annotation(tmp_path / "left.annot", "L")


# -- files -----------------------------------------------------------------------------------------------------------


def test_surfaces_survive_their_files(tmp_path, surfaces):
    written = gifti.write_surfaces(tmp_path / "sub-1", "L", surfaces, np.arange(VERTICES) / 1e4)
    assert {p.name for p in written} == {
        f"sub-1_hemi-L_{e}.gii" for e in (*gifti.SURFACES.values(), *gifti.MAPS.values())
    }
    again = gifti.read_surfaces(tmp_path / "sub-1", "L")
    for name in ("central", "white", "pial", "sphere", "registered", "thickness"):
        assert getattr(again, name) == pytest.approx(getattr(surfaces, name), abs=1e-5)
    assert (again.faces == surfaces.faces).all()
    image = nib.load(tmp_path / "sub-1_hemi-L_white.surf.gii")
    assert image.meta["AnatomicalStructurePrimary"] == "CortexLeft"
    bytes_ = [p.read_bytes() for p in written]
    assert bytes_ == [
        p.read_bytes() for p in gifti.write_surfaces(tmp_path / "sub-1", "L", again, np.arange(VERTICES) / 1e4)
    ]


def test_labels_survive_their_file(tmp_path):
    labels = np.arange(20) % 3
    gifti.write_labels(tmp_path / "a.label.gii", labels, {1: "one", 2: "two"}, "R")
    image = gifti.load(tmp_path / "a.label.gii")
    assert image.labeltable.get_labels_as_dict() == {0: "unknown", 1: "one", 2: "two"}
    assert (image.darrays[0].data == labels).all()


def test_surfaces_that_do_not_fit_are_a_sentence(tmp_path, surfaces):
    gifti.write_surfaces(tmp_path / "sub-1", "L", surfaces, surfaces.thickness)
    gifti.write_map(tmp_path / "sub-1_hemi-L_thickness.shape.gii", np.ones(7), "L", "thickness")
    with pytest.raises(InputError, match="another number of vertices"):
        gifti.read_surfaces(tmp_path / "sub-1", "L")
    gifti.write_surface(tmp_path / "sub-1_hemi-L_pial.surf.gii", surfaces.pial, surfaces.faces[::-1], "L", "pial")
    with pytest.raises(InputError, match="triangles of the surface differ"):
        gifti.read_surfaces(tmp_path / "sub-1", "L")
    (tmp_path / "sub-1_hemi-L_white.surf.gii").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        gifti.read_surfaces(tmp_path / "sub-1", "L")


# -- filling ---------------------------------------------------------------------------------------------------------


def block(tmp_path, lesion=False):
    """Two half balls of white matter in a shell of grey on a 2 mm grid, labelled, with a ventricle on either side."""
    n, mm = 52, 2.0
    x, y, z = np.meshgrid(*((np.arange(n + k) - n / 2 + 0.25) * mm for k in range(3)), indexing="ij")
    away = np.sqrt(x**2 + y**2 + z**2)
    wm, csf = (away < 38).astype(float), (away > 42).astype(float) * (away < 46)
    gm = ((away >= 38) & (away <= 42)).astype(float)
    ventricle = (np.abs(np.abs(x) - 9) < 5) & (np.abs(y) < 12) & (np.abs(z) < 6)
    if lesion:
        hole = (np.abs(x) - 20) ** 2 + y**2 + z**2 < 49
        wm[hole], gm[hole] = 0, 1
    wm[ventricle], gm[ventricle], csf[ventricle] = 0, 0, 1
    dseg = np.select([wm > 0.5, gm > 0.5, csf > 0.5], [3, 2, 1], 0)
    affine = np.diag([mm, mm, mm, 1])
    affine[:3, 3] = -n / 2 * mm
    paths = {}
    for name, data in (("gm", gm), ("wm", wm), ("csf", csf), ("dseg", dseg), ("icv", away < 46)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        save(paths[name], Volume(np.asarray(data, np.float32), affine))
    warped = np.where(x < 0, LEFT, RIGHT)
    warped[(away >= 38) & (x < 0)], warped[(away >= 38) & (x >= 0)] = 27, 68
    warped[ventricle & (x < 0)], warped[ventricle & (x >= 0)] = 86, 87
    tissues = load_tissues(**paths)
    return tissues, warped[tissues.box]


@pytest.mark.parametrize("lesion", [False, True])
def test_a_hemisphere_is_cut_filled_and_has_no_hole(tmp_path, lesion):
    tissues, warped = block(tmp_path, lesion)
    found = filling.structures(warped, tissues, load_atlas("desikan-killiany"))
    left, right = (filling.hemisphere_map(tissues, found, side) for side in "LR")
    for volume, sign in ((left, -1), (right, 1)):
        at = np.argwhere(volume.data > 2.5) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert (sign * at[:, 0] > -2).all()
        assert volume.data.min() == 1 and volume.data.max() == 3
        white = volume.data > 2.5
        assert white.sum() * 8 == pytest.approx(2 / 3 * np.pi * 38**3, rel=0.04)  # ventricle and lesion are filled
        fine = filling.finer(volume, 1.0)
        assert fine.spacing == pytest.approx([1, 1, 1], rel=0.01)
        assert (fine.data > 2.5).sum() == pytest.approx(white.sum() * 8, rel=0.03)
    both = (left.data > 1.5).sum() + (right.data > 1.5).sum()
    assert both == pytest.approx(
        (tissues.gm + tissues.wm > 0.5).sum() + (warped >= 86)[tissues.dseg == 1].sum() * 0 + 2 * 5 * 12 * 6, rel=0.02
    )


def test_cerebellum_and_far_islands_are_left_out(tmp_path):
    tissues, warped = block(tmp_path)
    warped = warped.copy()
    low = np.argwhere(np.ones_like(warped)).reshape(*warped.shape, 3)[..., 2] < 14
    warped[low] = 84
    tissues.wm[2:4, 2:4, -4:-2] = 1
    tissues.dseg[2:4, 2:4, -4:-2] = 3
    found = filling.structures(warped, tissues, load_atlas("desikan-killiany"))
    volume = filling.hemisphere_map(tissues, found, "L")
    heights = np.argwhere(volume.data > 1.5)[:, 2]
    assert (
        found.cut.any() and heights.ptp() < (tissues.gm + tissues.wm > 0.5).any((0, 1)).sum() - 5
        if hasattr(heights, "ptp")
        else np.ptp(heights) < (tissues.gm + tissues.wm > 0.5).any((0, 1)).sum() - 5
    )


def test_a_hemisphere_that_is_not_there_is_a_sentence(tmp_path):
    tissues, warped = block(tmp_path)
    found = filling.structures(
        np.where(warped == LEFT, RIGHT, np.where(warped == 27, 68, warped)), tissues, load_atlas("desikan-killiany")
    )
    with pytest.raises(InputError, match="left hemisphere has") as caught:
        filling.hemisphere_map(tissues, found, "L")
    assert "cut" in caught.value.remedy


# -- quality and tables ----------------------------------------------------------------------------------------------


def test_contrast_is_that_of_the_scan(surfaces):
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in (92, 93, 94)), indexing="ij")
    away = np.sqrt(sum(a**2.0 for a in axes))
    affine = np.eye(4)
    affine[:3, 3] = [-46, -46, -47]
    scan = Volume(np.where(away < 40, 110.0, 90.0), affine)
    said = {"defects": 3, "intersections": {"white": 1, "pial": 4, "central": 0}}
    found = quality.quality(surfaces, said, scan, np.ones(VERTICES, bool))
    assert found["contrast"] == pytest.approx(20, abs=3)
    assert found["euler"] == 2 and found["defects"] == 3 and found["intersections"] == 5
    assert found["area_cm2"] == pytest.approx(4 * np.pi * 16, rel=0.01)


def test_broken_limits_are_a_sentence():
    good = {"euler": 2, "defects": 5, "contrast": float("nan")}
    limits = {"euler": (2, 2), "defects": (None, 10)}
    assert quality.broken({"L": good, "R": good}, limits) == ""
    text = quality.broken({"L": good | {"euler": 0}, "R": good | {"defects": 11}}, limits)
    assert text == "left surface: euler 0 is below 2; right surface: defects 11 is above 10"
    assert "contrast could not be measured" in quality.broken({"L": good}, {"contrast": (5, None)})


@pytest.fixture
def measured(tmp_path, surfaces):
    """The whole table of a scan whose surfaces are two balls."""
    tissues, warped = block(tmp_path)
    from anatcl.measures import labels as labelling

    atlas = load_atlas("desikan-killiany")
    labels = labelling.fit(warped, tissues.dseg, tissues.spacing, atlas)
    stem = tmp_path / "sub-1"
    for side, shift in (("L", -20), ("R", 20)):
        template = annotation.fsaverage5(side)
        moved = [ball(r, template) + np.array([shift, 0, 0]) for r in (41, 40, 42)]
        sphere = ball(100, template)
        one = engine.Surfaces(template["faces"], *moved, sphere, sphere, np.full(VERTICES, 2.0))
        gifti.write_surfaces(stem, side, one, np.zeros(VERTICES))
    (tmp_path / "q.json").write_text('{"hemispheres": {"L": {"euler": 2}, "R": {"euler": 0}}}')
    given = {"stem": stem, "atlas": "desikan-killiany", "quality": tmp_path / "q.json", "limits": {"euler": (2, 2)}}
    return lambda accept=(): rows.measure("sub-1", tissues, labels, atlas, given | {"accept": accept})


def test_the_table_has_all_channels_of_openbhb(measured, tmp_path):
    from anatcl.base.files import write_tsv
    from anatcl.measures.scan import FURTHER, TABLE

    table, painted, thickness, names = measured()
    assert "lh_bankssts" in set(table["region"]) and "rh_lateralventricle" in set(table["region"])
    assert set(table["excluded"]) == {"right surface: euler 0 is below 2"}
    assert set(measured(["sub-1"])[0]["excluded"]) == {""}
    assert set(np.unique(painted)) - {0} <= set(names) and set(np.unique(thickness)) <= {0, 2}
    said = {"scan": "sub-1", "thickness_method": "surface", "thickness_trust": "coarse", "source": "anatcl"}
    whole = table.assign(**said, excluded="", flags=table["flags"].fillna(""))[TABLE + FURTHER]
    write_tsv(tmp_path / "one.tsv", whole)
    wide = tables.join(
        [tables.chunk([tmp_path / "one.tsv"])], pd.DataFrame({"scan": ["sub-1"], "participant_id": ["sub-1"]})
    )
    channels = exports.openbhb(wide)
    assert channels.shape == (1, 3 + 476) and channels.iloc[0, 3:].notna().all()
    assert {"foldind_lh_insula", "meancurv_rh_insula"} <= set(wide)
    assert wide["area_lh_insula"][0] > 100


def test_scans_with_broken_surfaces_are_left_out_with_the_reason():
    table = pd.DataFrame({"scan": ["a", "b"], "participant_id": ["a", "b"], "excluded": ["left surface: x", None]})
    kept, left_out = tables.gate(table, None, "")
    assert list(kept["scan"]) == ["b"] and "excluded" not in kept
    assert left_out.loc[0, "reason"] == "left surface: x" and "accept: [a]" in left_out.loc[0, "remedy"]


# -- the program -----------------------------------------------------------------------------------------------------


def stand_in(tmp_path, monkeypatch, text):
    program = tmp_path / "stand_in.py"
    program.write_text(text)
    monkeypatch.setattr(engine, "PROGRAM", program)


GOOD = """
import json, sys, numpy as np
job = json.load(open(sys.argv[1]))
t = np.load(job["template"])
ball = lambda r: t["sphere"] / 100 * r
np.savez(job["out"], faces=t["faces"], central=ball(41), white=ball(40), pial=ball(42), sphere=t["sphere"],
         registered=t["sphere"], thickness=np.full(len(t["sphere"]), 2.0))
said = {"defects": 1, "intersections": {}, "seconds": {}, "version": "0", "options": job["options"]}
json.dump(said, open(job["numbers"], "w"))
"""


def test_the_program_talks_through_files(tmp_path, monkeypatch, template):
    stand_in(tmp_path, monkeypatch, GOOD)
    found, said = engine.make(Volume(np.ones((4, 5, 6), np.float32), np.eye(4)), template, tmp_path, "L")
    assert found.white.shape == (VERTICES, 3) and said["options"] == engine.OPTIONS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; print('no white', file=sys.stderr); sys.exit(3)", "exit 3: no white"),
        ("import os; os.abort()", "exit -6"),
        (GOOD.replace("2.0)", "np.nan)"), "thickness of the hemisphere L is empty or not finite"),
    ],
)
def test_a_program_that_fails_is_a_sentence(tmp_path, monkeypatch, template, text, words):
    stand_in(tmp_path, monkeypatch, text)
    with pytest.raises(InputError, match=words):
        engine.make(Volume(np.ones((4, 5, 6), np.float32), np.eye(4)), template, tmp_path, "L")


def test_a_program_that_was_killed_says_nothing_against_the_scan(tmp_path, monkeypatch, template):
    stand_in(tmp_path, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    with pytest.raises(Killed, match="cat-surf was ended from outside by SIGTERM"):
        engine.make(Volume(np.ones((4, 5, 6), np.float32), np.eye(4)), template, tmp_path, "L")


def test_a_missing_package_is_one_sentence_with_both_remedies(monkeypatch):
    from anatcl.spec import engines
    from anatcl.spec.check import check_files_and_names
    from anatcl.spec.config import parse

    monkeypatch.setattr(engines, "package_folder", lambda name: None)
    asked = parse({"measures": {"engine": "surface"}})
    (place, error), *others = [one for one in check_files_and_names(asked) if one[0][0] == "measures"]
    assert place == ("measures", "engine") and not others
    assert "'anatcl-workflow[surfaces]'" in error.remedy and "engine: volume" in error.remedy
    assert not [one for one in check_files_and_names(asked, environments=True) if one[0][0] == "measures"]
    engines_of = {
        "volume": parse({"measures": {"engine": "volume"}}),
        "arrays": parse({"pretrain": {"arrays": "packed"}}),
    }
    for name, config in engines_of.items():  # arrays: no scan is measured
        assert not [one for one in check_files_and_names(config) if one[0][0] == "measures"], name
    (error,) = [error for place, error in check_files_and_names(parse({})) if place == ("measures", "engine")]
    assert "the recipe fast (or the atlas) measures on surfaces" in error.reason


def test_the_recipes_for_cohorts_measure_on_surfaces():
    from anatcl.spec.config import parse
    from anatcl.spec.measures_engine import measures_engine

    found = {name: measures_engine(parse({"preprocess": {"recipe": name}})) for name in ("testing", "fast", "precise")}
    assert found == {"testing": "volume", "fast": "surface", "precise": "surface"}


def test_surfaces_take_no_method_of_thickness():
    from anatcl.spec.check import check_files_and_names
    from anatcl.spec.config import parse

    asked = parse({"measures": {"engine": "surface", "thickness": "distance"}})
    errors = [error for place, error in check_files_and_names(asked) if place[0] == "measures"]
    assert any("methods of thickness are for the engine volume" in error.reason for error in errors)
    assert all("engine: volume" in error.remedy for error in errors)


def test_auto_is_what_recipe_and_atlas_say(tmp_path, monkeypatch):
    from anatcl.spec import engines
    from anatcl.spec.check import check_files_and_names
    from anatcl.spec.config import parse
    from anatcl.spec.measures_engine import measures_engine
    from anatcl.spec.recipe import load_recipe

    def engine(measures=None, **recipe):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(load_recipe("testing") | recipe))
        config = parse({"preprocess": {"recipe": str(path)}, "measures": measures or {}})
        return config, measures_engine(config)

    assert engine()[1] == "volume"
    assert engine(measures_engine="surface")[1] == "surface"
    assert engine({"engine": "volume"}, measures_engine="surface")[1] == "volume"
    for asks in ({"thickness": "kelly_kapowski"}, {"thickness_options": {"iterations": 9}}, {"freesurfer": "fs"}):
        assert engine(asks, measures_engine="surface")[1] == "volume", asks
    only_image = tmp_path / "image.yaml"
    shipped = yaml.safe_load((Path(engines.__file__).parent / "atlases" / "desikan-killiany.yaml").read_text())
    only_image.write_text(yaml.safe_dump({k: v for k, v in shipped.items() if k != "annotation"}))
    assert engine({"atlas": str(only_image)}, measures_engine="surface")[1] == "volume"
    monkeypatch.setattr(engines, "package_folder", lambda name: None)
    asked, _ = engine(measures_engine="surface")
    (error,) = [error for place, error in check_files_and_names(asked) if place == ("measures", "engine")]
    assert "recipe.json" in error.reason and "engine: volume" in error.remedy


def test_engine_and_atlas_must_fit(tmp_path):
    from anatcl.spec.check import check_files_and_names
    from anatcl.spec.config import parse

    def wrong(**measures):
        return [str(e) for place, e in check_files_and_names(parse({"measures": measures})) if place[0] == "measures"]

    path = own_annotation(tmp_path)
    assert any("has no image, only labels" in text for text in wrong(atlas=str(path), engine="volume"))
    assert wrong(atlas=str(path), engine="surface") == wrong(engine="surface")
    (tmp_path / "bad.yaml").write_text("name: bad\nspace: MNI152\n")
    assert any("it needs image, regions" in text for text in wrong(atlas=str(tmp_path / "bad.yaml")))


def test_compressed_gifti_is_read(tmp_path, surfaces):
    gifti.write_map(tmp_path / "a.shape.gii", surfaces.thickness, "L", "thickness")
    with open(tmp_path / "a.shape.gii", "rb") as plain, gzip.open(tmp_path / "a.shape.gii.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert gifti.arrays(tmp_path / "a.shape.gii.gz")[0] == pytest.approx(2)


def test_a_scan_goes_from_files_to_files(tmp_path, monkeypatch):
    """All files of `surfaces` and of `measure` on top of them, with a stand-in in the place of cat-surf."""
    from anatcl.base.files import read_json, read_tsv
    from anatcl.measures import labels as labelling
    from anatcl.measures.scan import run as measure_scan
    from anatcl.measures.surfaces import scan as surfaces_scan

    tissues, warped = block(tmp_path)
    stand_in(tmp_path, monkeypatch, GOOD.replace('"intersections": {}', '"intersections": {"white": 0, "pial": 0}'))
    monkeypatch.setattr(engine, "version", lambda: "stand-in 0")
    monkeypatch.setattr(labelling, "warp", lambda *_: tissues.uncut(warped))
    maps = {name: tmp_path / f"{name}.nii.gz" for name in ("gm", "wm", "csf", "dseg", "icv")}
    save(tmp_path / "t1.nii.gz", tissues.uncut(np.where(tissues.wm > 0.5, 110.0, 80.0) * (tissues.dseg > 0)))
    (tmp_path / "xfm.h5").touch()
    told = {"template": "MNI152NLin2009aSym"}
    surfaces_scan.run(
        maps, tmp_path / "t1.nii.gz", tmp_path / "xfm.h5", **told, voxel_mm=2.0, stem=tmp_path / "s",
        out_quality=tmp_path / "q.json", out_picture=tmp_path / "q.png",
    )  # fmt: skip
    said = read_json(tmp_path / "q.json")
    assert set(said["hemispheres"]) == {"L", "R"} and said["hemispheres"]["R"]["euler"] == 2
    assert (tmp_path / "q.png").stat().st_size > 5000
    assert len(list(tmp_path.glob("s_hemi-?_*.gii"))) == 14
    outputs = {n: tmp_path / f"out_{n}.nii.gz" for n in ("labels", "thickness")} | {"measures": tmp_path / "out.tsv"}
    given = {"stem": tmp_path / "s", "quality": tmp_path / "q.json", "limits": {"euler": (1, 3)}, "accept": []}
    measure_scan(
        "s", maps, tmp_path / "xfm.h5", image=tmp_path / "t1.nii.gz", atlas_name=str(own_annotation(tmp_path)), **told,
        method="direct",
        outputs=outputs, surfaces=given,
    )  # fmt: skip
    table = read_tsv(tmp_path / "out.tsv").set_index("region")
    assert set(table["thickness_method"]) == {"surface"}
    assert table.loc["lh_G_and_S-upper", "thickness_mm"] == pytest.approx(2, rel=1e-3)
    assert table.loc["lh_lateralventricle", "volume_mm3"] > 0 and "lh_bankssts" not in table.index
    assert (tmp_path / "s_hemi-L_atlas-halves_dseg.label.gii").is_file()
    assert read_json(tmp_path / "out_labels.json")["Labels"]["2002"] == "rh_S_lower"
