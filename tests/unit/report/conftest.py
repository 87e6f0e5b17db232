"""A made-up but complete results folder, small and seeded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anatcl.base.files import write_json, write_text, write_tsv
from anatcl.report.page import page
from anatcl.report.records import exclusions, methods, runtime
from anatcl.report.records.results import Sources
from anatcl.report.tables import build as tables

METHODS = ("anatcl-global", "anatcl-local", "y-aware", "untrained")
BASELINES = ("regional-measures", "tissue-volumes", "majority-median")
REGIONS = """
    bankssts caudalanteriorcingulate caudalmiddlefrontal cuneus entorhinal frontalpole fusiform inferiorparietal
    inferiortemporal insula isthmuscingulate lateraloccipital lateralorbitofrontal lingual medialorbitofrontal
    middletemporal paracentral parahippocampal parsopercularis parsorbitalis parstriangularis pericalcarine
    postcentral posteriorcingulate precentral precuneus rostralanteriorcingulate rostralmiddlefrontal
    superiorfrontal superiorparietal superiortemporal supramarginal temporalpole transversetemporal
""".split()  # noqa: SIM905 - a list of 34 lines says no more
FOLDS = 3
REGRESSION, BINARY = ("mae", "r2", "pearson_r"), ("balanced_accuracy", "roc_auc", "average_precision")
TASKS = {"age": REGRESSION, "sex": BINARY, "ad-hc": BINARY, "mci-hc": BINARY, "score": REGRESSION}


def make_scans(rng: np.random.Generator, people: int) -> pd.DataFrame:
    """A cohort in which one person has two sessions and one has no age."""
    rows = []
    for index in range(people):
        person = f"sub-{index + 1:02d}"
        base = {
            "participant_id": person,
            "age": np.nan if index == 3 else round(rng.uniform(20, 80), 1),
            "sex": "FM"[index % 2],
            "site": ("Guy's & St <Thomas>", "IOP")[index % 2],
            "diagnosis": ("HC", "AD", "MCI")[index % 3],
        }
        sessions = ("ses-1", "ses-2") if index % 6 == 0 else ("n/a",)
        for session in sessions:
            stem = person if session == "n/a" else f"{person}_{session}"
            folder = f"{person}/anat" if session == "n/a" else f"{person}/{session}/anat"
            rows.append({"scan": f"{folder}/{stem}", "path": f"/data/{stem}.nii.gz", "session_id": session, **base})
    return pd.DataFrame(rows)


def make_measures(rng: np.random.Generator, scans: pd.DataFrame) -> pd.DataFrame:
    """Everything falls with age, the faster the later a region stands in the alphabet; the insula does not."""
    age = scans["age"].fillna(50).to_numpy()
    table = scans[["scan", "participant_id", "session_id"]].copy()
    for name, mean in (("tiv", 1.45e6), ("gm", 6.5e5), ("wm", 5e5), ("csf", 3e5)):
        table[f"{name}_mm3"] = rng.normal(mean, mean / 20, len(scans))
    columns: dict[str, np.ndarray] = {}
    for measure, mean, slope in (("thickness", 2.5, -0.005), ("volume", 4000, -12), ("area", 1800, -2)):
        for side in ("lh", "rh"):
            for index, region in enumerate(REGIONS):
                noise = rng.normal(0, mean / 40, len(scans))
                effect = 0 if region == "insula" else slope * index / len(REGIONS)
                columns[f"{measure}_{side}_{region}"] = mean * (1 + index / 100) + effect * (age - 50) + noise
    columns["flags"] = np.array(["outlier:area_lh_insula;outlier:volume_lh_insula", *[""] * (len(scans) - 1)])
    columns["volume_lh_hippocampus"] = rng.normal(4000, 100, len(scans))
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def make_scores(rng: np.random.Generator) -> pd.DataFrame:
    """Scores of every method, with a shuffled-label control for age."""
    rows = []
    for task, metrics in TASKS.items():
        kind = "regression" if "mae" in metrics else "binary"
        for method in (*METHODS, *BASELINES):
            protocols = ("cross-validation", "shuffled labels") if task == "age" else ("cross-validation",)
            for protocol in protocols:
                for metric in metrics:
                    value = rng.uniform(6, 16) if metric == "mae" else rng.uniform(0.4, 0.9)
                    width = abs(value) * 0.15
                    if task == "age" and metric == "mae" and protocol == "cross-validation":
                        value = {"anatcl-global": 5.0, "anatcl-local": 6.0}.get(method, value + 2)
                    rows.append(
                        {
                            "method": method, "task": task, "protocol": protocol, "metric": metric, "value": value,
                            "low": value - width, "high": value + width, "n": 26, "n_participants": 22, "n_sites": 2,
                            "folds": FOLDS, "seed": 0, "n_dropped": 2, "kind": kind, "flags": "small: 22 participants",
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def make_comparisons() -> pd.DataFrame:
    """Tests of age: anatcl-global beats everybody, anatcl-local everybody else, y-aware nobody."""
    rows = []
    names = [*METHODS, *BASELINES]
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            p = 0.01 if a in ("anatcl-global", "anatcl-local") else 0.4
            common = {"task": "age", "protocol": "cross-validation", "metric": "mae"}
            rows.append({**common, "method_a": a, "method_b": b, "difference": -1.0, "p": p / 10, "p_holm": p})
    return pd.DataFrame(rows)


def make_subgroups() -> pd.DataFrame:
    """Age scores of women and men."""
    rows = [
        {"method": method, "task": "age", "protocol": "cross-validation", "subgroup": f"sex={sex}", "metric": "mae",
         "value": 7.0, "low": 6.0, "high": 8.0, "n": 12, "n_participants": 11}
        for method in METHODS for sex in "FM"
    ]  # fmt: skip
    return pd.DataFrame(rows)


def make_reliability(measures: pd.DataFrame) -> pd.DataFrame:
    """Reliability of every measure of four people; the ICC is there as if they were enough."""
    names = [name for name in measures if "_lh_" in name or "_rh_" in name]
    percent = np.linspace(0.5, 5, len(names))
    return pd.DataFrame(
        {"measure": names, "n_participants": 4, "percent_difference": percent, "icc31": 1 - percent / 20}
    )


def write_pictures(folder: Path, rng: np.random.Generator, scans: pd.DataFrame) -> None:
    """A sidecar, quality numbers and a picture per scan; the last scan has an odd mask."""
    for index, scan in enumerate(scans["scan"]):
        stem = folder / scan
        stem.parent.mkdir(parents=True, exist_ok=True)
        volume = 900.0 if index == len(scans) - 1 else rng.normal(1450, 20)
        write_json(f"{stem}_desc-qc.json", {"brain_mask_ml": volume, "template_dice": rng.uniform(0.9, 0.95)})
        y, x = np.mgrid[0:140, 0:420]
        brain = ((x % 140 - 70) ** 2 / 55**2 + (y - 70) ** 2 / 62**2 < 1) * rng.uniform(90, 160)
        pixels = np.stack([brain + rng.normal(0, 6, brain.shape)] * 3, axis=-1).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(f"{stem}_desc-qc.png")
        common = {
            "Recipe": "testing", "Seed": 0, "Threads": 1, "Engine": "antspyx 0.6.3", "Seconds": 3.0,
            "Versions": {"antspyx": "0.6.3", "nipype": "1.11.0"},
        }  # fmt: skip
        write_json(f"{stem}_desc-preproc_T1w.json", {"Calls": ["N4BiasFieldCorrection -d 3"], **common})
        write_json(f"{stem}_desc-brain_mask.json", {"Method": "ants", **common})
        engine = {"DeformableEngine": "antspyx 0.6.3"}
        write_json(f"{stem}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.json", engine | common)
    write_json(folder / "dataset_description.json", {"Template": {"name": "MNI152NLin2009aSym"}})


def write_training(root: Path, rng: np.random.Generator, scans: pd.DataFrame) -> None:
    """Histories, embeddings and predictions."""
    age = scans["age"].fillna(50).to_numpy()
    for method in METHODS:
        for fold in range(FOLDS):
            if method != "untrained":
                epochs = np.arange(20)
                loss = 3 * np.exp(-epochs / 8) + 1 + rng.normal(0, 0.05, 20)
                write_tsv(
                    root / "pretrain" / method / f"fold-{fold}" / "history.tsv",
                    pd.DataFrame({"epoch": epochs, "loss": loss}),
                )
                record = {"method": method, "architecture": "resnet18", "device": "cpu", "parameters": {"seed": 0}}
                record |= {"seconds": 12.5, "peak_memory_mb": 800.0, "versions": {"torch": "2.13.0"}}
                record |= {"hardware": {"processor": "Some CPU", "cores": 2, "memory_gib": 8.0}}
                write_json(root / "pretrain" / method / f"fold-{fold}" / "run.json", record)
                options = {"epochs": 20, "batch_size": 8, "learning_rate": 1e-4, "temperature": 0.1, "seed": 0}
                model = {"method": method, "architecture": "resnet18", "hyperparameters": options}
                write_json(
                    root / "pretrain" / "untrained" / f"fold-{fold}" / "model.json",
                    model | {"method": "untrained", "hyperparameters": {"epochs": 300}},
                )
                model |= {"weights_perplexity": {"anatomy": 0.9999 - fold / 1e5, "age": 0.31}}
                write_json(root / "pretrain" / method / f"fold-{fold}" / "model.json", model)
            values = rng.normal(size=(len(scans), 16)).astype(np.float32)
            values[:, 0] += age / 5
            folder = root / "evaluate" / method / f"fold-{fold}"
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(
                folder / "embeddings.npz",
                scan=scans["scan"].to_numpy(str),
                participant_id=scans["participant_id"].to_numpy(str),
                embedding=values,
            )
    for method in (*METHODS, *BASELINES):
        known = scans.dropna(subset=["age"])
        table = known[["scan", "participant_id"]].assign(fold=0, y_true=known["age"])
        table["y_pred"] = 50 + 0.6 * (known["age"] - 50) + rng.normal(0, 6, len(known))
        write_tsv(root / "evaluate" / method / "age_predictions.tsv", table)


def write_benchmarks(root: Path, scans: pd.DataFrame) -> None:
    """Snakemake's benchmark files of two per-scan rules and one cohort rule."""
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for index, scan in enumerate(scans["scan"]):
        for rule, seconds in (("register", 12 + index), ("bias_correct", 3)):
            write_text(
                root / rule / f"{scan}.tsv", f"{head}{seconds}\t0:00:12\t{400 + index}\t1\t1\t1\t0\t0\t99\t{seconds}\n"
            )
    write_text(root / "pack.tsv", f"{head}1.5\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-\n")
    write_text(root / "results" / "measures.tsv", "ours\trival\n1\t2\n")


