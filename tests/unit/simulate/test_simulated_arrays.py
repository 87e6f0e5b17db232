from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.cli.simulate import register
from anatcl.simulate.anatomy import anatomy
from anatcl.simulate.arrays import SHAPE, _table, simulate_arrays
from anatcl.simulate.effects import regions

PEOPLE = 90


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    assert simulate_arrays(folder, PEOPLE, seed=1) == PEOPLE + 10
    return folder


def test_the_packed_form(arrays):
    volumes = np.load(arrays / "volumes.npy", mmap_mode="r")
    note = read_json(arrays / "arrays.json")
    rows = read_tsv(arrays / "rows.tsv")
    assert volumes.dtype == np.float16
    assert volumes.flags.c_contiguous
    assert list(volumes.shape) == [note["n"], *note["shape"]] == [len(rows), 45, 54, 45]
    assert (note["format"], note["axes"], note["map"], note["scale"]) == (1, "RAS", "vbm", 1.0)
    assert rows.scan.is_unique
    assert rows.site.nunique() == 3
    assert rows.participant_id.nunique() == PEOPLE
    assert np.isfinite(volumes).all()


def test_the_sum_of_a_map_is_the_grey_matter(arrays):
    volumes = np.load(arrays / "volumes.npy", mmap_mode="r")
    total = volumes.sum(axis=(1, 2, 3), dtype=np.float64) * 64
    measured = read_tsv(arrays / "measures.tsv").gm_mm3
    assert np.corrcoef(total, measured)[0, 1] > 0.9
    assert 0.85 < (total / measured).mean() < 1.15


def test_the_left_hemisphere_lies_at_negative_x(arrays):
    table = _table(anatomy())
    affine = np.array(read_json(arrays / "arrays.json")["affine"])
    x = np.unravel_index(table.voxel, SHAPE)[0] * affine[0, 0] + affine[0, 3]
    for side, sign in (("lh", -1), ("rh", 1)):
        labels = [r.label for r in regions() if r.hemisphere == side]
        assert (x[np.isin(table.region, labels)] * sign > -4).all()


def test_measures_follow_the_contract_and_the_truth(arrays):
    measures, truth = read_tsv(arrays / "measures.tsv"), read_tsv(arrays / "truth.tsv")
    columns = ["scan", "participant_id", "session_id", "tiv_mm3", "gm_mm3", "wm_mm3", "csf_mm3"]
    assert list(measures.columns[:7]) == columns
    for measure in ("thickness", "thicknessstd", "volume", "area"):
        names = [c for c in measures if re.match(rf"{measure}_[lr]h_", c)]
        assert len(names) == (82 if measure == "volume" else 68)
        assert (measures[names] > 0).all(axis=None)
    assert set(read_json(arrays / "measures.json")) == set(measures)
    assert (measures.scan == truth.scan).all()
    r = [np.corrcoef(measures[f"thickness_{k}"], truth[f"factor_{k}"])[0, 1] for k in ("lh_fusiform", "rh_precuneus")]
    assert min(r) > 0.7


def test_age_and_diagnosis_are_in_the_measures(arrays):
    rows, measures = read_tsv(arrays / "rows.tsv"), read_tsv(arrays / "measures.tsv")
    mean = measures.filter(regex="^thickness_[lr]h_").mean(axis=1)
    assert np.corrcoef(mean, rows.age)[0, 1] < -0.6
    ratio = measures.thickness_lh_entorhinal / measures.thickness_lh_pericalcarine
    residual = ratio - np.polyval(np.polyfit(rows.age, ratio, 1), rows.age)
    assert residual[rows.diagnosis == "patient"].mean() < residual[rows.diagnosis == "HC"].mean()


def test_reruns_are_equal_and_a_person_does_not_depend_on_the_others(arrays, tmp_path):
    simulate_arrays(tmp_path / "few", 6, seed=1)
    few, all_ = (np.load(f / "volumes.npy", mmap_mode="r") for f in (tmp_path / "few", arrays))
    np.testing.assert_array_equal(few, all_[:7])
    text = [(f / "measures.tsv").read_text().splitlines()[:8] for f in (tmp_path / "few", arrays)]
    assert text[0] == text[1]
    before = (tmp_path / "few" / "volumes.npy").stat().st_mtime_ns
    simulate_arrays(tmp_path / "few", 6, seed=1)
    assert (tmp_path / "few" / "volumes.npy").stat().st_mtime_ns == before


def test_severity_thins_patients_alone(arrays, tmp_path):
    simulate_arrays(tmp_path, PEOPLE, seed=1, severity=0.6)
    mild, severe = read_tsv(arrays / "truth.tsv"), read_tsv(tmp_path / "truth.tsv")
    patient = (read_tsv(arrays / "rows.tsv").diagnosis == "patient").to_numpy()
    pd.testing.assert_frame_equal(mild[~patient], severe[~patient])
    assert severe.severity[patient].mean() == pytest.approx(0.6, rel=0.15)
    ratio = (severe.factor_lh_entorhinal / mild.factor_lh_entorhinal)[patient]
    assert 0.8 < ratio.mean() < 0.92  # 30 % at severity 1: 0.6 instead of 0.18
    pd.testing.assert_series_equal(mild.factor_lh_cuneus, severe.factor_lh_cuneus)
    one, two = (np.load(f / "volumes.npy", mmap_mode="r") for f in (arrays, tmp_path))
    np.testing.assert_array_equal(one[~patient], two[~patient])
    assert (two[patient].sum(dtype=float) / one[patient].sum(dtype=float)) < 0.98
    with pytest.raises(InputError, match="other settings"):
        simulate_arrays(tmp_path, PEOPLE, seed=1)


