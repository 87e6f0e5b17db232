"""Pages that appear before training: one for each participant, one for the cohort."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.cli.main import main
from anatcl.report.drawing import anatomy
from anatcl.report.page import facts, participant
from anatcl.report.records.results import Sources

LIMITS = {"limits": {"cjv": [None, 2.0], "icv_ml": [700, 2400]}, "accept": [], "reject": []}
SCANS = ("sub-01/ses-1/anat/sub-01_ses-1", "sub-01/ses-2/anat/sub-01_ses-2")


class Checked(HTMLParser):
    """Collects ids and links, and checks that every element is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [str(names["id"])] if "id" in names else []
        self.links += [str(names["href"])] if "href" in names else []
        self.open += [] if tag in ("meta", "link", "img", "input", "br") else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # an SVG element that closes itself
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def measured(scan: str, trust: str = "fine") -> pd.DataFrame:
    """The table of a scan with two cortical regions, the hippocampus and the whole brain."""
    rows = [
        ("tiv", "global", np.nan, 1.5e6, np.nan, ""),
        ("gm", "global", np.nan, 6e5, np.nan, ""),
        ("lh_insula", "cortex", 2.9, 6000, 2200, ""),
        ("rh_insula", "cortex", 3.1, 6100, 2300, "tiny"),
        ("lh_hippocampus", "subcortex", np.nan, 4000, np.nan, ""),
    ]
    table = pd.DataFrame(rows, columns=["region", "structure", "thickness_mm", "volume_mm3", "area_mm2", "flags"])
    return table.assign(scan=scan, thickness_trust=trust)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of two scans of one participant; the second one is beyond a limit."""
    for scan, cjv in zip(SCANS, (0.8, 2.5), strict=True):
        write_tsv(tmp_path / "measures" / f"{scan}_atlas-desikan-killiany_measures.tsv", measured(scan))
        write_json(tmp_path / "preprocess" / f"{scan}_desc-qc.json", {"cjv": cjv, "icv_ml": 1500.0, "cnr": 3.0})
        Image.new("RGB", (70, 30)).save(tmp_path / "preprocess" / f"{scan}_desc-qc.png")
    return tmp_path


def written(results: Path, limits: dict | None = None, further: tuple[str, ...] = ()) -> Path:
    tables = sorted(map(str, (results / "measures").rglob("*_measures.tsv")))
    people = {SCANS[0]: {"age": 34.5, "sex": "F", "site": "A & <B>", "session_id": "ses-1", "diagnosis": None}}
    out = results / "report" / "participants"
    words = ["report", "participants", "--tables", *tables, "--preprocess-dir", str(results / "preprocess")]
    words += ["--measures-dir", str(results / "measures"), "--people", json.dumps(people), *further]
    words += ["--limits", json.dumps(limits or LIMITS), "--out-dir", str(out), "--out", str(out / "chunks/0.tsv")]
    assert main(words) == 0
    return out


def test_a_participants_page_has_every_scan_with_what_is_known_of_it(results: Path) -> None:
    out = written(results)
    page = out / "sub-01.html"
    found, text = Checked(page), page.read_text()
    assert {"sub-01_ses-1", "sub-01_ses-2"} <= set(found.ids)
    assert "34.5" in text and "A &amp; &lt;B&gt;" in text
    assert text.count("<img") == 2 and "1500 ml" in text and "600 ml (40%)" in text
    assert "very few voxels: rh_insula" in text
    assert not re.search(r"https?://", text)
    table = read_tsv(out / "chunks" / "0.tsv")
    assert table.to_dict("records") == [{"participant_id": "sub-01", "page": "sub-01.html", "scans": 2, "beyond": 1}]


def test_a_scan_beyond_a_limit_says_which(results: Path) -> None:
    text = (written(results) / "sub-01.html").read_text()
    assert text.count("Left out of the cohort&#39;s tables") + text.count("Left out of the cohort's tables") == 1
    assert "cjv 2.5 is above 2" in text and "1 of 2 scans is left out" in text
    accepted = written(results, LIMITS | {"accept": [SCANS[1]], "reject": [SCANS[0]]})
    text = (accepted / "sub-01.html").read_text()
    assert "rejected after visual inspection" in text and "is above 2" not in text


def test_the_table_of_a_scan_travels_with_the_page(results: Path) -> None:
    page = written(results) / "sub-01.html"
    uris = [link for link in Checked(page).links if link.startswith("data:text/")]
    text = base64.b64decode(uris[0].partition("base64,")[2]).decode()
    assert text.splitlines()[0].startswith("region\tstructure") and "lh_hippocampus" in text


def test_the_same_scans_make_the_same_page(results: Path) -> None:
    first = (written(results) / "sub-01.html").read_bytes()
    assert (written(results) / "sub-01.html").read_bytes() == first


def test_a_page_says_when_the_cohort_takes_its_measures_from_freesurfer(results: Path) -> None:
    assert "of FreeSurfer or FastSurfer" not in (written(results) / "sub-01.html").read_text()
    out = written(results, further=("--freesurfer", "somewhere"))
    assert "of FreeSurfer or FastSurfer" in (out / "sub-01.html").read_text()


def test_surfaces_have_their_numbers_on_the_page(results: Path) -> None:
    sides = {"L": {"euler": 2.0, "thickness_mm": 2.5}, "R": {"euler": 4.0, "thickness_mm": 2.6}}
    write_json(results / "measures" / f"{SCANS[0]}_desc-surfaces_qc.json", {"hemispheres": sides})
    Image.new("RGB", (40, 40)).save(results / "measures" / f"{SCANS[0]}_desc-surfaces_qc.png")
    text = (written(results) / "sub-01.html").read_text()
    assert text.count("<img") == 3 and "thickness mm" in text
    assert participant.surface_rows({"hemispheres": sides})[0] == ("euler", "2", "4")


def test_coarse_voxels_show_ranks_and_no_millimetres() -> None:
    table = measured(SCANS[0], "coarse")
    cortical = table[table["structure"] == "cortex"].set_index("region")
    found = anatomy.scan_map(cortical, "thickness")
    if found is not None:  # surfaces of the optional packages are installed
        assert "rank" in found.title and "lh_insula: 1<" in found.chart and "rh_insula: 2<" in found.chart
    names = [name for name, _ in participant.volume_rows(table, cortical)]
    assert "Mean cortical thickness" not in names
    fine = measured(SCANS[0])
    assert "Mean cortical thickness" in [name for name, _ in participant.volume_rows(fine, cortical)]


def test_limits_in_words() -> None:
    assert [participant.limits_text(pair) for pair in ((1, 2), (None, 2), (0.5, None), None)] == [
        "1 to 2", "at most 2", "at least 0.5", "",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def cohort_page(results_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort's page of the made-up results, with the list of one participant's page."""
    out = tmp_path_factory.mktemp("cohort")
    (out / "participants").mkdir()
    (out / "participants" / "sub-01.html").write_text("a page")
    rows = [("sub-01", "sub-01.html", 2, 1)]
    write_tsv(out / "list.tsv", pd.DataFrame(rows, columns=["participant_id", "page", "scans", "beyond"]))
    words = ["report", "cohort", "--scans", str(results_dir / "bids" / "scans.tsv")]
    words += ["--measures", str(results_dir / "measures" / "measures.tsv")]
    words += ["--reliability", str(results_dir / "measures" / "reliability.tsv")]
    words += ["--preprocess-dir", str(results_dir / "preprocess"), "--measures-dir", str(results_dir / "measures")]
    words += ["--excluded", str(results_dir / "bids" / "excluded.tsv"), "--failures-dir", str(results_dir / "failures")]
    words += ["--notes", str(results_dir / "bids" / "notes.tsv"), "--pages", str(out / "list.tsv")]
    words += ["--options", json.dumps({"bids_dir": "no/where", "preprocess": {"qc": {"cjv": [None, 2.0]}}})]
    words += ["--pages-dir", str(out / "participants"), "--title", "A <cohort>", "--out", str(out / "cohort.html")]
    assert main(words) == 0
    return out / "cohort.html"