def build(root: Path, people: int = 24) -> Path:
    """Write a complete results folder under `root`; return it."""
    rng = np.random.default_rng(0)
    results = root / "results"
    scans = make_scans(rng, people)
    write_tsv(results / "bids" / "scans.tsv", scans)
    measures = make_measures(rng, scans)
    write_tsv(results / "measures" / "measures.tsv", measures)
    write_tsv(results / "measures" / "reliability.tsv", make_reliability(measures))
    write_tsv(results / "evaluate" / "comparisons.tsv", make_comparisons())
    checks = {
        "method": "y-aware",
        "check": "participants",
        "encoder": ["y-aware/fold-0"],
        "n_train": 16,
        "n_test": 8,
        "n_overlap": 0,
    }
    write_tsv(results / "evaluate" / "audit.tsv", pd.DataFrame(checks).assign(overlap="", verdict="clean"))
    write_tsv(results / "evaluate" / "subgroups.tsv", make_subgroups())
    skipped = {"method": ["untrained", "y-aware"], "task": "site", "flags": "fewer than two classes <here>."}
    write_tsv(results / "evaluate" / "skipped.tsv", pd.DataFrame(skipped))
    write_json(results / "measures" / "run.json", {"Atlas": "desikan-killiany", "ThicknessMethod": "distance"})
    write_tsv(results / "evaluate" / "scores.tsv", make_scores(rng))
    write_pictures(results / "preprocess", rng, scans)
    write_training(results, rng, scans)
    write_benchmarks(root / "benchmarks", scans)
    excluded = {
        "scan": "sub-90/anat/sub-90", "participant_id": "sub-90", "stage": "bids",
        "reason": "The file is cut short <b>.", "file": "sub-90_T1w.nii.gz",
        "remedy": "Copy it again from the scanner's archive.",
    }  # fmt: skip
    write_tsv(results / "bids" / "excluded.tsv", pd.DataFrame([excluded]))
    notes = {
        "about": ["sub-01/anat/sub-01", "sub-02/anat/sub-02", "participants.tsv"],
        "remedy": ["", "", "Look <it> up."],
    }
    notes["note"] = ["its sform and qform differ: the sform is used."] * 2 + ["1 row belongs to no folder: sub-3."]
    write_tsv(results / "bids" / "notes.tsv", pd.DataFrame(notes))
    marker = {
        "scan": "sub-91/ses-1/anat/sub-91_ses-1",
        "stage": "preprocess register",
        "reason": "No overlap.",
        "file": "",
        "log": "logs/x.log",
        "remedy": "Look.",
    }
    path = results / "failures" / "sub-91/ses-1/anat/sub-91_ses-1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(marker))
    return results


