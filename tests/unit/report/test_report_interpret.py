"""Attribution maps: exact where they can be, and pointing at the place that was made to matter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.evaluate.probes import attribution
from anatcl.evaluate.steps import interpret
from anatcl.report.drawing import interpretation, slices
from anatcl.report.page import page
from anatcl.report.records.results import Sources

SHAPE = (7, 8, 9)
TASK = '{"name": "age", "kind": "regression", "target": "age"}'


def test_readout_is_the_probe_as_one_line(rng: np.random.Generator) -> None:
    x = rng.normal(5, 3, (60, 4))
    y = 2 * x[:, 0] - x[:, 2] + 50 + rng.normal(0, 0.1, 60)
    groups = np.arange(60).astype(str)
    readout = attribution.fit_readout(x, y, groups, "regression", "years", 0)
    np.testing.assert_allclose(readout(x), y, atol=0.6)
    binary = attribution.fit_readout(x, (y > 50).astype(int), groups, "binary", "", 0)
    assert binary.unit == "log odds"
    assert np.mean((binary(x) > 0) == (y > 50)) > 0.9


def test_linear_attributions_add_up(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 3))
    readout = attribution.Readout(np.array([1.0, -2.0, 0.5]), 7.0, "years")
    found = attribution.linear_attributions(readout, x, x.mean(axis=0))
    np.testing.assert_allclose(found.sum(axis=1), readout(x) - readout(x.mean(axis=0)))


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
    write_tsv(tmp_path / "folds.tsv", rows[["participant_id"]].assign(fold=np.arange(len(rows)) % 3))
    volumes = torch.from_numpy(np.load(tmp_path / "arrays" / "volumes.npy").astype(np.float32))
    found = Octants().embed(volumes[:, None]).numpy()
    np.savez(tmp_path / "embeddings.npz", scan=rows["scan"].to_numpy(str)[::-1], embedding=found[::-1])
    monkeypatch.setattr("anatcl.pretrain.bundle.load_encoder", lambda folder, packed: (Octants(), {"fold": 1}))
    return tmp_path


def encoder_map(run: Path, **options: Any) -> dict[str, Any]:
    out = run / "maps" / "y-aware_age.npz"
    interpret.interpret_encoder(
        TASK,
        run / "arrays",
        run / "x",
        run / "embeddings.npz",
        run / "folds.tsv",
        out,
        effort=interpret.Effort(device="cpu", **options),
    )
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


def test_multiclass_and_empty_folds_are_refused(run: Path) -> None:
    task = '{"name": "site", "kind": "multiclass", "target": "age"}'
    rows = read_tsv(run / "arrays" / "rows.tsv")
    with pytest.raises(InputError, match="multiclass"):
        interpret.problem_of(task, rows, run / "folds.tsv", 0)
    with pytest.raises(InputError, match="fold 7"):
        interpret.problem_of(TASK, rows, run / "folds.tsv", 7)


def test_a_task_that_the_cohort_cannot_answer_says_so_on_the_page(run: Path) -> None:
    task = '{"name": "dx", "kind": "binary", "target": "diagnosis", "positives": ["AD"], "negatives": ["HC"]}'
    files = (run / "arrays", run / "x", run / "embeddings.npz", run / "folds.tsv")
    interpret.interpret_encoder(task, *files, run / "maps" / "y-aware_dx.npz")
    rows = read_tsv(run / "arrays" / "rows.tsv")
    write_tsv(run / "measures.tsv", rows[["scan", "participant_id"]].assign(thickness_lh_insula=2.5))
    out = run / "maps" / "regional-measures_dx.tsv"
    interpret.interpret_measures(task, run / "arrays" / "rows.tsv", run / "measures.tsv", run / "folds.tsv", out)
    found = interpretation.interpretations(run / "maps")
    assert len(found) == 1 and found[0].encoders == [] and found[0].strongest == []
    page.write_page(Sources(interpretation=run / "maps"), run / "index.html", "Maps")
    assert "no column" in (run / "index.html").read_text()


def test_interpretation_needs_nothing_of_the_page() -> None:
    """A GPU node has torch and the tables' libraries, but no template engine and no imaging."""
    blocked = ("jinja2", "markupsafe", "matplotlib", "PIL", "nibabel", "nilearn")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import anatcl.evaluate.steps.interpret"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_regions_of_the_measures_baseline(results_dir: Path, tmp_path: Path) -> None:
    scans = read_tsv(results_dir / "bids" / "scans.tsv")
    people = scans[["participant_id"]].drop_duplicates()
    write_tsv(tmp_path / "folds.tsv", people.assign(fold=np.arange(len(people)) % 3))
    out = tmp_path / "regional-measures_age.tsv"
    measures = results_dir / "measures" / "measures.tsv"
    interpret.interpret_measures(TASK, results_dir / "bids" / "scans.tsv", measures, tmp_path / "folds.tsv", out)
    found = read_tsv(out).set_index("region")
    assert len(found) == 68
    assert found["people"].unique().tolist() == [27]  # all scans but the one without age
    assert (found["attribution"] <= found[["thickness", "volume", "area"]].sum(axis=1) + 1e-4).all()
    strong = found["attribution"].nlargest(20).index.str[3:]
    assert "insula" not in strong and "transversetemporal" in strong


def test_slices_are_small_and_bright_where_the_map_is(rng: np.random.Generator) -> None:
    import base64
    import io

    from PIL import Image

    average, overlay = np.zeros((20, 24, 18)), np.zeros((20, 24, 18))
    average[3:17, 3:21, 2:16] = 0.7
    overlay[12:16, 16:20, :] = 1.0  # right, in front
    uri, width, height = slices.mosaic(average, overlay)
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        pixels = np.asarray(picture).astype(float)
    assert pixels.shape == (height, width, 3)
    tile = pixels[:, : width // slices.SLICES]
    row, column = np.unravel_index((tile[..., 0] - tile[..., 2]).argmax(), tile.shape[:2])
    assert row < tile.shape[0] / 2 and column > tile.shape[1] / 2


def test_page_shows_the_maps(run: Path) -> None:
    encoder_map(run, people=3)
    table = pd.DataFrame(
        {"region": ["lh_insula", "rh_insula"], "attribution": [1.5, 0.5], "people": 9, "unit": "years"}
    )
    write_tsv(run / "maps" / "regional-measures_age.tsv", table)
    found = interpretation.interpretations(run / "maps")
    assert [one.task for one in found] == ["age"]
    assert found[0].strongest[0] == ("lh_insula", "1.5 years")
    page.write_page(Sources(interpretation=run / "maps"), run / "index.html", "Maps")
    text = (run / "index.html").read_text()
    assert "3 unseen scans; strongest place" in text
    assert text.count('id="lh-lateral-insula"') <= 1
    assert interpretation.interpretations(None) == []
