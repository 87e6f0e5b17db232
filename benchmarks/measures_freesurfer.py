"""Our thickness, volume and area per region beside FreeSurfer's, for one scan: table, summary and figure.

Run from the root of the repository, after the workflow has measured the scan (``--until measures``)::

    python -m benchmarks.measures_freesurfer --table results/measures/sub-0001/anat/sub-0001_atlas-..._measures.tsv \
        --subject ../shared/data/aomic_sub-0001 --name aomic_sub-0001 [--out docs/results/measures]

``--table`` may be given several times as ``method=FILE``, to compare methods of thickness. ``--subject`` holds
``stats/lh.aparc.stats``, ``stats/rh.aparc.stats`` and ``stats/aseg.stats``. The last line is one JSON object: r and
mean difference (percent) of each measure over the 68 regions, by method.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measures_common import agreement, last_line, write

MEASURES = {"thickness": "mm", "volume": "mm3", "area": "mm2"}


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Regions side by side, and one row per measure; both tables as ``measure`` writes them."""
    ours, theirs = (t[t["structure"] == "cortex"].set_index("region") for t in (ours, theirs))
    regions = theirs.index.intersection(ours.index)
    table = pd.DataFrame({"region": regions})
    rows = []
    for measure, unit in MEASURES.items():
        column = f"{measure}_{unit}"
        a, b = ours.loc[regions, column].to_numpy(float), theirs.loc[regions, column].to_numpy(float)
        table[f"{measure}_ours_{unit}"], table[f"{measure}_freesurfer_{unit}"] = a, b
        rows.append(agreement(measure, a, b, unit))
    return table, pd.DataFrame(rows)


def whole(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Global volumes and deep structures side by side, mm3."""
    a, b = (t[t["structure"] != "cortex"].set_index("region")["volume_mm3"] for t in (ours, theirs))
    both = pd.concat([a.rename("ours_mm3"), b.rename("freesurfer_mm3")], axis=1).dropna()
    both["percent_difference"] = 100 * (both["ours_mm3"] / both["freesurfer_mm3"] - 1)
    return both.rename_axis("structure").reset_index()


def draw(path: Path, tables: dict[str, pd.DataFrame], title: str) -> None:
    """Scatter of each measure, a panel each; methods differ in thickness alone."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    first = next(iter(tables.values()))
    for axis, (measure, unit) in zip(axes, MEASURES.items(), strict=True):
        for k, (name, table) in enumerate((tables if measure == "thickness" else {"": first}).items()):
            a, b = table[f"{measure}_ours_{unit}"], table[f"{measure}_freesurfer_{unit}"]
            r = agreement("", a, b, unit)["r"]
            axis.scatter(b, a, s=14, alpha=0.75, color=f"C{k}", label=f"{name} r = {r:.2f}".strip())
        low, high = b.min() * 0.9, b.max() * 1.05
        axis.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=0)
        power = {"mm": "mm", "mm2": "mm²", "mm3": "mm³"}[unit]
        axis.set(xlabel=f"FreeSurfer {measure} ({power})", ylabel=f"this project ({power})")
        axis.legend(frameon=False, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", required=True, help="[method=]table of the scan (.tsv)")
    parser.add_argument("--subject", type=Path, required=True, help="FreeSurfer's folder of the subject")
    parser.add_argument("--name", default="scan", help="names the files that are written")
    parser.add_argument("--out", type=Path, default=Path("docs/results/measures"), help="folder for table and figure")
    args = parser.parse_args()

    from anatcl.base.files import read_tsv
    from anatcl.measures.freesurfer import read

    theirs = read(args.subject, args.name)
    tables: dict[str, pd.DataFrame] = {}
    summaries, deep = [], pd.DataFrame()
    for text in args.table:
        file = Path(text.rpartition("=")[2])
        ours = read_tsv(file)
        method = text.rpartition("=")[0] or str(ours["thickness_method"].iloc[0])
        tables[method], summary = compare(ours, theirs)
        summaries.append(summary.assign(method=method))
        deep = deep if len(deep) else whole(ours, theirs)  # of the first table
    summary = pd.concat(summaries, ignore_index=True).drop(columns="note")
    about: dict[str, Any] = {"command": "python -m benchmarks.measures_freesurfer", "scan": args.name}
    args.out.mkdir(parents=True, exist_ok=True)
    joined = next(iter(tables.values()))
    for method, table in list(tables.items())[1:]:
        joined.insert(2, f"thickness_{method}_mm", table["thickness_ours_mm"])
    write(args.out, f"{args.name}_regions", joined, about, "Regions, ours beside FreeSurfer's.")
    write(args.out, f"{args.name}_structures", deep, about, "Whole-brain and deep volumes beside FreeSurfer's (mm3).")
    write(args.out, f"{args.name}_summary", summary, about, "Agreement with FreeSurfer over the 68 regions.")
    draw(args.out / f"{args.name}.png", tables, f"{args.name}: 68 regions, this project beside FreeSurfer")
    print(last_line({f"{s.quantity}_{s.method}": {"r": s.r, "percent": s.percent_difference, "n": s.n}
                     for s in summary.itertuples()}))  # fmt: skip


if __name__ == "__main__":
    main()
