"""The page that may be sent out: no names, no exact ages, no paths, no picture of a single head."""

from __future__ import annotations

import tempfile
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.report.page.page import write_page
from anatcl.report.records import anonymous, results
from anatcl.spec import layout


def write_anonymous(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a finished run without anything that identifies participants.

    Parameters
    ----------
    run : path
        Folder of the run.
    out : path, optional
        The page; by default ``anonymous.html`` beside the report.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        The run has no report yet, or the page would show a name or a path all the same; it is not written then.
    """
    run = Path(run)
    page = Path(out) if out else run / layout.REPORT / "anonymous.html"
    if not (run / layout.REPORT / "benchmark.tsv").is_file():
        raise InputError("there is no report to anonymise.", run / layout.REPORT, "Give the folder of a finished run.")
    scans = results.table(run / layout.INDEX / "scans.tsv")
    with tempfile.TemporaryDirectory() as temporary:
        sources, _ = anonymous.copy_run(run, Path(temporary))
        draft = Path(temporary) / "page.html"
        write_page(sources, draft, _title(run), anonymous=True)
        text = draft.read_text(encoding="utf-8")
        folders = [run.resolve(), (run / layout.RESULTS / "given" / "dataset").resolve(), Path(temporary)]
        if found := anonymous.leaks(text, scans, folders):
            raise InputError(
                f"the page would show {found[0]!r}; it was not written.",
                page,
                "Rename what holds it (a task, a method, a title), and report this.",
            )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return page


def _title(run: Path) -> str:
    config = results.configured(run / layout.SAVED)
    return str((config.get("report") or {}).get("title") or "AnatCL benchmark report")
