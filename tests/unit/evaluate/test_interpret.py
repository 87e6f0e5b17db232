"""Attribution maps: exact where they can be, and pointing at the place that was made to matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.evaluate.data.features import load_table
from anatcl.evaluate.probes import attribution
from anatcl.evaluate.probes.probe import Readout
from anatcl.evaluate.steps import interpret
from anatcl.evaluate.steps.task import Settings, evaluate_task

SHAPE = (7, 8, 9)
TASK = '{"name": "age", "kind": "regression", "target": "age"}'


def test_linear_attributions_add_up(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 3))
    readout = Readout(np.tile([1.0, -2.0, 0.5], (5, 1)), np.full(5, 7.0))
    found = attribution.linear_attributions(readout, x, x.mean(axis=0))
    average = np.tile(x.mean(axis=0), (5, 1))
    np.testing.assert_allclose(found.sum(axis=1), readout(x) - readout(average))


def test_integrated_gradients_are_complete_and_exact_for_a_square(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rng.normal(size=SHAPE)).double()
    average = torch.from_numpy(rng.normal(size=SHAPE)).double()
    embed = lambda v: (v**2).sum(dim=(1, 2, 3, 4), keepdim=False)[:, None]  # noqa: E731
    found = attribution.integrated_gradients(embed, x, average, torch.ones(1).double(), steps=4)
    torch.testing.assert_close(found, x**2 - average**2)  # midpoints integrate a linear gradient exactly


def test_spread_keeps_the_sum_and_knows_millimetres() -> None:
    volume = np.zeros((21, 22, 23))
    volume[10, 11, 12] = 1
    found = attribution.spread(volume, np.diag([1.0, 1.0, 4.0, 1.0]), 4.0)
    assert found.sum() == pytest.approx(1, abs=1e-3)
    assert found[12, 11, 12] > found[10, 11, 14]  # 2 mm away, and 8 mm away


def make_arrays(folder: Path, rng: np.random.Generator, people: int = 30) -> pd.DataFrame:
    """Noise volumes in which only one corner follows age."""
    ages = rng.uniform(20, 80, people)
    volumes = rng.uniform(0.4, 0.6, (people, *SHAPE)).astype(np.float32)
    volumes[:, 1:3, 1:3, 1:3] += (ages[:, None, None, None] - 50) / 100
    names = [f"sub-{index:02d}" for index in range(people)]
    rows = pd.DataFrame({"scan": [f"{n}/anat/{n}" for n in names], "participant_id": names, "age": ages})
    folder.mkdir(parents=True)
    np.save(folder / "volumes.npy", volumes.astype(np.float16))
    write_tsv(folder / "rows.tsv", rows)
    meta = {"format": 1, "shape": list(SHAPE), "axes": "RAS", "affine": np.diag([8.0, 8, 8, 1]).tolist()}
    meta |= {"voxel_mm": 8.0, "dtype": "float16", "scale": 1.0, "map": "vbm", "intensity": "none", "n": people}
    write_json(folder / "arrays.json", meta)
    return rows


class Octants:
    """An encoder whose features are the means of eight octants."""

    def to(self, device: Any) -> Octants:
        return self

    def embed(self, x: Any) -> Any:
        import torch

        halves = [x[:, 0, a, b, c].mean(dim=(1, 2, 3)) for a in HALVES for b in HALVES for c in HALVES]
        return torch.stack(halves, dim=1)


HALVES = (slice(0, 4), slice(4, None))


@pytest.fixture
def run(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packed arrays, folds, embeddings; loading an encoder gives `Octants`."""
    torch = pytest.importorskip("torch")
    rows = make_arrays(tmp_path / "arrays", rng)
    write_tsv(tmp_path / "scans.tsv", rows)
    write_tsv(tmp_path / "folds.tsv", rows[["participant_id"]].assign(fold=np.arange(len(rows)) % 3))
    volumes = torch.from_numpy(np.load(tmp_path / "arrays" / "volumes.npy").astype(np.float32))
    found = Octants().embed(volumes[:, None]).numpy()
    np.savez(tmp_path / "embeddings.npz", scan=rows["scan"].to_numpy(str)[::-1], embedding=found[::-1])
    monkeypatch.setattr("anatcl.pretrain.bundle.load_encoder", lambda folder, packed: (Octants(), {"fold": 1}))
    return tmp_path


