"""A folder of wheels without content, for pip without a network: what is installed here, each with its requirements.

As the stand-in for conda, a wheel holds a ``.pth`` file that names a folder of links to one installed distribution. Its
metadata, and with it what pip solves, are those of the distribution.
"""

from __future__ import annotations

import re
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import standin

ABOUT = "Wheel-Version: 1.0\nGenerator: anatcl-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make(root: Path) -> Path:
    """Write the wheels of all installed distributions below `root`; return their folder."""
    wheels = root / "wheels"
    wheels.mkdir(parents=True)
    for name, dist in standin.installed().items():
        write(wheels, name, dist, standin.link(name, dist, root))
    return wheels


def write(wheels: Path, name: str, dist: Distribution, links: Path) -> None:
    """Write one wheel."""
    stem = f"{re.sub('[^A-Za-z0-9.]+', '_', name)}-{dist.version}"
    files = {
        f"{name}.pth": f"{links}\n",
        f"{stem}.dist-info/METADATA": dist.read_text("METADATA") or "",
        f"{stem}.dist-info/entry_points.txt": dist.read_text("entry_points.txt") or "",
        f"{stem}.dist-info/WHEEL": ABOUT,
    }
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(wheels / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
