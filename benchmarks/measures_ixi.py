"""What the measures of the 64 IXI scans (2 mm) are worth: age, DLMUSE's volumes, FreeSurfer's thickness, and ridge.

Run from the root of the repository, after ``--until measures`` on that dataset::

    python -m benchmarks.measures_ixi --results results --dataset ../shared/data/ixi_hh_2mm [--out FOLDER]

It writes five tables and a figure: ``ixi_agreement`` (correlations over people with 95 % intervals), ``ixi_people``
and ``ixi_regions`` (thickness beside FreeSurfer's for each person and each region, with the defects of the surfaces
where the engine made some), ``ixi_ridge`` and ``ixi_sex`` (ridge regression of age and of sex, 10-fold, 10 seeds, on
our measures and on the two given tables, the same folds for all). The last line is one JSON object.

DLMUSE's volumes are those of a deep model on the same 2 mm grid (a silver reference); FreeSurfer's thickness was
measured on the full-resolution scans.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.measures_common import agreement, correlation, last_line, write

LOBES = {
    "Frontal_GM": "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis parstriangularis "
    "parsorbitalis lateralorbitofrontal medialorbitofrontal precentral paracentral frontalpole insula",
    "Parietal_GM": "superiorparietal inferiorparietal supramarginal postcentral precuneus",
    "Temporal_GM": "superiortemporal middletemporal inferiortemporal bankssts fusiform transversetemporal temporalpole",
    "Occipital_GM": "lateraloccipital lingual cuneus pericalcarine",
    "Limbic_Cingulate_GM": "rostralanteriorcingulate caudalanteriorcingulate posteriorcingulate isthmuscingulate",
}
WHOLE = {"tiv_mm3": "ICV", "gm_mm3": "GM", "wm_mm3": "WM"}
DEEP = {
    "lateralventricle": "LateralVentricle", "hippocampus": "Hippocampus", "amygdala": "Amygdala", "caudate": "Caudate",
    "putamen": "Putamen", "pallidum": "Pallidum", "thalamus": "ThalamusProper",
}  # fmt: skip
MEASURES = ("thickness", "volume", "area")
COARSE = "2 mm voxels: too coarse to trust in mm; read as a rank at most"
SURFACE = ("euler", "defects", "intersections")  # of the surface-quality metrics
ALPHAS = np.logspace(-2, 5, 15)


def read(results: Path, dataset: Path) -> dict[str, pd.DataFrame]:
    """Our measures, the people and the two given tables, on the same people in the same order."""
    from anatcl.base.files import read_tsv

    ours = read_tsv(results / "measures" / "measures.tsv").set_index("participant_id").sort_index()
    given = dataset / "derivatives"
    tables = {
        "people": dataset / "participants.tsv",
        "dlmuse": given / "dlmuse" / "volumes.tsv",
        "freesurfer": given / "freesurfer" / "desikan_thickness.tsv",
    }
    rest = {name: read_tsv(path).set_index("participant_id").loc[ours.index] for name, path in tables.items()}
    return {"ours": ours} | rest


def both_sides(table: pd.DataFrame, names: str, measure: str = "volume") -> pd.Series:
    """Sum of a measure over the named regions of both hemispheres."""
    return table[[f"{measure}_{side}_{name}" for name in names.split() for side in ("lh", "rh")]].sum(axis=1)


def agree(data: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per quantity, over people: age first, then volumes, then thickness."""
    ours, muse, age = data["ours"], data["dlmuse"], data["people"]["age"]
    rows = [
        _with_age("age with GM/TIV, ours", age, ours["gm_mm3"] / ours["tiv_mm3"]),
        _with_age("age with GM/ICV, DLMUSE", age, muse["GM"] / muse["ICV"]),
        _with_age("age with mean thickness, ours", age, _thickness(data)[0].mean(axis=1), COARSE),
        _with_age("age with mean thickness over the surface, ours", age, _over_surface(data)[0], COARSE),
        _with_age("age with mean thickness, FreeSurfer", age, _thickness(data)[1].mean(axis=1)),
    ]
    rows += [agreement(f"{a.removesuffix('_mm3').upper()}", ours[a], muse[b], "mm3") for a, b in WHOLE.items()]
    ventricles = both_sides(ours, "lateralventricle") + ours["volume_thirdventricle"]
    rows.append(agreement("ventricles", ventricles, muse["Ventricles"], "mm3"))
    rows.append(agreement("cerebellum", both_sides(ours, "cerebellum"), muse["Cerebellum"], "mm3",
                          "ours: grey matter; DLMUSE: grey and white"))  # fmt: skip
    rows += [agreement(f"lobe {name}", both_sides(ours, names), muse[name], "mm3") for name, names in LOBES.items()]
    rows += [
        agreement(f"deep {a}", both_sides(ours, a), muse[[f"{b}_L", f"{b}_R"]].sum(axis=1), "mm3")
        for a, b in DEEP.items()
    ]
    return pd.DataFrame(rows + thickness_rows(data))