def test_bad_input_gets_a_sentence(arrays, tmp_path):
    with pytest.raises(InputError, match=r"severity of 1\.5.*0 to 1"):
        simulate_arrays(tmp_path, 3, severity=1.5)
    with pytest.raises(InputError, match=r"1 participant.*2 to 100000"):
        simulate_arrays(tmp_path, 1)
    with pytest.raises(InputError, match="other settings"):
        simulate_arrays(arrays, 5, seed=1)
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        simulate_arrays(tmp_path, 5, overwrite=True)


def test_the_command_line_makes_what_its_flags_ask_for(tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    args = parser.parse_args(["simulate", str(tmp_path / "a"), "--arrays", "2", "--seed", "5"])
    assert not args.function(args)
    assert (tmp_path / "a" / "arrays.json").is_file()
    args = parser.parse_args(["simulate", str(tmp_path / "c"), "--arrays", "2", "--severity", "0.5"])
    assert not args.function(args)
    assert read_json(tmp_path / "c" / "simulation.json")["severity"] == 0.5
    args = parser.parse_args(["simulate", str(tmp_path / "d"), "--severity", "0.5"])
    with pytest.raises(InputError, match="--arrays"):
        args.function(args)
    args = parser.parse_args(["simulate", str(tmp_path / "b"), "--participants", "1", "--voxel-mm", "12"])
    assert not args.function(args)
    assert (tmp_path / "b" / "sub-001").is_dir()


def test_help_names_every_flag_and_loads_nothing_heavy():
    code = (
        "import sys, argparse\nfrom anatcl.cli.simulate import register\n"
        "p = argparse.ArgumentParser(); register(p.add_subparsers())\n"
        "assert not {'numpy', 'nibabel', 'scipy', 'tqdm'} & set(sys.modules) - set(before), 'heavy import'\n"
        "p.parse_args(['simulate', '--help'])"
    )
    code = "import sys; import anatcl.cli; before = list(sys.modules)\n" + code
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for flag in ("--participants", "--voxel-mm", "--seed", "--jobs", "--arrays", "--severity", "--overwrite"):
        assert flag in run.stdout


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """People of six scanners and two diseases."""
    folder = tmp_path_factory.mktemp("scanned")
    simulate_arrays(folder, PEOPLE, seed=1, severity=0.6, scanners=6, second_disease=True)
    return folder


def test_a_second_disease_leaves_the_cortex_alone(scanned, tmp_path):
    simulate_arrays(tmp_path, PEOPLE, seed=1, severity=0.6)
    both, one = read_tsv(scanned / "rows.tsv"), read_tsv(tmp_path / "rows.tsv")
    patient, other = (one.diagnosis == "patient").to_numpy(), (both.diagnosis == "ventricular").to_numpy()
    assert 0.25 < other.sum() / patient.sum() < 0.75 and not other[~patient].any()
    truth, plain = read_tsv(scanned / "truth.tsv"), read_tsv(tmp_path / "truth.tsv")
    pd.testing.assert_frame_equal(truth[~other], plain[~other])  # nobody else is another person
    ratio = truth.filter(like="factor_").div(plain.filter(like="factor_"))[other].mean()
    assert ratio["factor_lh_entorhinal"] > 1.1  # the cortex is that of health again
    assert ratio["factor_lh_cuneus"] == 1
    healthy = truth.factor_lh_hippocampus[~patient].mean()
    assert truth.factor_lh_hippocampus[other].mean() < 0.92 * healthy
    white = read_tsv(scanned / "measures.tsv").wm_mm3 / read_tsv(tmp_path / "measures.tsv").wm_mm3
    assert white[other].mean() < white[~patient].mean()  # wider ventricles


def test_scanners_err_in_their_own_places_in_map_and_measures(scanned, tmp_path):
    simulate_arrays(tmp_path, PEOPLE, seed=1, severity=0.6, second_disease=True)
    rows = read_tsv(scanned / "rows.tsv")
    assert set(rows.site) == {f"scanner-0{k}" for k in range(1, 7)}
    mine, plain = (read_tsv(folder / "measures.tsv") for folder in (scanned, tmp_path))
    columns = [c for c in mine if c.startswith("volume_")]
    change = np.log(mine[columns].to_numpy() / plain[columns].to_numpy())
    site = rows.site.to_numpy()
    within = np.mean([change[site == s].std(0).mean() for s in set(site)])
    between = np.std([change[site == s].mean(0) for s in sorted(set(site))], axis=0).mean()
    assert between > 0.03 and within < 2 * between
    maps = [np.load(folder / "volumes.npy", mmap_mode="r") for folder in (scanned, tmp_path)]
    totals = [m.sum((1, 2, 3), dtype=float) for m in maps]
    moved = np.log(totals[0] / totals[1])
    assert np.corrcoef(moved, change.mean(1))[0, 1] > 0.6  # one segmentation, so one error


def test_scanners_need_a_number_that_is_one(tmp_path):
    with pytest.raises(InputError, match=r"100 scanners.*0 to 99"):
        simulate_arrays(tmp_path, 5, scanners=100)
