"""The page in a real browser: sorting, filtering, zoom, no error, no outside request, no sideways scroll."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from anatcl.base.files import write_tsv
from anatcl.report.page import cohort_page, participant
from anatcl.report.records.results import Sources

pytestmark = pytest.mark.slow
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()


class Visit:
    """The page opened in a fresh context; what it complained of and what it asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESKTOP, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = path.as_uri()
        self.page.goto(self.address)

    def column(self, table: str, index: int) -> list[str]:
        """Texts of one column of a table's body."""
        return self.page.locator(f"{table} tbody tr > :nth-child({index})").all_inner_texts()


@pytest.fixture
def visit(browser: Any, report: tuple[Path, Sources]) -> Iterator[Visit]:
    """The report on a desktop."""
    found = Visit(browser, report[0])
    yield found
    found.context.close()


def test_no_complaint_and_no_outside_request(visit: Visit) -> None:
    visit.page.mouse.wheel(0, 20_000)
    visit.page.wait_for_load_state("networkidle")
    assert visit.complaints == []
    assert [url for url in visit.requests if url != visit.address and not url.startswith("data:")] == []


def test_sorting_by_click_and_by_keyboard(visit: Visit) -> None:
    table = "#group-brain_age .forest >> nth=0"
    head = visit.page.locator(table).get_by_role("button", name="Value")
    read = lambda: [  # noqa: E731
        float(text.split()[0].replace("−", "-"))
        for text in visit.page.locator(table).locator("tbody td.num").all_inner_texts()
    ]
    head.click()
    assert read() == sorted(read())
    head.focus()
    visit.page.keyboard.press("Enter")
    assert read() == sorted(read(), reverse=True)
    sorted_head = visit.page.locator(table).locator("th[aria-sort]")
    assert sorted_head.count() == 1
    assert sorted_head.get_attribute("aria-sort") == "descending"


def test_sorting_times_by_seconds_not_by_text(visit: Visit) -> None:
    visit.page.locator("#runtime").get_by_role("button", name="Total").click()
    rules = visit.page.locator("#runtime tbody th").all_inner_texts()
    assert rules == ["pack", "bias_correct", "register"]


def test_filter_by_name_and_by_oddity(visit: Visit) -> None:
    shown = visit.page.locator(".qc:visible")
    assert shown.count() == 28
    visit.page.fill("#qc-filter", "ses-2")
    assert shown.count() == 4
    assert visit.page.inner_text("#qc-shown") == "4 shown"
    visit.page.fill("#qc-filter", "")
    visit.page.check("#qc-odd")
    assert shown.count() == 2


def test_zoom_steps_and_closes(visit: Visit) -> None:
    first = visit.page.locator(".qc").first
    small = first.locator("img").bounding_box()["width"]
    first.locator("figcaption a.zoom").click()
    assert first.locator("img").bounding_box()["width"] > small
    opened = visit.page.evaluate("location.hash")
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.evaluate("location.hash") not in ("", opened)
    visit.page.keyboard.press("Escape")
    assert visit.page.evaluate("location.hash") == "#qc"
    assert first.locator("img").bounding_box()["width"] == pytest.approx(small)


def test_embedding_tabs_need_no_script(browser: Any, report: tuple[Path, Sources]) -> None:
    visit = Visit(browser, report[0], java_script_enabled=False)
    assert visit.page.locator(".tab:visible").count() == 1
    visit.page.locator("label[for=colour-site]").click()
    assert "Thomas" in visit.page.locator(".tab:visible .legend").inner_text()
    assert not visit.page.locator(".gallery-tools").is_visible()  # no dead controls
    assert visit.page.locator("th button").count() == 0
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 640}, DESKTOP], ids=["phone", "narrow", "desktop"])
def test_page_never_scrolls_sideways(browser: Any, report: tuple[Path, Sources], size: Any, scheme: str) -> None:
    visit = Visit(browser, report[0], viewport=size, color_scheme=scheme)
    visit.page.eval_on_selector_all("details", "all => all.forEach((one) => (one.open = true))")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    visit.context.close()


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (element) => { for (let e = element; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255]; };
  const poor = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length || ["SCRIPT", "STYLE", "TITLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ink = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(paper(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.add(`${element.tagName}.${element.getAttribute("class")}: ${style.color}`);
  }
  return [...poor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Any, report: tuple[Path, Sources], scheme: str) -> None:
    visit = Visit(browser, report[0], color_scheme=scheme)
    assert visit.page.evaluate(CONTRAST) == []  # WCAG AA: 4.5 to 1
    visit.context.close()