def cohort_of(run: Path, **options: Any) -> interpret.Cohort:
    return interpret.Cohort(run / "scans.tsv", run / "folds.tsv", **options)


def encoder_map(run: Path, task: Any = TASK, cohort: interpret.Cohort | None = None, **options: Any) -> dict[str, Any]:
    out = run / "maps" / "y-aware_age.npz"
    effort = interpret.Effort(device="cpu", **options)
    files = (run / "arrays", run / "x", run / "embeddings.npz", out)
    interpret.interpret_encoder(task, cohort or cohort_of(run), *files, effort)
    with np.load(out, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def test_the_map_lights_up_where_age_was_put(run: Path) -> None:
    found = encoder_map(run)
    peak = np.unravel_index(found["attribution"].argmax(), SHAPE)
    assert all(index < 4 for index in peak)
    assert found["people"] == 10
    assert str(found["unit"]) == "years"
    assert found["gap"] < 1e-3  # a linear encoder: the path integral is exact


def test_same_run_same_bytes(run: Path) -> None:
    encoder_map(run, people=3)
    first = (run / "maps" / "y-aware_age.npz").read_bytes()
    encoder_map(run, people=3)
    assert (run / "maps" / "y-aware_age.npz").read_bytes() == first


def test_multiclass_is_refused_and_a_fold_without_people_is_no_map(run: Path) -> None:
    with pytest.raises(InputError, match="multiclass"):
        encoder_map(run, {"name": "site", "kind": "multiclass", "target": "age"})
    folds = read_tsv(run / "folds.tsv")
    write_tsv(run / "folds.tsv", folds.assign(fold=folds["fold"].replace(1, 4)))
    assert "fold 1 tests no participant" in str(encoder_map(run)["skipped"])


def test_a_task_that_the_cohort_cannot_answer_leaves_the_reason(run: Path) -> None:
    task = {"name": "dx", "kind": "binary", "target": "diagnosis", "positives": ["AD"], "negatives": ["HC"]}
    assert "no column" in str(encoder_map(run, task)["skipped"])
    rows = read_tsv(run / "scans.tsv")
    write_tsv(run / "measures.tsv", rows[["scan", "participant_id"]].assign(thickness_lh_insula=2.5))
    out = run / "maps" / "regional-measures_dx.tsv"
    interpret.interpret_measures(task, cohort_of(run, measures=run / "measures.tsv"), out)
    assert list(read_tsv(out)) == interpret.REGION_COLUMNS and not len(read_tsv(out))


def test_interpretation_needs_nothing_of_the_page() -> None:
    """A GPU node has torch and the tables' libraries, but no template engine and no imaging."""
    blocked = ("jinja2", "markupsafe", "matplotlib", "PIL", "nibabel", "nilearn")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import anatcl.evaluate.steps.interpret"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


SEX = {"name": "sex", "kind": "binary", "target": "sex", "positives": ["M"], "negatives": ["F"]}
HARD = [
    {},
    {"covariates": ["sex", "weight"]},
    {"train_query": "group == 'HC'"},
    {"harmonise": "combat", "preserve": ["weight"]},
    {"harmonise": "combat", "covariates": ["weight"], "train_query": "group == 'HC'"},
]


@pytest.fixture
def measured(tmp_path: Path, rng: np.random.Generator) -> interpret.Cohort:
    """Sixty people at two sites with regional measures that follow age, weight, sex and site; some are missing."""
    n = 60
    names = [f"sub-{i:02d}" for i in range(n)]
    scans = pd.DataFrame({"scan": [f"{s}/anat/{s}" for s in names], "participant_id": names})
    scans["age"], scans["sex"] = rng.uniform(20, 80, n).round(1), np.array(["F", "M"])[rng.permutation(n) % 2]
    scans["scanner"], scans["group"] = (
        np.array(["a", "b"])[np.arange(n) // 3 % 2],
        np.where(np.arange(n) % 4, "HC", "AD"),
    )
    scans["weight"] = 50 + 0.5 * scans["age"] + rng.normal(0, 5, n)
    measures = scans[["scan", "participant_id"]].copy()
    for j, region in enumerate(("insula", "cuneus", "bankssts")):
        for measure, spread in (("thickness", 0.2), ("thicknessstd", 0.05), ("volume", 900.0)):
            signal = 0.02 * scans["age"] * (j == 0) + (scans["sex"] == "M") * (j == 1) + 0.5 * (scans["scanner"] == "b")
            measures[f"{measure}_lh_{region}"] = 2 + spread * (signal + rng.normal(0, 0.3, n))
    measures["volume_lh_hippocampus"] = 4000 - 10 * scans["age"]
    measures.loc[[3, 17], "thickness_lh_cuneus"] = np.nan
    measures["tiv_mm3"] = 1.5e6
    write_tsv(tmp_path / "scans.tsv", scans)
    write_tsv(tmp_path / "measures.tsv", measures)
    write_tsv(tmp_path / "folds.tsv", scans[["participant_id"]].assign(fold=np.arange(n) % 3))
    return interpret.Cohort(tmp_path / "scans.tsv", tmp_path / "folds.tsv", tmp_path / "measures.tsv", "scanner", 5)


@pytest.mark.parametrize("extra", HARD)
@pytest.mark.parametrize("base", [json.loads(TASK), SEX])
def test_what_is_interpreted_is_what_the_table_predicts(
    measured: interpret.Cohort, base: dict[str, Any], extra: dict[str, Any]
) -> None:
    """For every tested person, the readout gives the table's prediction from the raw features alone."""
    if "harmonise" in extra:
        pytest.importorskip("combatlearn")
    extra = {**extra, "covariates": [c for c in extra.get("covariates", []) if c != base["target"]]}
    task, table, dealt = measured.task({**base, **extra}), measured.table(), read_tsv(measured.folds)
    features = load_table(str(measured.measures), "regional-measures", table)
    settings = Settings("folds", seed=measured.seed, n_bootstrap=10, shuffles=0)
    predictions, _ = evaluate_task(task, "m", table, features, dealt, settings)
    known = predictions.set_index("scan")["y_pred" if base["kind"] == "regression" else "score"]
    problem, features, splits = interpret.folds_of(task, table, features, dealt, measured.seed)
    assert len(splits) == 3
    for split in splits.values():
        fold = interpret.fit_fold(problem, features, split, measured.seed)
        found = fold.readout(split.test)(fold.x[split.test])
        scans = fold.problem.rows["scan"].iloc[split.test]
        np.testing.assert_allclose(found, known[scans], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("extra", HARD)
def test_weights_are_the_change_of_the_prediction_per_raw_unit(
    measured: interpret.Cohort, extra: dict[str, Any]
) -> None:
    if "harmonise" in extra:
        pytest.importorskip("combatlearn")
    table = measured.table()
    features = load_table(str(measured.measures), "regional-measures", table)
    task = measured.task({**json.loads(TASK), **extra})
    problem, features, splits = interpret.folds_of(task, table, features, read_tsv(measured.folds), 0)
    fold = interpret.fit_fold(problem, features, splits[0], 0)
    rows, x = fold.problem.rows.iloc[fold.split.test], fold.x[fold.split.test]
    weights = fold.readout(fold.split.test).weights
    for j in range(x.shape[1]):
        moved = x.copy()
        moved[:, j] += np.nanstd(fold.x[:, j])
        change = (fold.probe.predict(moved, rows) - fold.probe.predict(x, rows))[:, 0]
        np.testing.assert_allclose(change, weights[:, j] * np.nanstd(fold.x[:, j]), atol=1e-9)


def test_a_map_follows_the_covariates_and_the_training_people_of_the_task(run: Path, rng: np.random.Generator) -> None:
    """Where a covariate explains what the encoder sees, the table's figure falls and the map must fall with it."""
    rows = read_tsv(run / "scans.tsv")
    near = rows["age"] + rng.normal(0, 1, len(rows))
    write_tsv(run / "scans.tsv", rows.assign(weight=near, group=np.where(np.arange(len(rows)) % 2, "HC", "AD")))
    plain = encoder_map(run)
    without = encoder_map(run, {**json.loads(TASK), "covariates": ["weight"]})
    corner = np.s_[:4, :4, :4]
    assert without["attribution"][corner].sum() < 0.3 * plain["attribution"][corner].sum()
    some = encoder_map(run, {**json.loads(TASK), "train_query": "group == 'HC'"})
    assert not np.allclose(some["average"], plain["average"])
    assert not np.allclose(some["attribution"], plain["attribution"], rtol=1e-3)


@pytest.mark.parametrize("extra", HARD)
def test_a_map_adds_up_to_what_the_fitted_probe_predicts(
    run: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    """Voxels of a person add up to the prediction less that of the mean volume, asked of the probe itself."""
    import torch

    if "harmonise" in extra:
        pytest.importorskip("combatlearn")
    rows = read_tsv(run / "scans.tsv")
    n = len(rows)
    weight, sites = rows["age"] + rng.normal(0, 9, n), np.array(["a", "b"])[np.arange(n) // 3 % 2]
    group, sex = np.where(np.arange(n) % 4, "HC", "AD"), np.array(["F", "M"])[np.arange(n) // 2 % 2]
    write_tsv(run / "scans.tsv", rows.assign(weight=weight, scanner=sites, group=group, sex=sex))
    sums: list[float] = []
    folds: list[interpret.Fold] = []
    gradients, fit = interpret.integrated_gradients, interpret.fit_fold
    monkeypatch.setattr(
        interpret, "integrated_gradients", lambda *a: sums.append(float((found := gradients(*a)).sum())) or found
    )
    monkeypatch.setattr(interpret, "fit_fold", lambda *a: folds.append(fit(*a)) or folds[-1])
    cohort = cohort_of(run, site_column="scanner")
    found = encoder_map(run, {**json.loads(TASK), **extra}, cohort, people=100)
    (fold,) = folds
    test = fold.split.test
    centre = Octants().embed(torch.from_numpy(found["average"])[None, None]).numpy().astype(float)
    people = fold.problem.rows.iloc[test]
    difference = fold.probe.predict(fold.x[test], people) - fold.probe.predict(centre.repeat(len(test), 0), people)
    assert len(sums) == len(test) and np.abs(difference).max() > 0.01
    np.testing.assert_allclose(sums, difference[:, 0], rtol=1e-3, atol=1e-5)


def test_regions_of_the_measures_baseline(measured: interpret.Cohort, tmp_path: Path) -> None:
    interpret.interpret_measures(TASK, measured, tmp_path / "out.tsv")
    found = read_tsv(tmp_path / "out.tsv").set_index("region")
    assert list(found.columns) == interpret.REGION_COLUMNS[1:]
    assert set(found.index) == {"lh_insula", "lh_cuneus", "lh_bankssts", "lh_hippocampus"}
    assert found["people"].unique().tolist() == [60] and found["unit"].unique().tolist() == ["years"]
    parts = found[list(interpret.MEASURES)].sum(axis=1)
    assert (found["attribution"] <= parts + 1e-4).all()
    assert found.loc["lh_hippocampus", "volume"] == found["attribution"].max()  # it is the age
    interpret.interpret_measures({**json.loads(TASK), "covariates": ["weight"]}, measured, tmp_path / "less.tsv")
    less = read_tsv(tmp_path / "less.tsv").set_index("region")
    assert less.loc["lh_hippocampus", "attribution"] < 0.7 * found.loc["lh_hippocampus", "attribution"]
