"""Surfaces of one hemisphere by cat-surf, in a process of its own: ``python program.py job.json``.

This file is the only one that imports cat-surf, which is under the GNU General Public License, version 2 or later
(C. Gaser, University of Jena; https://github.com/ChristianGaser/CAT-Surface). It is run by its path, talks to the rest
through the files that the job names, and imports nothing from this package.

The job (JSON) holds ``labels`` (NIfTI: 1 CSF, 2 grey, 3 white and filled, fractions between), ``template`` (an ``.npz``
with ``surface``, ``sphere``, ``faces`` of fsaverage5), ``out`` (the ``.npz`` to write) and
``options``. The ``.npz`` holds ``faces``; ``central``, ``white``, ``pial``, ``sphere`` and ``registered`` (V, 3), all
with the same vertices; ``thickness`` (V,). Metrics are written beside it as JSON (``numbers``).
"""

import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def positions(labels, size, options):
    """Thickness (mm) and position between white (1) and pial surface (0) of each voxel: projection-based thickness."""
    import cat_surf

    depth, place, _, _ = cat_surf.vol_thickness_pbt(
        labels.astype(np.float32), voxelsize=size, correct_thickness=options["correct_mm"], **options["thickness"]
    )
    return np.asarray(depth, np.float32), np.asarray(place, np.float32)


def central_surface(place, labels, affine, options):
    """The surface half-way, a sphere by its topology, with as many faces as asked for; and the defects corrected."""
    import cat_surf

    grid = (place, affine)
    vertices, faces = cat_surf.vol_marching_cubes(
        grid, label=(labels.astype(np.float32), affine), threshold=0.5, **options["topology"]
    )
    wanted = int(cat_surf.get_area(vertices, faces)[1] * options["faces_per_mm2"])
    if wanted < len(faces):
        vertices, faces = cat_surf.reduce_mesh(
            vertices, faces, target_faces=wanted, aggressiveness=7.0, preserve_sharp=True
        )
    moved, faces = cat_surf.surf_deform(vertices, faces, grid, isovalue=0.5, **options["deform"])
    return uncrossed(moved, faces, vertices, options), faces, handles(grid)


def uncrossed(vertices, faces, reference, options):
    """The surface without the crossings that a few passes mend; `reference` is the surface that it was made from.

    The ``remove_intersect`` of cat-surf's steps gives the same bytes where few passes are enough. Where they are not
    (thick slices), it takes several times as long. Crossings that stay are counted as ``intersections``, which have a
    limit.
    """
    import cat_surf

    return cat_surf.fix_self_intersect(vertices, faces, reference=reference, **options["crossings"])[0]


def handles(grid):
    """Handles of the largest part of the surface as it would be without correction: its topological defects."""
    import cat_surf
    from scipy import sparse

    vertices, faces = cat_surf.vol_marching_cubes(grid, threshold=0.5, fast=True)
    size = len(vertices)
    pairs = np.sort(np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]]).astype(np.int64), axis=1)
    edges = np.unique(pairs[:, 0] * size + pairs[:, 1])
    near = sparse.coo_array((np.ones(len(edges)), (edges // size, edges % size)), shape=(size, size))
    _, part = sparse.csgraph.connected_components(near, directed=False)
    largest = np.bincount(part).argmax()
    count = [int((part[which] == largest).sum()) for which in (np.arange(size), edges // size, faces[:, 0])]
    return max(0, 1 - (count[0] - count[1] + count[2]) // 2)


def sampled(depth, affine, vertices, faces):
    """Thickness at the vertices: the mean along the normal, close to the surface."""
    import cat_surf

    values, _ = cat_surf.vol2surf(
        (depth, affine), vertices, faces, grid_start=-0.4, grid_end=0.4, grid_steps=5, map_func="waverage"
    )
    return np.asarray(values, np.float64)


def borders(vertices, faces, thickness, labels, affine, options):
    """White and pial surface, vertex by vertex."""
    import cat_surf

    grid = (labels.astype(np.float32), affine)
    pial, _, white, _ = cat_surf.surf_to_pial_white(vertices, faces, thickness, grid, **options["borders"])
    pial, smooth = (uncrossed(found, faces, vertices, options) for found in (pial, white))
    # The white surface that it leaves is smoother than the border of the tissues and too small by several percent.
    white, _ = cat_surf.surf_deform(smooth, faces, grid, isovalue=2.5, **options["white"])
    return uncrossed(white, faces, smooth, options), pial


def registered(vertices, faces, sphere, template, options):
    """The sphere moved so that its folds lie on those of the template."""
    import cat_surf

    moved = cat_surf.spherical_demon(
        (vertices, faces),
        (sphere, faces),
        (template["surface"], template["faces"]),
        (template["sphere"], template["faces"]),
        **options["registration"],
    )
    return np.asarray(moved[0] if isinstance(moved, tuple) else moved)


def run(job):
    """Everything, from the labels to the files; return the numbers."""
    import cat_surf
    import nibabel as nib

    options = job["options"]
    clock: dict[str, float] = {}
    image = nib.nifti1.load(job["labels"])
    labels, affine = np.asarray(image.dataobj, np.float32), image.affine
    timed = _timer(clock)
    depth, place = timed("thickness", positions, labels, np.linalg.norm(affine[:3, :3], axis=0), options)
    central, faces, defects = timed("central", central_surface, place, labels, affine, options)
    thickness = timed("sample", sampled, depth, affine, central, faces)
    white, pial = timed("borders", borders, central, faces, thickness, labels, affine, options)
    sphere, _ = timed("sphere", cat_surf.surf_to_sphere, central, faces, stop_at=options["sphere_steps"])
    found = {"faces": faces, "central": central, "white": white, "pial": pial, "thickness": thickness, "sphere": sphere}
    with np.load(job["template"]) as template:
        found["registered"] = timed("register", registered, central, faces, sphere, dict(template), options)
    kept: Any = {name: np.asarray(data) for name, data in found.items()}
    np.savez(job["out"], **kept)
    return {
        "defects": int(defects),
        "intersections": {n: int(cat_surf.count_intersections(found[n], faces)) for n in ("central", "white", "pial")},
        "seconds": clock,
        "version": metadata.version("cat-surf"),
    }


def _timer(clock):
    def timed(name, function, *args, **options):
        begin = time.process_time()
        result = function(*args, **options)
        clock[name] = round(time.process_time() - begin, 1)
        print(f"{name}: {clock[name]} s", flush=True)
        return result

    return timed


def main(path):
    """Run the job of a file."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    Path(job["numbers"]).write_text(json.dumps(run(job)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