def _with_age(name: str, age: pd.Series, value: pd.Series, note: str = "") -> dict[str, Any]:
    r, low, high, n = correlation(age, value)
    return {"quantity": name, "unit": "years", "n": n, "r": r, "r_low": low, "r_high": high, "note": note,
            "rank_r": stats.spearmanr(age, value).statistic}  # fmt: skip


def _thickness(data: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Regional thickness, ours and FreeSurfer's, the same columns (mm)."""
    names = [c for c in data["ours"] if str(c).startswith(("thickness_lh_", "thickness_rh_"))]
    theirs = data["freesurfer"][[f"{c.removeprefix('thickness_')}_thickness" for c in names]]
    return data["ours"][names].astype(float), theirs.set_axis(names, axis=1).astype(float)


def _over_surface(data: dict[str, pd.DataFrame]) -> tuple[pd.Series, pd.Series]:
    """Mean thickness over the surface, ours (regions weighted by their area) and FreeSurfer's own (mm)."""
    thickness = _thickness(data)[0]
    areas = data["ours"][[f"area_{str(c).removeprefix('thickness_')}" for c in thickness]].to_numpy(float)
    ours = (thickness * areas).sum(axis=1) / areas.sum(axis=1)
    return ours, data["freesurfer"][["lh_MeanThickness_thickness", "rh_MeanThickness_thickness"]].mean(axis=1)


def thickness_rows(data: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Thickness: of the whole cortex over people, of the cohort's mean over regions, and of each region over people."""
    ours, theirs = _thickness(data)
    whole = agreement("thickness, cortex, over people", ours.mean(axis=1), theirs.mean(axis=1), "mm", COARSE)
    whole["rank_r"] = stats.spearmanr(ours.mean(axis=1), theirs.mean(axis=1)).statistic
    means = _over_surface(data)
    surface = agreement("thickness, mean over the surface, over people", *means, "mm", COARSE)
    surface["rank_r"] = stats.spearmanr(*means).statistic
    mean = agreement("thickness, cohort mean, over 68 regions", ours.mean(), theirs.mean(), "mm", COARSE)
    rows = [whole, surface, mean]
    for name, found in (
        ("thickness, each person over 68 regions: median r", row_correlations(ours, theirs)),
        ("thickness, each region over people: median r", row_correlations(ours.T, theirs.T)),
    ):
        low, middle, high = np.nanpercentile(found, [10, 50, 90])
        rows.append({"quantity": name, "unit": "mm", "n": len(found), "r": middle, "r_low": low, "r_high": high,
                     "note": f"bounds: 10th and 90th percentile; {COARSE}"})  # fmt: skip
    return rows


def row_correlations(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[float]:
    """Pearson's r of each row of the one table with the same row of the other."""
    return [correlation(a, b)[0] for a, b in zip(ours.to_numpy(), theirs.to_numpy(), strict=True)]


def people_table(data: dict[str, pd.DataFrame], results: Path) -> pd.DataFrame:
    """One row per person: thickness beside FreeSurfer's over the regions, and what is known of the surfaces."""
    ours, theirs = _thickness(data)
    rows = [
        {
            "participant_id": person,
            "age": data["people"].loc[person, "age"],
            "ours_mm": ours.loc[person].mean(),
            "freesurfer_mm": theirs.loc[person].mean(),
            "r_68_regions": r,
        }
        | surface_quality(results, str(person))
        for person, r in zip(ours.index, row_correlations(ours, theirs), strict=True)
    ]
    return pd.DataFrame(rows)


def surface_quality(results: Path, person: str) -> dict[str, float]:
    """Surface-quality metrics of a person's first scan by column, as ``defects_L``; empty without surfaces."""
    from anatcl.base.files import read_json

    files = sorted((results / "measures" / person).rglob("*_desc-surfaces_qc.json"))
    sides = read_json(files[0])["hemispheres"] if files else {}
    return {f"{name}_{side}": sides[side][name] for name in SURFACE for side in sorted(sides)}


def regions_table(data: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per region, the largest difference to FreeSurfer's thickness first."""
    ours, theirs = _thickness(data)
    rows = [agreement(str(name).removeprefix("thickness_"), ours[name], theirs[name], "mm") for name in ours]
    table = pd.DataFrame(rows).drop(columns=["note", "percent_difference"])
    return table.sort_values("mean_difference", ascending=False, ignore_index=True)


def features(data: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables that ridge gets; volumes are fractions of intracranial volume."""
    from anatcl.measures.dictionary import split_column

    ours, muse = data["ours"], data["dlmuse"]
    regional = {m: [c for c in ours if (p := split_column(str(c))) and p[0] == m] for m in MEASURES}
    volumes = ours[regional["volume"]].div(ours["tiv_mm3"], axis=0)
    whole = ours[["gm_mm3", "wm_mm3", "csf_mm3"]].div(ours["tiv_mm3"], axis=0)
    surfaces = ours[regional["area"]].div(ours["tiv_mm3"] ** (2 / 3), axis=0)
    thick = ours[regional["thickness"]]
    return {
        "ours: volumes/TIV, areas, thickness": pd.concat([whole, volumes, surfaces, thick], axis=1),
        "ours: volumes/TIV": pd.concat([whole, volumes], axis=1),
        "ours: thickness": thick,
        "ours: measures as they are": ours[[c for m in regional.values() for c in m]],
        "DLMUSE: volumes/ICV": muse.drop(columns="ICV").div(muse["ICV"], axis=0),
        "FreeSurfer: thickness": data["freesurfer"],
    }  # fmt: skip


def predictions(x: NDArray, y: NDArray, seeds: int, folds: int) -> NDArray:
    """Out-of-fold predictions of each seed, shape (seeds, n); scaling, medians and penalty from training folds.

    A `y` of bool gives scores. Its two classes weigh the same in each training fold: a class that is rare there is
    frequent in the tested fold, so that a model which knows nothing else would be wrong more often than by chance.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = y.dtype == bool
    last = RidgeClassifierCV(ALPHAS, class_weight="balanced") if classes else RidgeCV(ALPHAS)
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), last)
    split, method = (StratifiedKFold, "decision_function") if classes else (KFold, "predict")
    return np.stack(
        [
            cross_val_predict(model, x, y, cv=split(folds, shuffle=True, random_state=s), method=method)
            for s in range(seeds)
        ]
    )


def ridge(data: dict[str, pd.DataFrame], seeds: int = 10, folds: int = 10, draws: int = 2000) -> pd.DataFrame:
    """MAE in years of each table: mean and SD over seeds, bootstrap interval over people, difference to DLMUSE."""
    age = data["people"]["age"].to_numpy(float)
    found = {n: predictions(x.to_numpy(float), age, seeds, folds) for n, x in features(data).items()}
    found["median of the training folds"] = _median(age, seeds, folds)
    error = {name: np.abs(p - age) for name, p in found.items()}
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(age), (draws, len(age)))
    rows = []
    for name, e in error.items():
        people = e.mean(axis=0)
        low, high = np.percentile(people[picks].mean(axis=1), [2.5, 97.5])
        paired = people - error["DLMUSE: volumes/ICV"].mean(axis=0)
        worse = np.percentile(paired[picks].mean(axis=1), [2.5, 97.5])
        columns = features(data)[name].shape[1] if name in features(data) else 0
        rows.append({
            "features": name, "columns": columns, "n": len(age), "mae_years": people.mean(), "low": low, "high": high,
            "sd_over_seeds": e.mean(axis=1).std(ddof=1), "r": correlation(found[name].mean(axis=0), age)[0],
            "more_than_dlmuse_years": paired.mean(), "more_low": worse[0], "more_high": worse[1],
        })  # fmt: skip
    return pd.DataFrame(rows)


def sex(data: dict[str, pd.DataFrame], seeds: int = 10, folds: int = 10, draws: int = 2000) -> pd.DataFrame:
    """ROC AUC of each table for sex: of the score's mean over seeds, with its bootstrap interval over people."""
    from sklearn.metrics import roc_auc_score

    woman = (data["people"]["sex"] == "F").to_numpy()
    rng = np.random.default_rng(0)
    picks = [p for p in rng.integers(0, len(woman), (draws, len(woman))) if 0 < woman[p].sum() < len(woman)]
    rows = []
    for name, table in features(data).items():
        scores = predictions(table.to_numpy(float), woman, seeds, folds)
        mean = scores.mean(axis=0)
        low, high = np.percentile([roc_auc_score(woman[p], mean[p]) for p in picks], [2.5, 97.5])
        spread = np.std([roc_auc_score(woman, s) for s in scores], ddof=1)
        rows.append({"features": name, "columns": table.shape[1], "n": len(woman), "women": int(woman.sum()),
                     "auc": roc_auc_score(woman, mean), "low": low, "high": high, "sd_over_seeds": spread})  # fmt: skip
    return pd.DataFrame(rows)


def _median(age: NDArray, seeds: int, folds: int) -> NDArray:
    from sklearn.dummy import DummyRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    model = DummyRegressor(strategy="median")
    splits = [KFold(folds, shuffle=True, random_state=s) for s in range(seeds)]
    return np.stack([cross_val_predict(model, age[:, None], age, cv=cv) for cv in splits])


def draw(path: Path, data: dict[str, pd.DataFrame]) -> None:
    """Age with GM/TIV, then our volumes and thickness against the references."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ours, muse, age = data["ours"], data["dlmuse"], data["people"]["age"]
    mine, theirs = _thickness(data)
    panels = [
        ("age (years)", "GM/TIV, ours", age, ours["gm_mm3"] / ours["tiv_mm3"]),
        ("grey matter, DLMUSE (ml)", "ours (ml)", muse["GM"] / 1e3, ours["gm_mm3"] / 1e3),
        ("white matter, DLMUSE (ml)", "ours (ml)", muse["WM"] / 1e3, ours["wm_mm3"] / 1e3),
        ("ventricles, DLMUSE (ml)", "ours (ml)", muse["Ventricles"] / 1e3,
         (both_sides(ours, "lateralventricle") + ours["volume_thirdventricle"]) / 1e3),
        ("mean thickness, FreeSurfer at 1 mm (mm)", "ours at 2 mm (mm)", theirs.mean(axis=1), mine.mean(axis=1)),
        ("regional thickness, FreeSurfer (mm)", "ours at 2 mm (mm)", theirs.mean(), mine.mean()),
    ]  # fmt: skip
    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
    for axis, (xlabel, ylabel, x, y) in zip(axes.flat, panels, strict=True):
        axis.scatter(x, y, s=14, alpha=0.75)
        r, low, high, n = correlation(x, y)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=f"r = {r:.2f} [{low:.2f}, {high:.2f}], n = {n}")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the workflow's results")
    parser.add_argument("--dataset", type=Path, required=True, help="BIDS folder with the two given tables")
    parser.add_argument("--out", type=Path, default=Path("docs/results/measures"), help="folder for tables and figure")
    parser.add_argument("--name", default="ixi", help="names the files")
    args = parser.parse_args()
    data = read(args.results, args.dataset)
    table, ages, women = agree(data), ridge(data), sex(data)
    ours = data["ours"]
    methods = sorted(set(ours["thickness_method"])), sorted(set(ours["thickness_trust"]))
    about = {"command": "python -m benchmarks.measures_ixi", "n": len(ours), "thickness_method": methods[0]}
    text = f"{len(ours)} IXI scans at 2 mm, thickness by {methods[0]} ({', '.join(methods[1])})."
    beside = "beside FreeSurfer's at full resolution."
    how = "10-fold, 10 seeds; the penalty is chosen inside each training fold. Intervals: bootstrap over people."
    written = {
        "agreement": (table, "r over people with its 95 % interval."),
        "people": (people_table(data, args.results), f"Thickness of each person over the 68 regions, {beside}"),
        "regions": (regions_table(data), f"Thickness of each region over people, {beside}"),
        "ridge": (ages, f"Ridge regression of age, {how}"),
        "sex": (women, f"ROC AUC of ridge regression of sex, {how}"),
    }
    for name, (rows, says) in written.items():
        write(args.out, f"{args.name}_{name}", rows, about, f"{text} {says}")
    draw(args.out / f"{args.name}_agreement.png", data)
    print(last_line({
        "n": len(ours),
        "r": dict(zip(table["quantity"], table["r"], strict=True)),
        "mae_years": dict(zip(ages["features"], ages["mae_years"], strict=True)),
        "sex_auc": dict(zip(women["features"], women["auc"], strict=True)),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
