"""The picture of the surfaces of a scan: white and pial on slices, thickness on the inflated fsaverage5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.files import atomic_path
from anatcl.images import Volume
from anatcl.measures.surfaces.carry import carry_values
from anatcl.measures.surfaces.engine import Surfaces
from anatcl.measures.surfaces.quality import sample
from anatcl.measures.surfaces.shape import normals

COLOURS = {"white": "#fac05e", "pial": "#e4572e"}
# Axis across the slice, the two axes in the picture, and its share of the extent of the brain.
SLICES = [(2, 0, 1, 0.3), (2, 0, 1, 0.5), (2, 0, 1, 0.68), (1, 0, 2, 0.25), (1, 0, 2, 0.45), (1, 0, 2, 0.7),
          (0, 1, 2, 0.25), (0, 1, 2, 0.75)]  # fmt: skip
SPAN_MM = (1.0, 4.5)  # thickness at the ends of the colours


def picture(scan: Volume, surfaces: dict[str, Surfaces], templates: dict[str, dict[str, NDArray]], out: Path) -> None:
    """Draw eight slices with both surfaces, and four views of the thickness.

    Parameters
    ----------
    scan : Volume
        The T1w image, in RAS+ order (:func:`anatcl.preprocess.qc.canonical`).
    surfaces : dict
        ``L`` and ``R``.
    templates : dict
        fsaverage5 of each hemisphere (:func:`anatcl.measures.surfaces.annotation.fsaverage5`).
    out : path
        PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from anatcl.preprocess.pictures import brightest, save_small

    figure, axes = plt.subplots(3, 4, figsize=(11, 8), facecolor="black", dpi=90)
    top = brightest(np.concatenate([sample(scan, one.white) for one in surfaces.values()]))
    for axis, cut in zip(axes.ravel()[:8], SLICES, strict=True):
        _slice(axis, scan, surfaces, cut, top)
    shown: Any = None
    for axis, (side, view) in zip(axes[2], (("L", -1), ("L", 1), ("R", 1), ("R", -1)), strict=True):
        shown = _inflated(axis, surfaces[side], templates[side], view)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.935, 0.04, 0.012, 0.26)))
    bar.set_label("thickness (mm)", color="white", fontsize=8)
    bar.ax.tick_params(colors="white", labelsize=7)
    figure.subplots_adjust(0.01, 0.01, 0.92, 0.99, 0.02, 0.02)
    with atomic_path(out) as temporary:
        save_small(figure, temporary)
    plt.close(figure)


def _slice(
    axis: Any, scan: Volume, surfaces: dict[str, Surfaces], cut: tuple[int, int, int, float], top: float
) -> None:
    from matplotlib.collections import LineCollection

    across, right, up, share = cut
    points = np.concatenate([s.pial for s in surfaces.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    level = low[across] + share * (high[across] - low[across])
    index = int(np.clip(round((level - scan.affine[across, 3]) / scan.spacing[across]), 0, scan.data.shape[across] - 1))
    level = scan.affine[across, 3] + index * scan.spacing[across]
    image = np.take(scan.data, index, axis=across).T
    ends = [scan.affine[a, 3] + (np.array([0, scan.data.shape[a]]) - 0.5) * scan.spacing[a] for a in (right, up)]
    axis.imshow(image, cmap="gray", origin="lower", vmin=0, vmax=top, extent=[*ends[0], *ends[1]])
    for name, colour in COLOURS.items():
        for one in surfaces.values():
            lines = section(getattr(one, name), one.faces, across, level)[:, :, [right, up]]
            axis.add_collection(LineCollection(list(lines), colors=colour, linewidths=0.6))
    axis.set_xlim(low[right] - 8, high[right] + 8)
    axis.set_ylim(low[up] - 8, high[up] + 8)
    axis.set_aspect("equal")
    axis.set_axis_off()


def section(vertices: NDArray, faces: NDArray, axis: int, level: float) -> NDArray:
    """Where a plane across `axis` cuts the triangles: pieces of line, shape (N, 2, 3)."""
    height = vertices[:, axis] - level
    above = height[faces] > 0
    cut = faces[(above.sum(axis=1) == 1) | (above.sum(axis=1) == 2)]
    above = height[cut] > 0
    # The corner that lies alone on its side comes first.
    alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    order = (alone[:, None] + np.arange(3)) % 3
    corner = np.take_along_axis(cut, order, axis=1)
    ends = []
    for other in (1, 2):
        a, b = corner[:, 0], corner[:, other]
        share = (height[a] / (height[a] - height[b]))[:, None]
        ends.append(vertices[a] + share * (vertices[b] - vertices[a]))
    return np.stack(ends, axis=1)


def _inflated(axis: Any, surfaces: Surfaces, template: dict[str, NDArray], view: int) -> Any:
    """Thickness on the inflated template, seen from the right (1) or the left (-1)."""
    from matplotlib.collections import PolyCollection

    values = carry_values(surfaces.thickness, surfaces.registered, surfaces.faces, template["sphere"])
    vertices, faces = template["inflated"], template["faces"]
    depth = vertices[faces][:, :, 0].mean(axis=1) * view
    facing = normals(vertices, faces)[faces].mean(axis=1)[:, 0] * view > 0
    order = np.flatnonzero(facing)[np.argsort(depth[facing], kind="stable")]
    flat = vertices[:, [1, 2]] * [view, 1]
    drawn = PolyCollection(
        flat[faces[order]], array=values[faces[order]].mean(axis=1), cmap="viridis", antialiased=False
    )
    drawn.set_clim(*SPAN_MM)
    drawn.set_edgecolor("face")
    axis.add_collection(drawn)
    axis.autoscale_view()
    axis.set_aspect("equal")
    axis.set_axis_off()
    return drawn
