"""Attribution maps on the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from anatcl.base.files import write_tsv
from anatcl.report.drawing import interpretation, slices
from anatcl.report.page import page
from anatcl.report.records.results import Sources


def test_slices_are_small_and_bright_where_the_map_is(rng: np.random.Generator) -> None:
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


def write_map(folder: Path, rng: np.random.Generator) -> None:
    """What `evaluate interpret` and `interpret-measures` leave for one task."""
    folder.mkdir()
    volume = rng.random((7, 8, 9)).astype(np.float32)
    arrays = {"attribution": volume, "average": volume, "affine": np.eye(4), "people": 3, "unit": "years", "gap": 0.0}
    np.savez(folder / "y-aware_age.npz", **arrays)
    table = pd.DataFrame(
        {"region": ["lh_insula", "rh_insula", "lh_hippocampus"], "attribution": [1.5, 0.5, 9.0],
         "thickness": [1.0, 0.4, np.nan], "people": 9, "unit": "years"}
    )  # fmt: skip
    write_tsv(folder / "regional-measures_age.tsv", table)


def test_page_shows_the_maps(tmp_path: Path, rng: np.random.Generator) -> None:
    write_map(tmp_path / "maps", rng)
    found = interpretation.interpretations(tmp_path / "maps")
    assert [one.task for one in found] == ["age"]
    assert found[0].strongest[:2] == [("lh_hippocampus", "9 years"), ("lh_insula", "1.5 years")]
    assert found[0].regions is None or "hippocampus" not in str(found[0].regions.chart)
    page.write_page(Sources(interpretation=tmp_path / "maps"), tmp_path / "index.html", "Maps")
    text = (tmp_path / "index.html").read_text()
    assert "3 unseen scans; maximum" in text
    assert text.count('id="lh-lateral-insula"') <= 1
    assert interpretation.interpretations(None) == []


def test_a_task_that_the_cohort_cannot_answer_says_so_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "maps" / "y-aware_dx.npz", skipped="no column 'diagnosis' in the scans table.")
    write_tsv(tmp_path / "maps" / "regional-measures_dx.tsv", pd.DataFrame(columns=["region", "attribution"]))
    found = interpretation.interpretations(tmp_path / "maps")
    assert len(found) == 1 and found[0].encoders == [] and found[0].strongest == []
    page.write_page(Sources(interpretation=tmp_path / "maps"), tmp_path / "index.html", "Maps")
    assert "no column" in (tmp_path / "index.html").read_text()
