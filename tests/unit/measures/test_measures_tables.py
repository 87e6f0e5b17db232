import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.measures import exports, tables
from anatcl.measures.cohort import build
from anatcl.measures.dictionary import describe
from anatcl.measures.outliers import outliers, robust_z
from anatcl.measures.reliability import icc31, reliability

REGIONS = [("lh_bankssts", "L"), ("lh_insula", "L"), ("rh_bankssts", "R"), ("rh_insula", "R")]
VOLUME, OTHER = 1_500_000.0, 4000.0


def scan_table(scan, rng, scale=1.0):
    rows = [(scan, n, "B", "global", np.nan, VOLUME * scale) for n in ("tiv", "gm", "wm", "csf")]
    rows += [(scan, r, h, "cortex", 2.5 * scale + rng.normal(0, 0.02), OTHER * scale) for r, h in REGIONS]
    rows += [(scan, "lh_hippocampus", "L", "subcortex", np.nan, 3500 * scale)]
    table = pd.DataFrame(rows, columns=["scan", "region", "hemisphere", "structure", "thickness_mm", "volume_mm3"])
    cortex = table["structure"] == "cortex"
    table["thicknessstd_mm"] = np.where(cortex, 0.5, np.nan)
    table["area_mm2"] = np.where(cortex, 1000 * scale, np.nan)
    return table.assign(
        thickness_method="distance", thickness_trust="fine", source="anatcl", flags="", index=0, voxels=50
    )


@pytest.fixture
def cohort(tmp_path, rng):
    """Twelve people at two sites, all with two sessions."""
    rows, paths = [], []
    for person in range(12):
        scale = rng.normal(1, 0.1)
        for session in ("ses-1", "ses-2"):
            scan = f"sub-{person:02d}/{session}/anat/sub-{person:02d}_{session}"
            path = tmp_path / f"{person}{session}.tsv"
            write_tsv(path, scan_table(scan, rng, scale * rng.normal(1, 0.01)))
            paths.append(path)
            rows.append((scan, "/x.nii.gz", f"sub-{person:02d}", session, "AB"[person % 2]))
    scans = tmp_path / "scans.tsv"
    write_tsv(scans, pd.DataFrame(rows, columns=["scan", "path", "participant_id", "session_id", "site"]))
    return paths, scans


def run(cohort, folder, n=2, **kwargs):
    paths, scans = cohort
    chunks = []
    for k in range(n):
        chunks.append(folder / f"chunk-{k}.tsv")
        write_tsv(chunks[-1], tables.chunk(paths[k::n]))
    names = {"table": "measures.tsv", "dictionary": "measures.json", "openbhb": "roi.csv", "enigma": "enigma"}
    names |= {n: f"{n}.tsv" for n in ("reliability", "excluded", "adjusted", "outliers")}
    return build(chunks, scans, {k: folder / v for k, v in names.items()}, **kwargs)


def test_two_levels_give_the_same_bytes_whatever_the_chunks(cohort, tmp_path):
    for n in (1, 2, 5):
        (tmp_path / str(n)).mkdir()
        run(cohort, tmp_path / str(n), n)
    for name in ("measures.tsv", "roi.csv", "reliability.tsv", "enigma/metr1_SubVol.csv"):
        assert len({(tmp_path / str(n) / name).read_bytes() for n in (1, 2, 5)}) == 1


def test_columns_of_the_cohort_table(cohort, tmp_path):
    table = run(cohort, tmp_path)
    lead = ["scan", "participant_id", "session_id", "tiv_mm3", "gm_mm3", "wm_mm3", "csf_mm3", "thickness_lh_bankssts"]
    assert list(table)[:8] == lead
    assert {"area_rh_insula", "volume_lh_hippocampus", "thickness_method"} <= set(table)
    assert len(table) == 24 and table["scan"].is_monotonic_increasing


