"""What embeddings hold and what changed scans cost, on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.files import write_tsv
from anatcl.report.drawing import held
from anatcl.report.page import page
from anatcl.report.records.results import Sources


def write_decoded(path: Path, method: str, r2: float) -> str:
    """What `evaluate decode` leaves."""
    about = {"method": method, "n": 40, "n_participants": 38, "seeds": 2, "adjusted": "age sex", "flags": ""}
    rows = [("all", "all", r2), ("thickness", "all", r2), ("volume", "all", r2 - 0.1)]
    rows += [("thickness", "lh_insula", r2 + 0.1), ("thickness", "rh_insula", -0.3), ("volume", "lh_insula", r2)]
    made = [about | {"measure": m, "region": r, "r2": v, "low": v - 0.05, "high": v + 0.05} for m, r, v in rows]
    write_tsv(path, pd.DataFrame(made))
    return str(path)


def write_refused(path: Path) -> str:
    row = {"method": "untrained", "measure": "all", "region": "all", "r2": np.nan, "flags": "too few <people>"}
    write_tsv(path, pd.DataFrame([row | {"low": np.nan, "high": np.nan, "n_participants": np.nan, "adjusted": ""}]))
    return str(path)


def write_shaken(path: Path, method: str) -> str:
    """What `evaluate perturbed` leaves for one task."""
    about = {"method": method, "task": "sick", "metric": "roc_auc", "clean": 0.8, "n": 40}
    rows = [("gain", -0.25, -0.31, -0.19), ("blur", 0.0, np.nan, np.nan)]
    made = [about | {"perturbation": k, "value": 0.8 + c, "change": c, "low": a, "high": b} for k, c, a, b in rows]
    write_tsv(path, pd.DataFrame(made))
    return str(path)


def test_tables_and_maps_of_what_is_held(tmp_path):
    files = [write_decoded(tmp_path / f"{m}.tsv", m, r) for m, r in (("voxel-ridge", 0.4), ("anatcl-z", 0.2))]
    found = held.decoded([*files, write_refused(tmp_path / "u.tsv"), str(tmp_path / "none.tsv")])
    assert found is not None
    assert [method for method, _ in found.rows] == ["anatcl-z", "voxel-ridge"]  # the order of all tables
    assert found.kinds == ["all", "thickness", "volume"] and found.people == 38 and found.adjusted == "age, sex"
    assert found.rows[0][1][2]["r2"] == 0.1
    assert found.refused == [("Untrained encoder", "too few <people>")]
    assert [m.title for m in found.maps] == ["AnatCL-z", "Voxel ridge"] and "below 0 drawn as 0" in found.maps[0].note
    assert held.decoded([]) is None and held.shaken([]) == []


def test_the_page_shows_both_and_neither_where_nothing_was_asked(tmp_path):
    sources = Sources(
        decoded=[write_decoded(tmp_path / "d.tsv", "anatcl-z", 0.2), write_refused(tmp_path / "u.tsv")],
        perturbed=[write_shaken(tmp_path / "p.tsv", "anatcl-z")],
    )
    page.write_page(sources, tmp_path / "page.html", "Held")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "What the embeddings hold of the measures" in text and "0.20 [0.15, 0.25]" in text
    assert "too few &lt;people&gt;" in text and "R²" in text
    assert "What is lost when scans are changed" in text and "−0.25 [−0.31, −0.19]" in text and ">0.00<" in text
    page.write_page(Sources(), tmp_path / "empty.html", "Nothing")
    empty = (tmp_path / "empty.html").read_text(encoding="utf-8")
    assert 'id="held"' not in empty and 'id="perturbed"' not in empty