NAMELESS = """() => {
  const named = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
    || e.title || (e.labels && e.labels.length) || e.querySelector("img[alt]:not([alt=''])");
  const poor = [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
    .filter((e) => e.tabIndex >= 0 && !named(e)).map((e) => e.outerHTML.slice(0, 80));
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((e) => Number(e.tagName[1]));
  levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) poor.push(`h${levels[i - 1]} then h${level}`); });
  if (levels.filter((level) => level === 1).length !== 1) poor.push("not one h1");
  for (const svg of document.querySelectorAll("svg[role=img]"))
    if (!svg.getAttribute("aria-label") && !svg.querySelector("title")) poor.push(svg.outerHTML.slice(0, 80));
  return poor;
}"""


def test_everything_to_reach_has_a_name_and_headings_have_an_order(visit: Visit) -> None:
    assert visit.page.evaluate(NAMELESS) == []


def test_the_pictures_of_the_docs_can_be_taken(
    browser: Any, report: tuple[Path, Sources], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[3] / "docs")
    from make_screenshots import SHOTS, take

    absent = {name for name, shot in SHOTS.items() if shot.start == "#interpretation"}  # the report has none here
    for name in absent:
        monkeypatch.delitem(SHOTS, name)
    for page in {shot.page for shot in SHOTS.values()}:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(report[0], tmp_path / page)
    taken = take(browser, tmp_path, tmp_path)
    printing = shutil.which("pdftoppm") is not None
    assert {file.stem for file in taken} == {n for n, shot in SHOTS.items() if printing or shot.medium != "print"}
    for file in taken:
        shot = SHOTS[file.stem]
        with Image.open(file) as picture:
            assert picture.size == (round(shot.width * shot.scale), round(shot.height * shot.scale))
            assert len(picture.convert("L").getcolors()) > 20, f"{file.stem} shows nothing"


@pytest.fixture(scope="module")
def pages(results_dir: Path, report: tuple[Path, Sources], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The cohort's page, and that of one participant."""
    out, scan = tmp_path_factory.mktemp("pages"), "sub-02/anat/sub-02"
    rows = [("tiv", "global", None, 1.5e6, None), ("lh_insula", "cortex", 2.9, 6000.0, 2200.0)]
    rows += [("rh_insula", "cortex", 3.1, 6100.0, 2300.0)]
    table = pd.DataFrame(rows, columns=["region", "structure", "thickness_mm", "volume_mm3", "area_mm2"])
    write_tsv(out / "measures.tsv", table.assign(scan=scan, flags=["", "tiny", ""]))
    people = {scan: {"age": 40, "site": "A site of a long name"}}
    rules = {"limits": {"template_dice": [0.99, None]}, "accept": [], "reject": []}
    given = participant.Given(people, rules, results_dir / "preprocess", out)
    participant.write_participants([out / "measures.tsv"], given, out / "list.tsv", out / "participants")
    stages = cohort_page.Stages(pages=[out / "list.tsv"], participants=out / "participants")
    cohort_page.write_cohort_page(report[1], stages, out / "cohort.html", "A cohort")
    return [out / "cohort.html", out / "participants" / "sub-02.html"]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_before_training_are_read_on_any_screen(browser: Any, pages: list[Path], size: Any) -> None:
    for path in pages:
        visit = Visit(browser, path, viewport=size)
        visit.page.eval_on_selector_all("details", "all => all.forEach((one) => (one.open = true))")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert visit.complaints == [] and all(url == visit.address or "data:" in url for url in visit.requests)
        assert visit.page.evaluate(NAMELESS) == []
        assert visit.page.evaluate(CONTRAST) == []
        visit.context.close()


def test_from_the_cohort_to_a_participant_and_back(browser: Any, pages: list[Path]) -> None:
    visit = Visit(browser, pages[0])
    visit.page.locator("#people a").first.click()
    assert visit.page.locator("h1").inner_text() == "sub-02"
    assert "is below 0.99" in visit.page.locator(".odd").first.inner_text()
    visit.page.locator(".eyebrow a").click()
    assert visit.page.title() == "Cohort · A cohort"
    visit.context.close()


def test_a_table_is_saved_from_the_page_itself(visit: Visit) -> None:
    with visit.page.expect_download() as download:
        visit.page.locator('a[download="brain_age.csv"]').click()
    assert Path(download.value.path()).read_text().startswith("protocol,method")


def test_rivals_stand_on_the_first_screen_of_a_phone(browser: Any, report: tuple[Path, Sources]) -> None:
    visit = Visit(browser, report[0], viewport=PHONE)
    box = visit.page.locator(".glance td.num").nth(1).bounding_box()
    assert box["y"] + box["height"] <= PHONE["height"] and box["x"] + box["width"] <= PHONE["width"]
    visit.context.close()


def test_a_printed_page_shows_what_is_folded_and_no_controls(visit: Visit) -> None:
    visit.page.emulate_media(media="print")
    assert not visit.page.locator(".gallery-tools").is_visible()
    assert visit.page.locator(".tab:visible").count() == visit.page.locator(".tab").count()
    assert visit.page.pdf()[:5] == b"%PDF-"
