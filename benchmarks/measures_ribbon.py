"""Our thickness, volume and area on FreeSurfer's own cortex and labels: what the engine ``volume`` adds to any error.

Run from the root of the repository::

    python -m benchmarks.measures_ribbon --subject ../shared/data/aomic_sub-0001 [--out docs/results/measures]

``--subject`` holds ``mri/ribbon.mgz``, ``mri/aparc+aseg.mgz`` and ``stats/?h.aparc.stats``. The table has the three
measures, and the two estimates that a region's thickness is made of. The last line is one JSON object: r and mean
difference (percent) over the 68 regions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measures_common import agreement, last_line, write

# Regions by their number in FreeSurfer's colour table: 1001 is the left bankssts, 2001 the right one.
NUMBERED = (
    "bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "corpuscallosum", "cuneus", "entorhinal", "fusiform",
    "inferiorparietal", "inferiortemporal", "isthmuscingulate", "lateraloccipital", "lateralorbitofrontal", "lingual",
    "medialorbitofrontal", "middletemporal", "parahippocampal", "paracentral", "parsopercularis", "parsorbitalis",
    "parstriangularis", "pericalcarine", "postcentral", "posteriorcingulate", "precentral", "precuneus",
    "rostralanteriorcingulate", "rostralmiddlefrontal", "superiorfrontal", "superiorparietal", "superiortemporal",
    "supramarginal", "frontalpole", "temporalpole", "transversetemporal", "insula",
)  # fmt: skip
FIRST = {"lh": 1000, "rh": 2000}
GREY, WHITE = (3, 42), (2, 41)
LESIONS = (77, 78, 79, 80, 81, 82)  # white matter too, but under numbers of their own
ELSEWHERE = -1


def cortex_labels(ribbon: NDArray, parcels: NDArray, index: pd.Series) -> tuple[NDArray, NDArray]:
    """The atlas' labels in the ribbon, and for every voxel the nearest of them; zero next to deep structures."""
    from scipy import ndimage

    labels = np.zeros(parcels.shape, np.int32)
    for side, first in FIRST.items():
        for number, name in enumerate(NUMBERED, 1):
            if (key := f"{side}_{name}") in index.index:
                labels[(parcels == first + number) & np.isin(ribbon, GREY)] = index[key]
    deep = (parcels > 0) & (parcels < FIRST["lh"]) & ~np.isin(parcels, (*GREY, *WHITE, *LESIONS))
    known = np.where((labels == 0) & deep, ELSEWHERE, labels)
    at = ndimage.distance_transform_edt(known == 0, return_distances=False, return_indices=True)
    return labels, np.maximum(known[tuple(at)], 0)


def measured(ribbon: NDArray, parcels: NDArray, affine: NDArray) -> pd.DataFrame:
    """The regions' table on a ribbon, with a column for each of the two estimates of thickness."""
    from anatcl.images import Volume
    from anatcl.measures import regions
    from anatcl.measures.atlas import load_atlas
    from anatcl.measures.direct import direct
    from anatcl.measures.labels import Labels
    from anatcl.measures.surface import area_surface
    from anatcl.measures.tissues import Tissues
    from anatcl.preprocess.geometry import bounding_box

    box = bounding_box(ribbon > 0, margin=4)
    ribbon, parcels, grid = ribbon[box], parcels[box], Volume(ribbon, affine)
    atlas = load_atlas("desikan-killiany")
    labels, nearest = cortex_labels(ribbon, parcels, atlas.regions.set_index("key")["index"])
    grey, white = (np.isin(ribbon, kind).astype(np.float32) for kind in (GREY, WHITE))
    dseg = np.select([grey > 0, white > 0], [2, 3], 0).astype(np.int16)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    tissues = Tissues(
        gm=grey, wm=white, csf=np.zeros_like(grey), dseg=dseg, icv=ribbon > 0, spacing=spacing, grid=grid, box=box
    )
    depth = np.where(labels > 0, direct(grey, white, spacing), 0)
    fitted = Labels(nearest=nearest, fitted=labels)
    table = regions.region_table(tissues, fitted, atlas, depth, area_surface(white, spacing))
    table = table[table["structure"] == "cortex"].set_index("region")
    harmonic = regions.harmonic_mean(labels, depth, int(atlas.regions["index"].max()) + 1)[table["index"]]
    share = regions.share_of_layer(spacing)
    layer = (table["thickness_mm"] / harmonic ** (1 - share)) ** (1 / share)
    return table.assign(harmonic_mm=harmonic, layer_mm=layer)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """One row a measure: r and mean difference over the regions."""
    theirs = theirs[theirs["structure"] == "cortex"].set_index("region").loc[ours.index]
    pairs = {
        "thickness": ("thickness_mm", "thickness_mm"),
        "thickness, harmonic mean over voxels": ("harmonic_mm", "thickness_mm"),
        "thickness, from volume, area and curvature": ("layer_mm", "thickness_mm"),
        "thickness, mean over voxels": ("thicknessvoxels_mm", "thickness_mm"),
        "volume": ("volume_mm3", "volume_mm3"),
        "area": ("area_mm2", "area_mm2"),
    }
    rows = [agreement(name, ours[a], theirs[b], a.rsplit("_", 1)[1]) for name, (a, b) in pairs.items()]
    return pd.DataFrame(rows).drop(columns="note")


def main() -> None:
    import nibabel as nib

    from anatcl.measures.freesurfer import read

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", type=Path, required=True, help="folder of one subject, with mri and stats")
    parser.add_argument("--out", type=Path, help="folder for the table")
    args = parser.parse_args()
    images: list[Any] = [nib.load(args.subject / "mri" / f"{n}.mgz") for n in ("ribbon", "aparc+aseg")]
    ribbon, parcels = (np.asarray(image.dataobj).astype(np.int32) for image in images)
    table = compare(measured(ribbon, parcels, images[0].affine), read(args.subject, args.subject.name))
    name = f"{args.subject.name}_ribbon"
    if args.out:
        about = {"command": "python -m benchmarks.measures_ribbon", "subject": args.subject.name}
        write(
            args.out, name, table, about, "On FreeSurfer's own cortex and labels, engine `volume`, over the 68 regions."
        )
    print(
        last_line(
            {r["quantity"]: {k: r[k] for k in ("r", "percent_difference", "n")} for r in table.to_dict("records")}
        )
    )


if __name__ == "__main__":
    main()
