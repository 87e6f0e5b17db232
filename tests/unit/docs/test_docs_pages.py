"""The pages: links and pictures exist, drawings are in step with the rules, every page is reached, the site builds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(text):
        if not re.match(r"https?:|mailto:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name}: {link}"


NAMED = re.compile(r"`((?:anatcl|tests|benchmarks|rules|workflow|docs|envs)/[\w./-]+)`")
# In the wheel; the reader's own; another tool's.
NOT_HERE = {
    "anatcl/shipped",
    *(f"anatcl/{name}" for name in ("losses/my_loss.py", "losses/new.py", "evaluate/probes/new.py")),
    *(f"anatcl/spec/{name}/new.yaml" for name in ("tasks", "atlases")),
    "docs/Pipelines/T1_FreeSurfer_Longitudinal.md",
}


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda p: p.name)
def test_named_files_are_there(page: Path) -> None:
    """Files and folders of the repository that a sentence names."""
    named = set(NAMED.findall(page.read_text(encoding="utf-8"))) - NOT_HERE
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert {name: size for name, size in sizes.items() if size > 300_000} == {}


def test_drawings_are_in_step_with_rules_and_imports() -> None:
    sys.path.insert(0, str(DOCS))
    try:
        from make_figures import figures
    finally:
        sys.path.remove(str(DOCS))
    drawn = figures()
    stale = [name for name, text in drawn.items() if (DOCS / "images" / name).read_text(encoding="utf-8") != text]
    assert stale == [], "make them anew: python docs/make_figures.py"


def test_every_page_is_reached() -> None:
    """By the navigation, or by a link of another page."""
    named = re.findall(r"([\w/-]+\.md)", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert [name for name in named if not (DOCS / name).is_file()] == []
    links = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in LINK.findall(page.read_text())
    }
    reached = {(DOCS / name).resolve() for name in named} | links
    assert [page.relative_to(DOCS).as_posix() for page in PAGES if page.resolve() not in reached] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` builds them."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (pip install mkdocs-material)")
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_for_nothing_outside(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="(https?://[^"]+)"', page.read_text())
        assert [url for url in fetched if "canonical" not in url] == [], page.name


@pytest.mark.slow
def test_search_works_from_a_folder(site: Path) -> None:
    """Without a server, on a page below the top: browsers start no Worker there (docs/assets/iframe-worker.js)."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((site / "stages" / "measures.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("DiReCT")
        first = page.locator(".md-search-result__link").first
        assert str(first.get_attribute("href", timeout=60_000)).startswith(site.as_uri())
        browser.close()
