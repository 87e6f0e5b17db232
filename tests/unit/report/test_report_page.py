"""The page: complete, self-contained, well-formed, the same bytes twice."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anatcl.report.drawing import figures, svg
from anatcl.report.page import gallery, markdown, page, shared
from anatcl.report.records import results
from anatcl.report.records.results import Sources
from anatcl.report.tables import subgroups

Build = Callable[[Path, Path], Sources]
VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Checks nesting; collects ids, links and outside addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [names["id"]] if names.get("id") else []
        self.links += [names["href"]] if names.get("href") else []
        self.sources += [names["src"]] if names.get("src") else []
        if tag == "img":
            assert names.get("alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # an SVG element that closes itself
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(path: Path) -> Outline:
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    assert not parser.open
    return parser


def test_page_is_well_formed_and_every_link_lands(report: tuple[Path, Sources]) -> None:
    found = outline(report[0])
    assert len(found.ids) == len(set(found.ids))
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.ids, link
        elif not link.startswith("data:"):
            assert (report[0].parent / link).is_file(), link


def test_page_asks_nothing_of_the_network(report: tuple[Path, Sources]) -> None:
    assert all(source.startswith("data:") for source in outline(report[0]).sources)
    assert not re.search(r"url\(|@import|https?://", report[0].read_text(encoding="utf-8"))


def test_text_is_escaped(report: tuple[Path, Sources]) -> None:
    text = report[0].read_text(encoding="utf-8")
    assert "A &lt;title&gt; &amp; more" in text
    assert "St <Thomas>" not in text
    assert "cut short <b>" not in text


def test_page_has_every_part(report: tuple[Path, Sources]) -> None:
    wanted = {
        "results",
        "brain-age",
        "training",
        "embeddings",
        "cohort",
        "qc",
        "excluded",
        "notes",
        "runtime",
        "methods",
    }
    assert wanted <= set(outline(report[0]).ids)
    text = report[0].read_text(encoding="utf-8")
    assert text.count('class="qc"') == 28
    assert "Age is missing for 1 scan" in text
    assert "fewer than two classes &lt;here&gt;" in text
    assert "2 left out" in text
    assert text.count("its sform and qform differ") == 1  # equal notes share a row
    assert "sub-01/anat/sub-01, sub-02/anat/sub-02" in text and "Look &lt;it&gt; up." in text
    assert "small: 22 participants" in text
    assert "Leak audit" in text and "Subgroups" in text


def test_the_odd_scan_comes_first_and_says_why(report: tuple[Path, Sources]) -> None:
    text = report[0].read_text(encoding="utf-8")
    assert (
        text.index("Look here: unusual surface area, left insula")
        < text.index("Look here: brain_mask_ml 900")
        < text.index('id="qc-sub-02"')
    )


def test_same_inputs_same_bytes(
    results_dir: Path, report: tuple[Path, Sources], build_report: Build, tmp_path: Path
) -> None:
    page.write_page(build_report(results_dir, tmp_path), tmp_path / "index.html", "A <title> & more")
    assert (tmp_path / "index.html").read_bytes() == report[0].read_bytes()
    for path in (report[0].parent / "tables").iterdir():
        assert path.read_bytes() == (tmp_path / "tables" / path.name).read_bytes()


def test_page_of_nothing_is_still_a_page(tmp_path: Path) -> None:
    page.write_page(Sources(), tmp_path / "index.html", "Empty")
    assert "the evaluation has not run" in (tmp_path / "index.html").read_text()
    outline(tmp_path / "index.html")


@pytest.mark.parametrize("missing", [field.name for field in dataclasses.fields(Sources)])
def test_page_without_one_part(report: tuple[Path, Sources], tmp_path: Path, missing: str) -> None:
    sources = dataclasses.replace(report[1], **{"preprocess": None, missing: None})
    page.write_page(sources, tmp_path / "index.html", "Partial")
    outline(tmp_path / "index.html")


def test_large_cohort_gets_gallery_pages(
    results_dir: Path, build_report: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PER_PAGE", 10)
    page.write_page(build_report(results_dir, tmp_path), tmp_path / "index.html", "Large", gallery_limit=20)
    pages = sorted(tmp_path.glob("index-gallery-*.html"))
    assert len(pages) == 3
    assert sum(path.read_text().count('class="qc"') for path in pages) == 28
    assert (tmp_path / "index.html").read_text().count('class="qc"') == shared.SHOWN_OF_LARGE
    for path in pages:
        outline(path)


def test_pictures_keep_to_their_budget(tmp_path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(0, 255, (900, 1500, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    uri, width, _ = gallery.picture(tmp_path / "noise.png", 45_000)
    assert len(base64.b64decode(uri.partition(",")[2])) <= 45_000
    assert width < 1500


def test_flags_of_the_quality_step_are_shown() -> None:
    quality = {"a": {"flags": ["mask touches the border"], "dice": 0.9}, "b": {"flags": "x; y"}, "c": {"ok": True}}
    found = gallery.unusual(quality, {"b": ["left out"], "d": []})
    assert found == {"a": ["mask touches the border"], "b": ["left out", "x", "y"], "c": [], "d": []}
    assert gallery.shortened(list("abcdef")) == ["a", "b", "c", "d", "and 2 more"]


def test_at_most_a_twentieth_of_normal_scans_is_marked(rng: np.random.Generator) -> None:
    """Skewed numbers have a long tail, measures many columns: neither may mark every second scan."""
    names = [f"sub-{index}" for index in range(400)]
    normal, skewed = rng.normal(size=(400, 8)), rng.lognormal(size=(400, 8))
    columns = np.concatenate([normal, skewed], axis=1)
    quality = {name: {f"n{i}": value for i, value in enumerate(row)} for name, row in zip(names, columns, strict=True)}
    outliers = {name: ["unusual volume"] * int(n) for name, n in zip(names, rng.poisson(1, 400), strict=True)}
    marked = [name for name, lines in gallery.unusual(quality, {}, outliers).items() if lines]
    assert 0 < len(marked) <= 0.05 * 400
    quality["sub-7"]["n0"] = quality["sub-8"]["n1"] = 90.0
    found = gallery.unusual(quality, {"sub-9": ["left out"]}, outliers)
    assert all(found[name] for name in ("sub-7", "sub-8", "sub-9"))


def test_small_pictures_travel_as_they_are(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    uri, width, height = gallery.picture(tmp_path / "a.png", 10_000)
    assert (width, height) == (30, 20)
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == (tmp_path / "a.png").read_bytes()


def test_perplexities_are_averaged_over_folds(results_dir: Path) -> None:
    found = results.perplexities(results_dir / "pretrain").set_index(["method", "kernel"])["share"]
    assert found["y-aware", "anatomy"] == pytest.approx(0.99989)
    assert results.perplexities(None).empty


def test_subgroups_are_arranged_on_the_main_metric() -> None:
    rows = [
        {"method": m, "task": "age", "protocol": "p", "subgroup": g, "metric": metric, "value": v, "low": v, "high": v,
         "n": 9, "n_participants": 9}
        for m in ("untrained", "y-aware") for g, v in (("sex=F", 4.0), ("sex=M", 5.0)) for metric in ("r2", "mae")
        if (m, g) != ("untrained", "sex=M")
    ]  # fmt: skip
    (found,) = subgroups.tables(pd.DataFrame(rows))
    assert found.columns == ["sex=F (n = 9)", "sex=M (n = 9)"]
    assert [name for name, _ in found.rows] == ["y-aware", "untrained"]
    assert found.rows[1][1][1] is None
    assert found.metric.label == "MAE"
    assert subgroups.tables(pd.DataFrame()) == []


def test_predictions_of_repetitions_are_averaged() -> None:
    table = pd.DataFrame({"scan": ["b", "a", "b"], "y_true": [2.0, 1.0, 2.0], "y_pred": [1.0, 5.0, 4.0], "encoder": 0})
    assert results.by_scan(table).to_numpy().tolist() == [["a", 1.0, 5.0], ["b", 2.0, 2.5]]


def test_principal_plane_of_a_line() -> None:
    along = np.linspace(-3, 3, 7)
    plane, share = figures.principal_plane(np.outer(along, [0.6, 0.8, 0.0]))
    np.testing.assert_allclose(plane[:, 0], along, atol=1e-12)
    np.testing.assert_allclose(share, [1, 0], atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 4), (2, 1), (5, 1)])
def test_principal_plane_of_too_little(shape: tuple[int, int]) -> None:
    plane, share = figures.principal_plane(np.ones(shape))
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(share).all()


def test_large_maps_draw_some_of_the_scans(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(figures, "DOTS", 5)
    embedding = results.Embedding(0, np.array([f"s{i}" for i in range(12)]), rng.normal(size=(12, 3)))
    plane = figures.embedding_plane(embedding)
    assert plane.scan.tolist() == ["s0", "s3", "s6", "s8", "s11"]
    assert "5 of 12 scans" in plane.note


def test_scans_that_have_no_row_are_grey(rng: np.random.Generator) -> None:
    plane = figures.Plane(np.array(["a", "x"]), rng.normal(size=(2, 2)), "")
    colours = figures.colouring(pd.Series(["one"], index=["a"], name="site"))
    chart = str(figures.embedding_map(plane, colours, "T").chart)
    assert chart.count('class="dots none"') == chart.count('class="dots c0"') == 1


def test_ticks_are_round_and_inside() -> None:
    assert svg.nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg.nice_ticks(17.2, 83.9) == [20, 40, 60, 80]
    assert svg.nice_ticks(5, 5) == [5]


def test_line_has_a_gap_where_a_value_is_missing() -> None:
    panel = svg.Panel((0, 3), (0, 1))
    assert panel.path([0, 1, 2, 3], [0, np.nan, 1, 1]).count("M") == 2


def test_colouring_of_numbers_and_names() -> None:
    ages = figures.colouring(pd.Series([20, 30, 40, 50, 60, 70, 80, 90, 91, np.nan], name="age"))
    assert (ages.css[0], ages.css[8], ages.css[9]) == ("s0", "s6", "none")
    sites = figures.colouring(pd.Series(["b", "a", None], name="site"))
    assert sites.css.tolist() == ["c1", "c0", "none"]


def test_markdown_escapes_and_keeps_code() -> None:
    html = markdown.to_html("# A <b>\n\nUses `x < y`.\n\n```bibtex\n@a{b & c}\n```\n")
    assert "<h3>A &lt;b&gt;</h3>" in html
    assert "<code>x &lt; y</code>" in html
    assert "@a{b &amp; c}" in html


def test_histories_and_folds_are_ordered_by_number(tmp_path: Path) -> None:
    for fold in (10, 2):
        folder = tmp_path / "m" / f"fold-{fold}"
        folder.mkdir(parents=True)
        (folder / "history.tsv").write_text("epoch\tloss\n0\t1\n")
    assert list(results.histories(tmp_path)["m"]) == [2, 10]


@pytest.mark.slow
def test_two_hundred_scans_stay_under_15_mb(
    build_results: Callable[[Path, int], Path], build_report: Build, tmp_path: Path
) -> None:
    results_dir = build_results(tmp_path, 171)
    page.write_page(build_report(results_dir, tmp_path / "report"), tmp_path / "report" / "index.html", "Large")
    text = (tmp_path / "report" / "index.html").read_text()
    assert text.count('class="qc"') == 200
    assert len(text.encode()) < 15e6


def test_encoders_that_differ_in_their_number_alone_share_a_row_of_the_audit() -> None:
    rows = [("a", "volume", 0, 0), ("a", "volume", 1, 0), ("a", "volume", 2, 3), ("b", "volume", 0, 0)]
    found = page.alike(pd.DataFrame(rows, columns=["method", "check", "encoder", "n_overlap"]))
    shown = found[["method", "encoder", "n_overlap"]].values.tolist()
    assert shown == [["a", "0, 1", 0], ["a", "2", 3], ["b", "0", 0]]
