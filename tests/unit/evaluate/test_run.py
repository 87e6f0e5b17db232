"""The steps as the workflow calls them, on a small cohort."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.cli import evaluate
from anatcl.evaluate.data.features import load_embeddings, load_table

N = 24


@pytest.fixture
def cohort(tmp_path, rng) -> Path:
    """24 people, two with two sessions; one without age; measures and embeddings of three encoders."""
    people = [f"sub-{i:02d}" for i in range(N)]
    age = rng.uniform(20, 80, N).round(1)
    sick = np.arange(N) < 5
    rows = []
    for i, person in enumerate(people):
        for session in ["ses-1", "ses-2"] if i in (3, 11) else [None]:
            stem = f"{person}/{session}/anat/{person}_{session}" if session else f"{person}/anat/{person}"
            rows.append((stem, person, session, age[i], "MF"[i % 2], "ab"[i % 2], "patient" if sick[i] else "HC"))
    columns = ["scan", "participant_id", "session_id", "age", "sex", "site", "diagnosis"]
    table = pd.DataFrame(rows, columns=columns)
    signal = table["age"].to_numpy()[:, None] * [0.1, -0.05, 0] + (table["diagnosis"] == "patient").to_numpy()[
        :, None
    ] * [0, 3, 1]
    measures = table[["scan", "participant_id", "session_id"]].assign(
        tiv_mm3=1.5e6, gm_mm3=6e5 + signal[:, 0] * 1e4, wm_mm3=5e5 + rng.normal(0, 1e4, len(table)), csf_mm3=3e5
    )
    for j, region in enumerate(["bankssts", "insula", "cuneus"]):
        measures[f"thickness_lh_{region}"] = 2.5 + signal[:, j] + rng.normal(0, 0.3, len(table))
        measures[f"volume_rh_{region}"] = 2000 + rng.normal(0, 10, len(table))
    measures["thickness_method"] = "laplace"
    table.loc[7, "age"] = np.nan
    write_tsv(tmp_path / "scans.tsv", table)
    write_tsv(tmp_path / "measures.tsv", measures)
    write_tsv(tmp_path / "folds.tsv", pd.DataFrame({"participant_id": people, "fold": np.arange(N) % 3}))
    for k in range(3):
        folder = tmp_path / "y-aware" / f"fold-{k}"
        folder.mkdir(parents=True)
        embedding = np.hstack([signal, rng.normal(size=(len(table), 20)), np.zeros((len(table), 2))]) @ np.diag(
            [1.0] * 23 + [0, 0]
        )
        order = rng.permutation(len(table))
        np.savez(
            folder / "embeddings.npz",
            scan=table["scan"].to_numpy(str)[order],
            participant_id=table["participant_id"].to_numpy(str)[order],
            embedding=embedding[order].astype(np.float32),
        )
    return tmp_path


def main(arguments: list[str]) -> int:
    """Run a step by its flags."""
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.function(args) or 0


def task(cohort: Path, name: str, method: str, *source: str, spec: dict | None = None) -> tuple[Path, Path]:
    predictions, scores = cohort / f"{method}_{name}_predictions.tsv", cohort / f"{method}_{name}_scores.tsv"
    status = main(
        ["evaluate", "task", "--task", json.dumps(spec) if spec else name, "--method", method, *source,
         "--scans", str(cohort / "scans.tsv"), "--folds", str(cohort / "folds.tsv"),
         "--measures", str(cohort / "measures.tsv"), "--seed", "0", "--bootstrap", "60",
         "--out-predictions", str(predictions), "--out-scores", str(scores)]
    )  # fmt: skip
    assert status == 0
    return predictions, scores


def features(cohort: Path, which: str) -> list[str]:
    return ["--features", str(cohort / "measures.tsv"), "--feature-set", which]


DIAGNOSIS = {"name": "diagnosis", "kind": "binary", "target": "diagnosis", "positives": ["patient"],
             "negatives": ["HC"]}  # fmt: skip


def test_age_by_embeddings_and_by_measures(cohort):
    for method, source in {
        "y-aware": ["--embeddings-dir", str(cohort / "y-aware")],
        "regional-measures": features(cohort, "regional-measures"),
    }.items():
        predictions, scores = (read_tsv(f) for f in task(cohort, "age", method, *source))
        assert predictions["scan"].is_unique
        assert len(predictions) == N + 2 - 1
        row = scores.set_index("metric").loc["pearson_r"]
        assert row["value"] > 0.5
        assert row["low"] < row["value"] < row["high"]
        assert (row["n"], row["n_participants"], row["n_dropped"], row["folds"]) == (N + 1, N - 1, 1, 3)
        assert "small" in row["flags"]


def test_diagnosis_with_five_patients(cohort):
    predictions, scores = task(cohort, "diagnosis", "r", *features(cohort, "regional-measures"), spec=DIAGNOSIS)
    table = read_tsv(scores).set_index("metric")
    assert {"balanced_accuracy", "roc_auc", "average_precision", "roc_auc_shuffled"} <= set(table.index)
    assert table.loc["roc_auc", "value"] > 0.8
    assert read_tsv(predictions)["prob"].between(0, 1).all()


def test_majority_median(cohort):
    scores = read_tsv(task(cohort, "sex", "majority-median")[1]).set_index("metric")
    assert scores.loc["roc_auc", "value"] == 0.5
    assert np.isnan(read_tsv(task(cohort, "age", "majority-median")[1]).set_index("metric").loc["pearson_r", "value"])


def test_a_set_of_no_features_is_the_guess(cohort):
    given = read_tsv(task(cohort, "age", "majority-median", *features(cohort, "majority-median"))[1])
    pd.testing.assert_frame_equal(given, read_tsv(task(cohort, "age", "majority-median")[1]))


def test_age_sex_tiv_never_sees_its_target(cohort):
    from anatcl.evaluate.data.features import demographics

    table = read_tsv(cohort / "scans.tsv").assign(tiv_mm3=1.5e6)
    assert demographics(table, "age").names == ["sex=M", "tiv_mm3"]
    assert demographics(table, "diagnosis").names == ["age", "sex=M", "tiv_mm3"]
    scores = read_tsv(task(cohort, "diagnosis", "d", *features(cohort, "age-sex-tiv"), spec=DIAGNOSIS)[1])
    assert scores["metric"].str.startswith("roc_auc").any()


def test_refused_task_is_a_row_and_not_a_crash(cohort):
    spec = {"name": "none", "kind": "regression", "target": "height"}
    predictions, scores = task(cohort, "none", "m", spec=spec)
    assert len(read_tsv(predictions)) == 0
    assert read_tsv(scores).loc[0, "metric"] == "skipped"
    rare = {**DIAGNOSIS, "name": "rare", "query": "participant_id > 'sub-02'"}
    flags = read_tsv(task(cohort, "rare", "m", spec=rare)[1]).loc[0, "flags"]
    assert "positive: 2" in flags


def test_scores_joins_compares_and_lists_what_was_skipped(cohort):
    made = [
        task(cohort, "age", "regional-measures", *features(cohort, "regional-measures")),
        task(cohort, "age", "majority-median"),
        task(cohort, "height", "majority-median", spec={"name": "height", "kind": "regression", "target": "height"}),
    ]
    arguments = ["evaluate", "scores", "--inputs", *(str(s) for _, s in made), "--bootstrap", "50"]
    arguments += ["--predictions", *(str(p) for p, _ in made), "--out", str(cohort / "all" / "scores.tsv")]
    assert main(arguments) == 0
    table = read_tsv(cohort / "all" / "scores.tsv")
    assert list(dict.fromkeys(table["method"])) == ["regional-measures", "majority-median"]
    assert "skipped" not in set(table["metric"])
    assert read_tsv(cohort / "all" / "skipped.tsv")["task"].tolist() == ["height"]
    compared = read_tsv(cohort / "all" / "comparisons.tsv")
    assert compared["metric"].tolist() == ["mae", "r2", "pearson_r"]
    assert set(compared["method_a"]) == {"majority-median"}
    assert compared.loc[0, "difference"] > 0
    assert compared.loc[0, "p"] < 0.05
    assert np.isnan(compared.loc[2, "p"])  # constants have no correlation
    first = (cohort / "all" / "scores.tsv").read_bytes(), (cohort / "all" / "comparisons.tsv").read_bytes()
    assert main(arguments) == 0
    assert first == ((cohort / "all" / "scores.tsv").read_bytes(), (cohort / "all" / "comparisons.tsv").read_bytes())


def test_two_runs_are_byte_equal_and_row_order_does_not_matter(cohort):
    source = features(cohort, "regional-measures")
    first = [p.read_bytes() for p in task(cohort, "diagnosis", "r", *source, spec=DIAGNOSIS)]
    for name in ("scans", "measures", "folds"):
        table = read_tsv(cohort / f"{name}.tsv")
        write_tsv(cohort / f"{name}.tsv", table.iloc[::-1])
    assert first == [p.read_bytes() for p in task(cohort, "diagnosis", "r", *source, spec=DIAGNOSIS)]


def test_external_features_join_by_participant_or_session(cohort):
    scans = read_tsv(cohort / "scans.tsv")
    people = pd.DataFrame({"participant_id": sorted(set(scans["participant_id"]))[1:], "thing": np.arange(N - 1.0)})
    people.to_csv(cohort / "external.csv", index=False)
    found = load_table(cohort / "external.csv", "all", scans)
    assert found.names == ["thing"]
    assert (~found.present).sum() == 1
    by_session = scans[["participant_id", "session_id"]].fillna("n/a").assign(other=np.arange(len(scans), dtype=float))
    by_session.to_csv(cohort / "external.csv", index=False)
    np.testing.assert_array_equal(load_table(cohort / "external.csv", "all", scans).of(0)[:, 0], by_session["other"])
    pd.concat([people, people]).to_csv(cohort / "external.csv", index=False)
    with pytest.raises(InputError, match="repeat"):
        load_table(cohort / "external.csv", "all", scans)


def test_embeddings_are_aligned_by_scan_and_checked(cohort):
    scans = read_tsv(cohort / "scans.tsv")
    found = load_embeddings(cohort / "y-aware", scans["scan"])
    assert found.of(2).shape == (N + 2, 25)
    with pytest.raises(InputError, match="fold 7"):
        found.of(7)
    with pytest.raises(InputError, match=r"no fold-"):
        load_embeddings(cohort, scans["scan"])
