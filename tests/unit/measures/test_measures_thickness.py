import dataclasses

import numpy as np
import pytest
from measures_phantoms import ribbon, shell

from anatcl.measures.distance import thickness_at_vertices, thickness_map
from anatcl.measures.surface import ROUNDS, area_surface, rounds_for_area, white_surface


@pytest.mark.parametrize("voxel", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("hard", [False, True])
def test_area_of_a_sphere(voxel, hard):
    """Also of one whose probabilities jump from 0 to 1, so that voxel stairs are all there is."""
    _, white, spacing = shell(20, 3, voxel)
    area = area_surface((white > 0.5).astype(np.float32) if hard else white, spacing).vertex_area().sum()
    assert area == pytest.approx(4 * np.pi * 20**2, rel=0.02)


@pytest.mark.parametrize("hard", [False, True])
def test_area_of_a_folded_sheet(hard):
    _, white, spacing, _ = ribbon(2.5)
    mesh = area_surface((white > 0.5).astype(np.float32) if hard else white, spacing)
    x, y, z = mesh.vertices.T
    block = (np.abs(x - 22.5) < 13) & (y >= 5.5) & (y < 11.5) & (z > 3)
    slope = 6 * 2 * np.pi / 13 * np.sin(np.linspace(0, 2 * np.pi, 10001))
    true = 26 * 6 * np.sqrt(1 + slope**2).mean()
    assert mesh.vertex_area()[block].sum() == pytest.approx(true, rel=0.02)


@pytest.mark.parametrize("voxel", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("hard", [False, True])
def test_curvature_of_a_sphere(voxel, hard):
    _, white, spacing = shell(20, 3, voxel)
    mesh = area_surface((white > 0.5).astype(np.float32) if hard else white, spacing)
    assert mesh.vertex_curvature().sum() == pytest.approx(4 * np.pi * 20, rel=0.03)


def test_curvature_has_the_other_sign_inside_and_none_on_a_plane():
    """A hollow of 12 mm in white matter, and a plane, whose triangles are listed either way around."""
    _, white, spacing = shell(12, 3, 1.0)
    hollow = white_surface(1 - white, spacing)
    inner = np.linalg.norm(hollow.vertices - hollow.vertices.mean(axis=0), axis=1) < 15
    assert hollow.vertex_curvature()[inner].sum() == pytest.approx(-4 * np.pi * 12, rel=0.02)
    plane = white_surface(
        np.broadcast_to(np.clip(5.3 - np.arange(12.0), 0, 1)[:, None, None], (12, 9, 9)), np.ones(3), rounds=0
    )
    middle = (np.abs(plane.vertices[:, 1:] - 4) < 3).all(axis=1) & (plane.vertices[:, 0] > 2)
    assert middle.any() and np.abs(plane.vertex_curvature()[middle]).max() < 1e-6
    turned = dataclasses.replace(plane, faces=plane.faces[:, ::-1])
    np.testing.assert_allclose(turned.vertex_curvature(), plane.vertex_curvature(), atol=1e-9)


@pytest.mark.parametrize("voxel", [1.0, 2.0])
def test_only_maps_that_jump_are_smoothed(voxel):
    _, white, _ = shell(20, 3, voxel)
    steep = 1 / (1 + np.exp(-40 * (white - 0.5)))  # a posterior of a voxel's fraction
    assert rounds_for_area(white) == 0
    assert rounds_for_area((white > 0.5).astype(np.float32)) == rounds_for_area(steep) == ROUNDS


def test_area_does_not_depend_on_the_voxels_shape():
    from measures_phantoms import ball

    spacing = np.array([1.0, 1.5, 2.5])
    white = ball(15, (40, 27, 17), spacing)
    assert area_surface(white, spacing).vertex_area().sum() == pytest.approx(4 * np.pi * 15**2, rel=0.02)


@pytest.mark.parametrize("voxel", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("true", [2.0, 3.0, 4.0])
def test_distance_thickness_of_shells(voxel, true):
    grey, white, spacing = shell(20, true, voxel)
    mesh = white_surface(white, spacing)
    found = thickness_at_vertices(grey, white, spacing, mesh)
    assert np.average(found, weights=mesh.vertex_area()) == pytest.approx(true, rel=0.05)


def test_two_banks_of_a_closed_sulcus_share_the_grey_matter():
    """White, 6 mm of grey without any CSF, white: each bank has 3 mm."""
    x = np.arange(24.0)
    profile = np.clip(x - 8.5, 0, 1) - np.clip(x - 14.5, 0, 1)
    grey = np.broadcast_to(profile[:, None, None], (24, 12, 13)).astype(np.float32)
    white = 1 - grey
    mesh = white_surface(white, np.ones(3))
    middle = (np.abs(mesh.vertices[:, 1:] - 6) < 3).all(axis=1) & (np.abs(mesh.vertices[:, 0] - 11.5) < 4)
    found = thickness_at_vertices(grey, white, np.ones(3), mesh)[middle]
    assert found.mean() == pytest.approx(3, rel=0.06)


def test_map_covers_where_it_should_and_nothing_else():
    grey, white, spacing = shell(10, 3, 2.0)
    mesh = white_surface(white, spacing)
    where = grey > 0.5
    found = thickness_map(grey, white, spacing, mesh, where, np.ones(len(mesh.vertices), bool))
    assert (found[where] > 0).all() and not found[~where].any()


def test_no_surface_gives_no_thickness():
    mesh = white_surface(np.zeros((7, 8, 9)), np.ones(3))
    assert len(mesh.vertices) == 0
    found = thickness_map(
        np.ones((7, 8, 9)), np.zeros((7, 8, 9)), np.ones(3), mesh, np.ones((7, 8, 9), bool), np.ones(0, bool)
    )
    assert not found.any()