def test_every_column_is_in_the_dictionary_with_a_unit(cohort, tmp_path):
    table = run(cohort, tmp_path)
    words = read_json(tmp_path / "measures.json")
    adjusted = pd.read_csv(tmp_path / "adjusted.tsv", sep="\t", nrows=1)
    assert set(words) == {*table, *adjusted}
    assert words["volumeprop_gm"]["Units"] == "1" and words["volumeres_lh_insula"]["Units"] == "mm3"
    assert (
        words["thickness_lh_insula"]["Units"] == "mm" and "left insula" in words["thickness_lh_insula"]["Description"]
    )
    assert words["volume_lh_hippocampus"]["Units"] == "mm3"
    assert all(text["Description"] != name for name, text in words.items())
    assert all("Units" in words[c] for c in table if pd.api.types.is_float_dtype(table[c]))


def test_quality_query_leaves_scans_out_with_the_reason(cohort, tmp_path):
    scans = read_tsv(cohort[1])
    qc = tmp_path / "qc.tsv"
    write_tsv(qc, scans[["scan"]].assign(dice=np.r_[0.2, np.full(23, 0.9)]))
    table = run(cohort, tmp_path, qc=qc, query="dice > 0.5")
    excluded = read_tsv(tmp_path / "excluded.tsv")
    assert len(table) == 23 and list(excluded["scan"]) == [scans["scan"][0]]
    assert "dice > 0.5" in excluded["reason"][0] and excluded["remedy"].notna().all()


def test_who_failed_the_gate_before_is_left_out_without_a_second_row(cohort, tmp_path):
    names = list(read_tsv(cohort[1])["scan"])
    qc = tmp_path / "qc.tsv"
    write_tsv(qc, pd.DataFrame({"scan": names, "failed": ["cjv 3 is above 2"] + [None] * (len(names) - 1)}))
    table = run(cohort, tmp_path, qc=qc)
    assert set(table["scan"]) == set(names[1:])
    assert read_tsv(tmp_path / "excluded.tsv").empty


def test_a_mistyped_query_names_the_columns(cohort, tmp_path):
    qc = tmp_path / "qc.tsv"
    write_tsv(qc, read_tsv(cohort[1])[["scan"]].assign(dice=1.0))
    with pytest.raises(InputError, match="dise"):
        run(cohort, tmp_path, qc=qc, query="dise > 0.5")


def test_a_scan_without_cortex_is_left_out(cohort, tmp_path, rng):
    broken = scan_table("sub-00/ses-1/anat/sub-00_ses-1", rng)
    broken.loc[broken["structure"] == "cortex", "thickness_mm"] = np.nan
    write_tsv(cohort[0][0], broken)
    assert len(run(cohort, tmp_path)) == 23
    assert "cortical regions are empty" in read_tsv(tmp_path / "excluded.tsv")["reason"][0]


def test_flags_of_regions_reach_the_cohort_table(cohort, tmp_path, rng):
    table = scan_table("sub-00/ses-1/anat/sub-00_ses-1", rng)
    table.loc[5, "flags"] = "tiny"
    write_tsv(cohort[0][0], table)
    assert run(cohort, tmp_path)["flags"][0].startswith("tiny:lh_insula")


def test_doubled_scan_is_refused(cohort, tmp_path):
    paths, scans = cohort
    with pytest.raises(InputError, match="two rows"):
        tables.join([tables.chunk(paths), tables.chunk(paths[:1])], read_tsv(scans))


def test_openbhb_layout_is_channel_major(cohort, tmp_path):
    table = run(cohort, tmp_path)
    wide = pd.read_csv(tmp_path / "roi.csv").iloc[:, 3:]
    assert wide.shape == (24, 7 * 4)
    channels = wide.to_numpy().reshape(24, 7, 4)
    assert channels[:, 0] == pytest.approx(table.filter(regex="^area_").to_numpy(), rel=1e-5)
    assert channels[:, 2] == pytest.approx(table.filter(regex="^thickness_[lr]h").to_numpy(), rel=1e-5)
    assert np.isnan(channels[:, 4:]).all()


