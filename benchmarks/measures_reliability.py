"""How well the measures repeat within people: summary and figure from the workflow's reliability table.

Run from the root of the repository, after ``--until measures`` on a dataset with repeats::

    python -m benchmarks.measures_reliability --results results --name ms_two_sessions [--out docs/results/measures]

With ``--longitudinal OTHER`` (results of the same scans by ``measures: longitudinal: true``) the summary has both ways
side by side. It writes ``<name>_reliability.tsv`` (the workflow's table as it is), ``<name>_reliability_summary``
(median and 90th percentile over regions) and ``<name>_reliability.png``. On a simulated dataset ``--truth
DATASET/sourcedata/truth`` adds ``<name>_errors``: how far each scan's volumes of the whole brain are from the truth.
The last line is one JSON object: median percent difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measures_common import last_line, write

READING = (
    "Percent difference is 100 |a - b| / mean(a, b) of a person's two scans, averaged over people. It holds the error "
    "of measurement and, where time has passed, true change: a difference between two scans of one person that is not "
    "clearly larger says nothing. From ten people on, ICC(3,1) says which part of the variance over people is not "
    "error; for FreeSurfer at 1 mm it is known to be .82 to .89 for thickness and .95 to .99 for volume and area."
)
ERRORS = "Percent by which a scan's volume differs from the true one of the simulation."
TRUE = {
    "tiv_mm3": "desc-icv_mask",
    "gm_mm3": "label-GM_probseg",
    "wm_mm3": "label-WM_probseg",
    "csf_mm3": "label-CSF_probseg",
}


def groups(table: pd.DataFrame) -> pd.Series:
    """Kind of each row: whole brain, deep structure, or measure of the cortex."""
    name = table["measure"].astype(str)
    cortical = set(name[name.str.startswith("thickness_")].str.removeprefix("thickness_"))
    kind = name.str.partition("_")[0]
    region = name.str.partition("_")[2]
    whole = name.str.endswith("_mm3")
    deep = (kind == "volume") & ~region.isin(cortical)
    return kind.where(~deep, "deep volume").where(~whole, "whole brain")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per kind, and one per whole-brain volume."""
    kind = groups(table)
    rows = []
    for name, part in table.groupby(np.where(kind == "whole brain", table["measure"], kind), sort=True):
        percent, icc = (part[c].astype(float).dropna() for c in ("percent_difference", "icc31"))
        rows.append({
            "measure": name, "regions": len(percent), "people": int(part["n_participants"].max()),
            "median_percent": percent.median(), "p90_percent": percent.quantile(0.9), "largest_percent": percent.max(),
            "median_icc31": icc.median() if len(icc) else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)


def errors(measures: pd.DataFrame, truth: Path) -> pd.DataFrame:
    """Percent by which the volumes of the whole brain of each scan differ from the truth; indexed by scan."""
    from anatcl.images import load

    def percent(scan: str, found: float, ending: str) -> float:
        image = load(truth / f"{scan}_{ending}.nii.gz")
        return 100 * (found / (image.data.sum() * image.voxel_volume) - 1)

    rows = measures.set_index("scan")
    return pd.DataFrame(
        {column: [percent(s, rows.at[s, column], ending) for s in rows.index] for column, ending in TRUE.items()},
        index=rows.index,
    )


def both_errors(folders: dict[str, Path], truth: Path) -> pd.DataFrame:
    """Errors of each way of measuring, side by side, and the mean of their sizes in the last row."""
    from anatcl.base.files import read_tsv

    found = {name: errors(read_tsv(folder / "measures" / "measures.tsv"), truth) for name, folder in folders.items()}
    table = pd.concat(
        {f"{column}{name}": one[column] for column in TRUE for name, one in found.items()}, axis=1, sort=False
    )
    table.loc["mean of the sizes"] = table.abs().mean()
    return table.rename_axis("scan").reset_index()


def draw(path: Path, table: pd.DataFrame) -> None:
    """Every region as a dot, measures side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kind = groups(table)
    order = ("whole brain", "volume", "area", "thickness", "thicknessstd", "deep volume")
    names = [k for k in order if (kind == k).any()]
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    rng = np.random.default_rng(0)
    for at, name in enumerate(names):
        percent = table.loc[kind == name, "percent_difference"].astype(float).dropna()
        axis.scatter(at + rng.uniform(-0.18, 0.18, len(percent)), percent, s=14, alpha=0.7)
        axis.hlines(percent.median(), at - 0.3, at + 0.3, color="black")
    axis.set_xticks(range(len(names)), names)
    axis.set(ylabel="difference within a person (%)", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    people = int(table["n_participants"].max())
    axis.set_title(f"{people} people scanned twice; a dot is a region, the line their median", fontsize=10)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the workflow's results")
    parser.add_argument("--longitudinal", type=Path, help="results of the same scans by measures: longitudinal: true")
    parser.add_argument("--truth", type=Path, help="folder sourcedata/truth of a simulated dataset")
    parser.add_argument("--name", required=True, help="names the files")
    parser.add_argument("--note", default="", help="what should be known of the data")
    parser.add_argument("--out", type=Path, default=Path("docs/results/measures"), help="folder for tables and figure")
    args = parser.parse_args()

    from anatcl.base.files import read_tsv, write_tsv

    table = read_tsv(args.results / "measures" / "reliability.tsv")
    if table.empty:
        raise SystemExit("nobody has two scans in this dataset.")
    measures = read_tsv(args.results / "measures" / "measures.tsv")
    found = summary(table)
    if args.longitudinal:
        other = summary(read_tsv(args.longitudinal / "measures" / "reliability.tsv")).set_index("measure")
        for column in ("median_percent", "p90_percent"):
            found[f"longitudinal_{column}"] = other[column].reindex(found["measure"]).to_numpy()
    about = {
        "command": "python -m benchmarks.measures_reliability",
        "thickness_method": sorted(set(measures["thickness_method"])),
        "thickness_trust": sorted(set(measures["thickness_trust"])),
    }
    write_tsv(args.out / f"{args.name}_reliability.tsv", table, "%.5g")
    write(args.out, f"{args.name}_reliability_summary", found, about, f"{args.note}\n\n{READING}".strip())
    if args.truth:
        folders = {"": args.results} | ({" longitudinal": args.longitudinal} if args.longitudinal else {})
        write(args.out, f"{args.name}_errors", both_errors(folders, args.truth), about, ERRORS)
    draw(args.out / f"{args.name}_reliability.png", table)
    print(last_line({"median_percent": dict(zip(found["measure"], found["median_percent"], strict=True))}))


if __name__ == "__main__":
    main()
