"""Takes the pictures of the report that these pages and the README show, with Chromium.

Run it after ``make demo``: ``python docs/make_screenshots.py [results/report/index.html]``. `SHOTS` says what each
picture shows: where on the page it starts, how large, in which colour scheme.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

COLOURS = 128  # as many as a page needs to look right, in half the bytes
IMAGES = Path(__file__).resolve().parent / "images"
# Without them Chromium asks the network for updates, and does not start as root.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


class Shot(NamedTuple):
    """One picture: the element that it starts at ("": the top), its size and scheme, and the page beside the report."""

    start: str
    width: int
    height: int
    scheme: str = "light"
    scale: float = 1.0
    page: str = ""


SHOTS = {
    "report": Shot("", 1080, 1090),
    "report-desktop": Shot("", 1280, 1500),
    "report-phone": Shot("", 390, 844, scale=1.5),
    "report-dark": Shot("#anatomy", 1280, 1100, "dark"),
    "report-interpretation": Shot("#interpretation", 1080, 1100),
    "report-gallery": Shot("#qc", 1080, 1000),
    "cohort": Shot("", 1280, 1300, page="cohort.html"),
    "cohort-phone": Shot("", 390, 844, scale=1.5, page="cohort.html"),
    "participant": Shot("", 1280, 1500, page="participants/sub-001.html"),
    "participant-phone": Shot("", 390, 844, scale=1.5, page="participants/sub-001.html"),
}


def take(browser: Any, report: Path, out: Path) -> list[Path]:
    """Take every picture of `SHOTS` of a report and of the pages beside it that are there; returns their files."""
    files = []
    for name, shot in SHOTS.items():
        place = report.parent / shot.page if shot.page else report
        if not place.is_file():
            continue
        size = {"width": shot.width, "height": shot.height}
        page = browser.new_page(viewport=size, color_scheme=shot.scheme, device_scale_factor=shot.scale)
        page.goto(place.resolve().as_uri())
        for _ in range(3 if shot.start else 0):
            # What lies above gets its height when it is drawn, and pushes the place down: go there again.
            page.locator(shot.start).evaluate("element => element.scrollIntoView()")
            page.wait_for_timeout(500)
        files.append(out / f"{name}.png")
        page.screenshot(path=files[-1])
        page.close()
        with Image.open(files[-1]) as picture:
            picture.convert("RGB").quantize(COLOURS).save(files[-1], optimize=True)
    return files


def main() -> None:
    """Take the pictures of the report that is named on the command line."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no chromium on the PATH (Debian: apt-get install chromium).")
    report = Path(sys.argv[1] if len(sys.argv) > 1 else "results/report/index.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        for file in take(browser, report, IMAGES):
            sys.stdout.write(f"{file}\n")
        browser.close()


if __name__ == "__main__":
    main()
