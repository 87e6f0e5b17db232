"""What an embedding holds of the measures: known answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.data.features import Features, write_embeddings
from anatcl.evaluate.steps import decode

N, T = 120, 6
COLUMNS = [f"{kind}_lh_{region}" for kind in ("thickness", "volume") for region in ("cuneus", "insula", "lingual")]


@pytest.fixture
def people(rng):
    """Scans, folds, and measures that are age, sex and head size plus something of one's own."""
    table = pd.DataFrame(
        {
            "scan": [f"sub-{i:03d}" for i in range(N)],
            "participant_id": [f"sub-{i:03d}" for i in range(N)],
            "age": rng.uniform(20, 80, N),
            "sex": rng.choice(["F", "M"], N),
            "tiv_mm3": rng.normal(1.5e6, 1e5, N),
        }
    )
    own = rng.normal(size=(N, T))
    known = np.outer(table["age"] / 10, np.ones(T)) + np.outer((table["sex"] == "M") * 2.0, np.ones(T))
    known += np.outer(table["tiv_mm3"] / 1e5, np.ones(T))
    values = pd.DataFrame(2.5 + 0.1 * (own + known), columns=COLUMNS)
    return table, pd.DataFrame({"participant_id": table["participant_id"], "fold": np.arange(N) % 4}), own, values


def features(matrix):
    return Features({-1: matrix}, np.ones(len(matrix), bool), [f"e{i}" for i in range(matrix.shape[1])])


def means(table, matrix, folds, values, **more):
    found = decode.decode(table, features(matrix), values, folds, **more)
    rows = decode.decode_rows("m", found, decode.ADJUST, 200, 0)
    return rows[rows["region"] == decode.ALL].set_index("measure")["r2"], rows


def test_what_is_held_linearly_has_an_r2_near_one_and_noise_none(people, rng):
    table, folds, own, values = people
    held, rows = means(table, own @ rng.normal(size=(T, 9)), folds, values)
    assert held["all"] > 0.95
    assert len(rows) == 1 + 2 + T and set(rows["measure"]) == {"all", "thickness", "volume"}
    assert (rows["low"] <= rows["r2"]).all() and (rows["n_participants"] == N).all()
    noise, _ = means(table, rng.normal(size=(N, 9)), folds, values)
    assert noise["all"] < 0.02
    half, _ = means(table, own[:, :3], folds, values)  # the three thicknesses alone
    assert half["thickness"] > 0.95 and half["volume"] < 0.05


def test_age_sex_and_head_size_alone_hold_nothing(people):
    """An embedding of nothing but the covariates explains the measures, and nothing of their residuals."""
    table, folds, _, values = people
    covariates = np.column_stack([table["age"], table["sex"] == "M", table["tiv_mm3"] / 1e5]).astype(float)
    assert means(table, covariates, folds, values)[0]["all"] < 0.02
    assert means(table, covariates, folds, values, adjust=())[0]["all"] > 0.5


def test_residuals_know_the_training_people_alone(people):
    table, _, _, values = people
    train, y = np.arange(90), values.to_numpy()
    changed = y.copy()
    changed[90:] *= 3
    before, after = (decode.residuals(v, table, decode.ADJUST, train)[:90] for v in (y, changed))
    np.testing.assert_array_equal(before, after)
    design = np.column_stack([np.ones(90), table["age"][:90], table["sex"][:90] == "M", table["tiv_mm3"][:90] / 1e5])
    left = y[:90] - design @ np.linalg.lstsq(design.astype(float), y[:90], rcond=None)[0]
    np.testing.assert_allclose(before, left / left.std(0), atol=1e-8)


def test_r2_of_a_resample_is_that_of_its_people(people, rng):
    """The matrix products against scikit-learn on the very people that were drawn."""
    from sklearn.metrics import r2_score

    true, predicted = rng.normal(size=(30, 2)), rng.normal(size=(1, 30, 2))
    names = np.array([f"p{i:02d}" for i in range(30)])
    found = decode.Decoded(COLUMNS[:2], true, predicted, names, 4)
    values = decode.r2_replicates(found, 5, 3)
    _, counts = decode.bootstrap.draw(names, 5, 3)
    for b, count in enumerate(counts):
        drawn = np.repeat(np.arange(30), count.astype(int))
        expected = [r2_score(true[drawn, t], predicted[0, drawn, t]) for t in range(2)]
        np.testing.assert_allclose(values[0, b], expected, atol=1e-10)


def test_seeds_widen_the_interval_and_a_lacking_measure_leaves_only_itself_out(people, rng):
    table, folds, own, values = people
    first = features(own[:, :4] + rng.normal(size=(N, 4)))
    second = features(own[:, :1] + rng.normal(size=(N, 4)))
    both = dataclasses.replace(first, other_seeds=(second,))
    one, two = (decode.decode_rows("m", decode.decode(table, f, values, folds), (), 200, 0) for f in (first, both))
    assert (two["seeds"] == 2).all() and (one["seeds"] == 1).all()
    width = [float(rows["high"].iloc[0] - rows["low"].iloc[0]) for rows in (one, two)]
    assert width[1] > 1.5 * width[0]
    gaps = values.copy()
    gaps.iloc[:5, 0] = np.nan
    found = decode.decode(table, first, gaps, folds)
    assert np.isnan(found.true[:5, 0]).all() and np.isfinite(found.true[:, 1:]).all()


def test_files_and_what_cannot_be_decoded(people, tmp_path):
    table, folds, own, values = people
    write_tsv(tmp_path / "scans.tsv", table.drop(columns="tiv_mm3"))
    write_tsv(tmp_path / "measures.tsv", values.assign(scan=table["scan"], tiv_mm3=table["tiv_mm3"]))
    write_tsv(tmp_path / "folds.tsv", folds)
    for k in range(4):
        (tmp_path / "m" / f"fold-{k}").mkdir(parents=True)
        file = tmp_path / "m" / f"fold-{k}" / "embeddings.npz"
        write_embeddings(file, table["scan"], table["participant_id"], (own * (k + 1)).astype(np.float32))
    paths = [tmp_path / name for name in ("m", "scans.tsv", "folds.tsv", "measures.tsv", "out.tsv")]
    decode.run_decode("m", *paths, n_bootstrap=50)
    assert read_tsv(paths[-1])["r2"].iloc[0] > 0.95
    decode.run_decode("m", *paths, n_bootstrap=50, adjust=["age", "height"])
    assert "no such column" in read_tsv(paths[-1])["flags"].iloc[0]
    with pytest.raises(InputError, match="too few"):
        decode.decode(table[:9], features(own[:9]), values[:9], folds[:9])
