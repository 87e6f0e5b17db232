"""Surfaces made by cat-surf itself: known shapes, equal bytes, and shapes that break surfaces."""

import numpy as np
import pytest
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume
from anatcl.measures.surfaces import annotation, engine, filling, program, shape
from anatcl.measures.surfaces.table import distances, vertex_table

cat_surf = pytest.importorskip("cat_surf", reason="the optional engine surface is not installed")
pytestmark = pytest.mark.slow

# Registration costs the same however small the head is.
QUICK = {"registration": {"n_points": 1280, "n_steps": 1, "iters": 3, "rotate": False}}


def folded(amplitude_mm, thickness_mm, radius_mm=17.0, voxel_mm=1.0, fine=3):
    """A ball whose surface is folded by `amplitude_mm`, in a cortex of even thickness, with exact partial volume."""
    n = int(2 * (radius_mm + amplitude_mm + thickness_mm) / voxel_mm) + 9
    axes = [(np.arange((n + k) * fine) + 0.5) / fine - (n + k) / 2 for k in range(3)]
    x, y, z = (a * voxel_mm for a in np.meshgrid(*axes, indexing="ij"))
    away = np.sqrt(x**2 + y**2 + z**2) + 1e-9
    waves = np.cos(6 * np.arctan2(y, x)) * (1 - (z / away) ** 2) ** 2
    white = away < radius_mm + amplitude_mm * waves
    grey = ~white & (ndimage.distance_transform_edt(~white) * voxel_mm / fine <= thickness_mm)
    parts = [m.reshape(n, fine, n + 1, fine, n + 2, fine).mean((1, 3, 5)) for m in (grey, white)]
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    return Volume((1 + parts[0] + 2 * parts[1]).astype(np.float32), affine), white, voxel_mm / fine


def true_area(white, mm):
    from skimage.measure import marching_cubes

    soft = ndimage.gaussian_filter(np.pad(white, 3).astype(np.float32), 1.5)
    vertices, faces, *_ = marching_cubes(soft, 0.5, spacing=(mm, mm, mm))
    return shape.face_areas(vertices, faces).sum()


def made(volume, folder, voxel_mm=0.7, options=QUICK):
    return engine.make(filling.finer(volume, voxel_mm), annotation.fsaverage5("L"), folder, "L", options)


@pytest.mark.parametrize(("amplitude", "thickness"), [(0.0, 2.0), (0.0, 3.5), (2.5, 2.5)])
def test_known_shapes_are_measured_within_five_percent(tmp_path, amplitude, thickness):
    volume, white, mm = folded(amplitude, thickness)
    surfaces, numbers = made(volume, tmp_path)
    table = vertex_table(surfaces)
    mean = (distances(surfaces) * table["area"]).sum() / table["area"].sum()
    grey = np.clip(np.minimum(volume.data, 2) - 1, 0, 1) - np.clip(volume.data - 2, 0, 1)
    assert shape.euler(surfaces.faces) == 2 and shape.components(surfaces.faces) == 1
    assert numbers["defects"] == 0 and numbers["intersections"]["white"] == 0
    assert mean == pytest.approx(thickness, rel=0.02)
    assert table["area"].sum() == pytest.approx(true_area(white, mm), rel=0.01)
    assert table["volume"].sum() == pytest.approx(grey.sum(), rel=0.01)
    middle = (surfaces.white.min(axis=0) + surfaces.white.max(axis=0)) / 2
    assert middle == pytest.approx((np.array(volume.data.shape) - 1) / 2, abs=0.3)  # the affine is right


def test_a_handle_is_corrected_and_counted_and_bytes_are_equal(tmp_path):
    volume, *_ = folded(0.0, 3.0)
    data = volume.data.copy()
    c = [n // 2 for n in data.shape]
    data[c[0] + 15 : c[0] + 25, c[1] - 2 : c[1] + 3, c[2] - 8 : c[2] - 4] = 3
    data[c[0] + 15 : c[0] + 25, c[1] - 2 : c[1] + 3, c[2] + 4 : c[2] + 8] = 3
    data[c[0] + 20 : c[0] + 25, c[1] - 2 : c[1] + 3, c[2] - 8 : c[2] + 8] = 3
    first, numbers = made(Volume(data, volume.affine), tmp_path)
    again, _ = made(Volume(data, volume.affine), tmp_path)
    assert shape.euler(first.faces) == 2
    assert numbers["defects"] >= 1
    for name in (*engine.ARRAYS, "faces", "thickness"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes(), name


@pytest.mark.parametrize("fault", ["hole", "cut", "coarse", "empty"])
def test_heads_that_break_surfaces_end_in_measures_or_a_reason(tmp_path, fault):
    volume, *_ = folded(2.0, 2.5, voxel_mm=1.0)
    data, mm = volume.data.copy(), np.ones(3)
    if fault == "hole":  # a lesion that reaches the ventricle
        data[20:26, 20:30, 20:26] = 1
    if fault == "cut":
        data = data[:, : data.shape[1] // 2]
    if fault == "coarse":
        data, mm = ndimage.zoom(data, (1, 1, 1 / 3), order=1), np.array([1, 1, 3.0])
    if fault == "empty":
        data[:] = 1
    try:
        surfaces, _ = made(Volume(data.astype(np.float32), np.diag([*mm, 1])), tmp_path, 1.0)
    except InputError as error:
        assert "hemisphere" in error.reason and error.remedy
    else:
        assert np.isfinite(vertex_table(surfaces).to_numpy()).all()
        assert fault not in ("empty",)


def test_crossings_are_mended_and_the_rest_of_the_surface_stays():
    template = annotation.fsaverage5("L")
    faces, ball = template["faces"], template["sphere"].astype(float)
    patch = ball[:, 0] > 90
    crossed = ball + np.random.default_rng(0).normal(0, 2, ball.shape) * patch[:, None]
    mended = program.uncrossed(crossed, faces, ball, engine.OPTIONS)
    moved = np.linalg.norm(mended - crossed, axis=1) > 1e-4
    assert cat_surf.count_intersections(crossed, faces) > 50
    assert cat_surf.count_intersections(mended, faces) == 0
    assert moved[patch].any() and not moved[ball[:, 0] < 80].any()


def test_crossings_end_as_in_the_steps_of_cat_surf():
    """Byte by byte where few passes are enough, so that the bound on passes changes nothing in ordinary heads."""
    volume = filling.finer(folded(4.0, 2.5)[0], 1.0)
    grid = (volume.data, volume.affine)
    options = engine.OPTIONS["white"] | {"isovalue": 2.5}
    start, faces = cat_surf.vol_marching_cubes(grid, threshold=2.5)
    start += np.random.default_rng(0).normal(0, 1.0, start.shape) * (start[:, :1] > 35)
    raw, _ = cat_surf.surf_deform(start, faces, grid, **options)
    theirs, _ = cat_surf.surf_deform(start, faces, grid, remove_intersect=True, **options)
    assert cat_surf.count_intersections(raw, faces) > 10
    assert cat_surf.count_intersections(theirs, faces) == 0
    assert program.uncrossed(raw, faces, start, engine.OPTIONS).tobytes() == theirs.tobytes()