def test_the_cohorts_page_is_whole_without_any_training(cohort_page: Path) -> None:
    found, text = Checked(cohort_page), cohort_page.read_text()
    assert {"cohort", "anatomy", "people", "qc", "excluded", "notes", "methods"} <= set(found.ids)
    assert "A &lt;cohort&gt;" in text and "28 in the tables, 2 left out" in text
    assert text.count('class="qc"') == 28
    assert "2 left out, each with the reason" in text and "No overlap." in text
    assert "cjv: at most 2)" in text and "where</dd>" in text
    assert "N4" in text and "Evaluation</h" not in text
    assert not re.search(r"https?://(?!doi)", re.sub(r"(?s)<pre.*?</pre>", "", text))


def test_every_link_of_the_cohorts_page_lands(cohort_page: Path) -> None:
    found = Checked(cohort_page)
    assert "participants/sub-01.html" in found.links
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.ids, link
        elif not link.startswith("data:"):
            assert (cohort_page.parent / link).is_file(), link


def test_facts_name_dataset_and_day(tmp_path: Path) -> None:
    write_json(tmp_path / "bids" / "dataset_description.json", {"Name": "My study"})
    write_json(tmp_path / "results" / "config.json", {"bids_dir": "bids"})
    write_tsv(tmp_path / "measures.tsv", pd.DataFrame({"scan": ["a", "b"]}))
    sources = Sources(
        scans=tmp_path / "scans.tsv", measures=tmp_path / "measures.tsv", config=tmp_path / "results/config.json"
    )
    excluded = pd.DataFrame({"scan": ["c", "c", None], "participant_id": ["x", "x", "y"]})
    found = dict(facts.facts(sources, 3, excluded, facts.of_run(sources)))
    assert found["Dataset"] == "My study" and found["Scans"] == "2 in the tables, 2 left out"
    assert re.fullmatch(r"\d{1,2} \w+ 20\d\d", found["Results of"])
    (tmp_path / "bids" / "dataset_description.json").write_text("{broken")
    assert facts.of_run(sources) == "bids"
    assert [name for name, _ in facts.facts(Sources(), 0, pd.DataFrame(), "")] == ["Made by"]