@pytest.fixture(scope="session")
def build_results() -> Callable[[Path, int], Path]:
    """`build`, for tests that need a cohort of another size."""
    return build


@pytest.fixture(scope="session")
def build_report() -> Callable[[Path, Path], Sources]:
    """`make_report`, for tests that need a second report."""
    return make_report


@pytest.fixture(scope="session")
def results_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete results folder."""
    return build(tmp_path_factory.mktemp("run"))


def make_report(results: Path, out: Path) -> Sources:
    """Write the report's own files of a results folder to `out`; return all parts that a page is made of."""
    tables.write_tables(
        results / "evaluate" / "scores.tsv",
        out / "benchmark.tsv",
        out / "tables",
        results / "evaluate" / "comparisons.tsv",
    )
    exclusions.write_exclusions([results / "bids" / "excluded.tsv"], results / "failures", out / "excluded.tsv")
    runtime.write_runtime(results.parent / "benchmarks", out / "runtime.tsv")
    records = [results / stage for stage in ("measures", "pretrain", "evaluate")]
    methods.write_methods(results / "preprocess", records, out / "methods.md")
    return Sources(
        benchmark=out / "benchmark.tsv",
        tables=out / "tables",
        scans=results / "bids" / "scans.tsv",
        measures=results / "measures" / "measures.tsv",
        reliability=results / "measures" / "reliability.tsv",
        preprocess=results / "preprocess",
        evaluate=results / "evaluate",
        pretrain=results / "pretrain",
        excluded=out / "excluded.tsv",
        notes=results / "bids" / "notes.tsv",
        runtime=out / "runtime.tsv",
        methods=out / "methods.md",
    )


@pytest.fixture(scope="session")
def report(results_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sources]:
    """The page of the complete results folder, and what it was made of."""
    out = tmp_path_factory.mktemp("page")
    sources = make_report(results_dir, out)
    page.write_page(sources, out / "index.html", "A <title> & more")
    return out / "index.html", sources


if __name__ == "__main__":  # a folder to look at while working on the page
    import sys

    build(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24)