def test_enigma_has_the_toolboxs_columns(shared_data):
    from anatcl.measures.atlas import load_atlas

    cortex = load_atlas("desikan-killiany").regions
    row = {"scan": "s", "participant_id": "sub-1", "session_id": "n/a", "tiv_mm3": 1.5e6}
    for key, structure in zip(cortex["key"], cortex["structure"], strict=True):
        row |= {f"volume_{key}": 1.0}
        row |= {f"thickness_{key}": 2.5, f"area_{key}": 900.0} if structure == "cortex" else {}
    for name, table in exports.enigma(pd.DataFrame([row])).items():
        assert list(table) == list(pd.read_csv(shared_data / "enigma_example" / f"{name}.csv", nrows=1)), name
        assert table.notna().all(axis=None)


def test_enigma_subjects_are_unique(cohort, tmp_path):
    run(cohort, tmp_path)
    subjects = pd.read_csv(tmp_path / "enigma" / "metr2_CortThick.csv")["SubjID"]
    assert subjects.is_unique and subjects[0] == "sub-00_ses-1"


def test_adjusted_volumes_do_not_depend_on_tiv(cohort, tmp_path):
    table = run(cohort, tmp_path)
    adjusted = tables.adjusted(table)
    assert adjusted["volumeprop_lh_hippocampus"].to_numpy() == pytest.approx(3500 / VOLUME, rel=1e-4)
    assert {"volumeprop_gm", "volumeres_csf"} <= set(adjusted)
    correlation = np.corrcoef(adjusted["volumeres_lh_insula"] + 1e-9 * np.arange(24), table["tiv_mm3"])[0, 1]
    assert abs(correlation) < 0.3
    assert describe(["volumeres_lh_insula"])["volumeres_lh_insula"]["Units"] == "mm3"


def test_icc_of_the_textbook():
    """Shrout and Fleiss 1979, table 2: six targets, four judges, ICC(3,1) = .71."""
    data = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    icc, low, high = icc31(data)
    assert icc == pytest.approx(0.7148, abs=1e-4)
    assert (low, high) == pytest.approx((0.3425, 0.9459), abs=2e-4)


def test_reliability_of_repeats(cohort, tmp_path):
    table = reliability(run(cohort, tmp_path)).set_index("measure")
    assert table.loc["tiv_mm3", "n_participants"] == 12
    assert 0.3 < table.loc["volume_lh_insula", "percent_difference"] < 3
    assert table.loc["volume_lh_insula", "icc31"] > 0.9
    known = table.dropna(subset="icc31")
    assert known["icc31_low"].le(known["icc31"]).all()
    assert "thicknessstd_lh_insula" not in known.index  # the same everywhere: there is nothing to tell apart


def test_few_repeats_have_no_icc_and_say_why(cohort, tmp_path):
    few = reliability(run(cohort, tmp_path).iloc[:4])
    assert few["icc31"].isna().all() and few["note"].str.contains("fewer than 10").all()
    assert reliability(run(cohort, tmp_path).iloc[::2]).empty


def test_robust_z():
    assert robust_z(np.array([1.0, 2, 3, 4, 100]))[-1] > 50
    assert not robust_z(np.ones(5)).any()


def test_outliers_are_judged_within_their_site():
    table = pd.DataFrame({"scan": [f"s{i:02d}" for i in range(24)], "participant_id": "p", "session_id": "n/a"})
    table = table.assign(**dict.fromkeys(("tiv_mm3", "gm_mm3", "wm_mm3", "csf_mm3"), 1.0))
    site = pd.Series(["A"] * 12 + ["B"] * 12)
    table["thickness_lh_insula"] = np.r_[np.linspace(2.4, 2.6, 12), np.linspace(3.4, 3.6, 12)]
    table.loc[3, "thickness_lh_insula"] = 3.5  # usual for site B, not for A
    listed = outliers(table, site)
    assert list(listed["scan"]) == ["s03"] and listed["compared_with"][0] == "A"
    assert outliers(table.iloc[:5], site.iloc[:5]).empty
