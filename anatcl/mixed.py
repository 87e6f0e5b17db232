"""Whether files of the authors' package `anatcl`, which has our import name, lie over ours.

Installed after this package, theirs replaces ``anatcl/__init__.py`` and ``anatcl/models/__init__.py``. Everything
of ours that is imported passes here first, so that the reason is a sentence and not a missing name somewhere.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
THEIRS = "anatcl.py"  # a file of theirs that is none of ours
REPLACED = ("__init__.py", "models/__init__.py")
MARKS = ("from anatcl.anatcl import AnatCL", "from .resnet3d import", "from anatcl.models.resnet3d import")
CURE = (
    "Run: pip uninstall -y anatcl anatcl-workflow && pip install anatcl-workflow. "
    "`from anatcl import AnatCL` works without the other package."
)


def replaced(package: Path = PACKAGE) -> list[str]:
    """Files of ours in whose place files of the authors' package lie."""
    if not (package / THEIRS).is_file():
        return []
    return [name for name in REPLACED if any(mark in _text(package / name) for mark in MARKS)]


def why_mixed(package: Path = PACKAGE) -> str:
    """Say that files of two packages are mixed in a folder; empty when they are not.

    Parameters
    ----------
    package : Path
        Folder of the package ``anatcl``.
    """
    if not (package / THEIRS).is_file():
        return ""
    over = replaced(package)
    files = f"and has replaced {' and '.join(over)}" if over else f"and left {THEIRS} among our files"
    return f"{package}: the authors' package `anatcl` is installed in the same folder {files}. {CURE}"


def refuse_mixed(package: Path = PACKAGE) -> None:
    """Raise ImportError with the sentence of `why_mixed` where files of ours were replaced."""
    if replaced(package):
        raise ImportError(why_mixed(package))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
