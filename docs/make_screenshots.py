"""Takes the pictures of the pages that these docs and the README show, with Chromium.

Run it after ``make demo``: ``python docs/make_screenshots.py [FOLDER]``, from the folder that the demo ran in. `SHOTS`
says what each picture shows: where on which page it starts, how large, in which colour scheme, on screen or in print
(which needs pdftoppm of poppler-utils).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image

QUALITY = 75  # of WebP: letters stay sharp, at 40 to 100 KB a picture
IMAGES = Path(__file__).resolve().parent / "images"
# Without them Chromium asks the network for updates, and does not start as root.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


HEADS, BENCHMARK = "demo/heads/results/report", "results/report"
A4 = (795, 1124)  # CSS pixels


class Shot(NamedTuple):
    """One picture: the page, the element that it starts at ("": the top), its size, scheme, scale and medium."""

    page: str
    start: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"
    scale: float = 1.0
    medium: Literal["screen", "print"] = "screen"


def phone(page: str) -> Shot:
    """The first screen on a phone."""
    return Shot(page, "", 390, 844, scale=1.5)


def printed(page: str) -> Shot:
    """The first sheet as it is printed."""
    return Shot(page, "", *A4, medium="print")


INDEX, COHORT, PERSON = (
    f"{BENCHMARK}/index.html",
    f"{HEADS}/cohort.html",
    f"{HEADS}/participants/sub-001.html",
)
SHOTS = {
    "report": Shot(INDEX, "", 1080, 1090),
    "report-desktop": Shot(INDEX, "", 1280, 1500),
    "report-phone": phone(INDEX),
    "report-print": printed(INDEX),
    "report-dark": Shot(INDEX, "#anatomy", 1280, 1100, "dark"),
    "report-interpretation": Shot(INDEX, "#interpretation", 1080, 1100),
    "cohort": Shot(COHORT, "", 1280, 1300),
    "cohort-phone": phone(COHORT),
    "cohort-dark": Shot(COHORT, "", 1280, 1100, "dark"),
    "cohort-print": printed(COHORT),
    "report-gallery": Shot(COHORT, "#qc", 1080, 1000),
    "participant": Shot(PERSON, "", 1280, 1500),
    "participant-phone": phone(PERSON),
    "participant-dark": Shot(PERSON, "", 1280, 1100, "dark"),
    "participant-print": printed(PERSON),
}


def take(browser: Any, folder: Path, out: Path) -> list[Path]:
    """Take every picture of `SHOTS` whose page is there in the folder of a run; returns their files."""
    files = []
    for name, shot in SHOTS.items():
        place = folder / shot.page
        if not place.is_file() or (shot.medium == "print" and not shutil.which("pdftoppm")):
            continue
        size = {"width": shot.width, "height": shot.height}
        page = browser.new_page(viewport=size, color_scheme=shot.scheme, device_scale_factor=shot.scale)
        page.goto(place.resolve().as_uri())
        for _ in range(3 if shot.start else 0):
            # What lies above gets its height when it is drawn, and pushes the place down: go there again.
            page.locator(shot.start).evaluate("element => element.scrollIntoView()")
            page.wait_for_timeout(500)
        taken = out / f"{name}.png"
        if shot.medium == "print":
            first_sheet(page, taken)
        else:
            page.screenshot(path=taken)
        page.close()
        files.append(taken.with_suffix(".webp"))
        with Image.open(taken) as picture:
            picture.convert("RGB").save(files[-1], quality=QUALITY, method=6)
        taken.unlink()
    return files


def first_sheet(page: Any, file: Path) -> None:
    """The first sheet of a page as PDF, drawn by poppler at 96 dots per inch."""
    pdf = file.with_suffix(".pdf")
    page.pdf(path=pdf, format="A4", print_background=True)
    command = ["pdftoppm", "-r", "96", "-png", "-f", "1", "-singlefile", str(pdf), str(file.with_suffix(""))]
    subprocess.run(command, check=True)
    pdf.unlink()


def main() -> None:
    """Take the pictures of the demo in the folder that is named on the command line, or here."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no chromium on the PATH (Debian: apt-get install chromium).")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        for file in take(browser, folder, IMAGES):
            sys.stdout.write(f"{file}\n")
        browser.close()


if __name__ == "__main__":
    main()
