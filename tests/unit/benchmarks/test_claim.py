"""The claim's test: cells, locks, what the rules of the design make of differences, and the page."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import write_json, write_tsv
from anatcl.evaluate.statistics.bootstrap import Replicates
from anatcl.spec.training import Options
from benchmarks import claim, claim_kernels, claim_page
from benchmarks.claim_cells import ANATOMICAL, ATTEMPT, TWIN, Cell, Found, Size, load, mean_of, save

SIZE = Size(steps=10, batch=8, seeds=2, untrained_seeds=2)


def made(value, rng, noise=0.02, seeds=(0.0, 0.0, 0.0)):
    """A number with replicates about it and a draw for each seed."""
    values = np.r_[value, value + noise * rng.standard_normal(400)]
    return Found(Replicates(values, {"seed_id": value + np.asarray(seeds)}), 200.0, 4, 0.0)


def test_every_method_has_a_twin_that_differs_in_nothing_else():
    cells = list(claim.cells_a(["average", "grid"], SIZE))
    assert len(cells) == len(set(cells)) == 2 + 2 * 2 + 2 * (2 * 15 + 1)
    for name in ANATOMICAL:
        own, twin = (Cell(n, "grid", 1).options(SIZE) for n in (name, name + TWIN))
        assert own[0] == twin[0] and own[1] | {"permuted": True} == twin[1]
        Options.parse(own[1])
    method, told = Cell("anatcl-global-z", "average", 0).options(SIZE)
    assert method == "anatcl-global" and told["standardise"] is True
    method, told = Cell("y-aware-regress", "average", 0).options(SIZE)
    assert told["joint"][method] == {"y-aware": 1.0, "regress": 1.0}
    _, told = Cell(ATTEMPT, "grid", 0).options(SIZE)
    assert (told["max_steps"], told["optimiser"], told["schedule"]) == (60, "adamw", "cosine")


def test_a_finished_or_held_cell_is_left_alone_and_a_dead_one_is_taken_over(tmp_path):
    lock = claim.taken(tmp_path, "a/b.json")
    assert lock is not None and lock.read_text() == str(os.getpid())
    assert claim.taken(tmp_path, "a/b.json") is None
    lock.write_text("999999999")
    assert claim.taken(tmp_path, "a/b.json") == lock
    lock.unlink()
    (tmp_path / "a" / "b.json").touch()
    assert claim.taken(tmp_path, "a/b.json") is None


def test_jobs_run_once_each_in_processes_of_their_own(tmp_path):
    def work(name):
        (tmp_path / name).write_text(str(os.getpid()))

    jobs = [(name, work, (name,)) for name in "abc"]
    claim.run_jobs(tmp_path, jobs, 2)
    found = {(tmp_path / name).read_text() for name in "abc"}
    assert len(found) == 3 and str(os.getpid()) not in found
    claim.run_jobs(tmp_path, jobs, 2)
    assert {(tmp_path / name).read_text() for name in "abc"} == found
    with pytest.raises(SystemExit):
        claim.run_jobs(tmp_path, [("d", os._exit, (3,))], 1)
    assert not list(tmp_path.glob("*.lock"))


def test_numbers_are_kept_as_they_are(tmp_path, rng):
    one = made(0.7, rng, seeds=(0.1, 0.0, -0.1))
    save(tmp_path / "m", {"decode": one}, {"seeds": 3})
    found, detail = load(tmp_path / "m")
    np.testing.assert_array_equal(found["decode"].replicates.values, one.replicates.values)
    np.testing.assert_array_equal(found["decode"].replicates.draws["seed_id"], one.replicates.draws["seed_id"])
    assert (found["decode"].n, found["decode"].folds, detail["seeds"]) == (200.0, 4, 3)
    both = mean_of([one, made(0.5, rng)])
    assert both.replicates.values[0] == pytest.approx(0.6) and both.replicates.draws["seed_id"][0] == pytest.approx(
        0.65
    )


@pytest.fixture
def scored(tmp_path, rng):
    """A folder in which regress with grid beats its twin in everything, and nothing beats ridge from voxels."""
    ends = [e for e in claim_page.ENDPOINTS if e != "sex"]
    base = {"decode": 0.2, "age": 8.0} | dict.fromkeys((e for e in ends if e not in ("decode", "age")), 0.6)

    def write(method, pooling, better=0.0):
        sign = {e: claim_page.ENDPOINTS[e][1] for e in ends}
        one = {e: made(base[e] + better * sign[e] * (5 if e == "age" else 1), rng, 0.01) for e in ends}
        save(
            tmp_path / "scores" / pooling / method, one, {"seeds": 3, "decode": {"thickness_lh_insula": base["decode"]}}
        )

    for pooling in ("average", "grid"):
        for method in ("untrained", "y-aware", *(m + t for m in ANATOMICAL for t in ("", TWIN))):
            write(method, pooling, 0.15 if (method, pooling) == ("regress", "grid") else 0.0)
    write(ATTEMPT, "grid", 0.1)
    write("voxel-ridge", "none", 0.3)
    write_json(tmp_path / "arguments.json", {"steps": 10, "seeds": 3, "encoder": "resnet-tiny"})
    return tmp_path


def test_what_stands_is_what_the_design_says(scored):
    found = claim_page.summary(scored)
    assert len(found["twins"]) == 8 * 14
    rows = {(r["method"], r["pooling"]): r for r in claim_page.verdicts(found["twins"])}
    won = rows.pop(("regress", "grid"))
    assert won["holds"] and won["general"] and won["robust"] and won["worse"] == []
    assert not any(r["holds"] or r["general"] or r["robust"] for r in rows.values())
    family = [r for r in found["twins"] if r["endpoint"] == "age"]
    assert all(r["p_holm"] >= r["p"] for r in family)
    assert min(r["p_holm"] for r in family) == pytest.approx(14 * min(r["p"] for r in family))
    best = next(r for r in family if (r["method"], r["pooling"]) == ("regress", "grid"))
    assert best["difference"] < 0 and claim_page.shown(best) == 1  # fewer years of error are better


def test_worse_in_one_is_not_general():
    end = {"p_holm": 0.001, "method": "m", "pooling": "grid"}
    rows = [
        end | {"endpoint": "auc-cortical", "difference": 0.1},
        end | {"endpoint": "few-cortical", "difference": -0.1},
    ]
    (found,) = claim_page.verdicts(rows)
    assert not found["general"] and found["worse"] == ["few-cortical"]
    rows[1]["p_holm"] = 0.2
    assert claim_page.verdicts(rows)[0]["general"]


def test_the_page_opens_with_ridge_and_names_what_stands(scored, monkeypatch, tmp_path):
    for name in ("RESULTS", "PAGE", "FOREST"):
        monkeypatch.setattr(claim_page, name, tmp_path / "out" / name.lower())
    claim_page.write(scored, None)
    text = (tmp_path / "out" / "page").read_text(encoding="utf-8")
    reading = text.partition("## Reading")[2].strip().splitlines()
    assert reading[0].startswith("**No network beats ridge regression from voxels to the measures**")
    assert "`regress` (grid) is general and robust" in text and "pooling (grid less average, `regress`) 0.150" in text
    assert "It does not beat `voxel-ridge` in anything." in text and "No real heads were run" in text
    drawing = (tmp_path / "out" / "forest").read_text(encoding="utf-8")
    assert drawing.count("<circle") == drawing.count("<rect") - 1 == 8 * 7
    claim_page.write(None, None)  # again, from what was kept
    assert (tmp_path / "out" / "page").read_text(encoding="utf-8") == text


def test_kernels_of_a_table_of_freesurfer(tmp_path, rng):
    n = 60
    people = [f"sub-{i:02d}" for i in range(n)]
    age, sex = rng.uniform(20, 80, n), rng.choice(["F", "M"], n)
    thick = {f"{h}_{r}_thickness": 3 - 0.02 * age + 0.02 * rng.standard_normal(n) for h in ("lh", "rh") for r in "abc"}
    table = pd.DataFrame({"lh.aparc.thickness": people, **thick, "lh_MeanThickness_thickness": 2.5, "eTIV": 1.5e6})
    write_tsv(tmp_path / "t.tsv", table)
    write_tsv(tmp_path / "p.tsv", pd.DataFrame({"participant_id": people[::-1], "age": age[::-1], "sex": sex[::-1]}))
    found = claim_kernels.run([tmp_path / "t.tsv"], tmp_path / "p.tsv")
    assert (found["people"], found["regions"], found["kinds"]) == (n, 6, ["thickness"])
    kernels = found["kernels"]
    assert kernels["y-aware"]["holds"]["age"]["value"] > 0.9 and kernels["measures"]["holds"]["age"]["value"] > 0.9
    assert kernels["anatcl-z"]["holds"]["age"]["value"] < 0.3  # residual on age
    assert kernels["anatcl-global"]["perplexity"] > 0.99 > kernels["y-aware"]["perplexity"]
    assert kernels["anatcl-global"]["gradient_share"] < 0.1 * kernels["anatcl-z"]["gradient_share"]
    write_tsv(tmp_path / "t.tsv", pd.DataFrame({"id": people, "thick": 1.0}))
    with pytest.raises(InputError, match="lh_bankssts_thickness"):
        claim_kernels.run([tmp_path / "t.tsv"], tmp_path / "p.tsv")
