"""Notes what the user sees in each case; ``--fault-table FILE`` writes it down as a table.

docs/faults.md is made by: python -m pytest tests/faults --fault-table docs/faults.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import MIDDLE, Exclusion, write

from anatcl.base.files import read_tsv
from anatcl.bids.index import refresh

HEAD = """# Error messages for faulty input

Each row is a tested case and the message for it. An input that cannot be used is refused with the reason and a remedy,
and the rest of the cohort is processed. *kept* and *read as it was meant* mean that there is no message, because
nothing is lost. Paths of temporary folders are shortened to "…".

This page is made by `python -m pytest tests/faults --fault-table docs/faults.md`.
"""
KEY = "user sees"
LONGEST = 600  # characters of a cell


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", metavar="FILE", help="write what the user sees in each case")


def pytest_configure(config: pytest.Config) -> None:
    if target := config.getoption("--fault-table", default=None):
        config.pluginmanager.register(Table(Path(target)))


@pytest.fixture(autouse=True)
def see(request: pytest.FixtureRequest, record_property: Callable, tmp_path: Path) -> Callable[[object], None]:
    """Note what the user reads; modules find it as a function of theirs, too."""

    def note(text: object) -> None:
        words = " ".join(str(text).replace(str(tmp_path), "…").split())
        record_property(KEY, re.sub(r"/\S*pytest-\d+/", "…/", words))

    request.module.see = note
    return note


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with one good participant, and room for a bad one."""
    folder = tmp_path / "data"
    write(folder, "sub-99/anat/sub-99_T1w.nii.gz", MIDDLE)
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-99\t40\n")
    return folder


@pytest.fixture
def only_exclusion(see: Callable[[object], None]) -> Exclusion:
    """Index a dataset: sub-99 must be there, and exactly one row is left out, with everything a user needs."""

    def find(data: Path, out: Path, options: Any = None) -> dict[str, str]:
        scans = refresh(data, out, options)
        assert list(scans["scan"]) == ["sub-99/anat/sub-99"]
        (row,) = read_tsv(out / "excluded.tsv").to_dict("records")
        assert row["stage"] == "bids" and row["reason"].endswith(".") and row["remedy"].endswith(".")
        # A broken link is there as a link; signs that no terminal shows are written out.
        assert os.path.lexists(data / row["file"]) or "\\" in row["file"]
        assert row["participant_id"].startswith("sub-")
        see(f"{row['reason']} {row['remedy']}")
        return row

    return find


class Table:
    """Collects reports in the order of the tests; writes the file at the end. Tests that note nothing have no row."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.rows: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name, _, case = report.nodeid.rpartition("::")[2].removesuffix("]").partition("[")
        title = name.removeprefix("test_").replace("_", " ")
        if text := seen(report):
            self.rows.setdefault(title, {})[case] = text

    def pytest_sessionfinish(self) -> None:
        lines = [HEAD]
        for title, rows in self.rows.items():
            lines += [f"## {title[0].upper()}{title[1:]}", "", *(alone(rows) or table(rows)), ""]
        self.target.write_text("\n".join(lines), encoding="utf-8")


def seen(report: pytest.TestReport) -> str:
    """What the user reads; or why the case was not tried, or that the test failed."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return f"(not tried: {report.longrepr[2].removeprefix('Skipped: ')})"
    if report.failed:
        return "(the test failed)"
    said = dict.fromkeys(str(text) for key, text in report.user_properties if key == KEY)
    return " / ".join(said) if report.when == "call" else ""


def alone(rows: dict[str, str]) -> list[str]:
    """What a test without cases shows, as a quotation; nothing for one with cases."""
    return [f"> {_cell(text)}" for case, text in rows.items() if not case]


def table(rows: dict[str, str]) -> list[str]:
    """One row for each case."""
    cells = [f"| {_cell(case).replace('`', chr(92) + '`')} | {_cell(text)} |" for case, text in rows.items()]
    return ["| case | message |", "|---|---|", *cells]


def _cell(text: str) -> str:
    """Text for a cell; where it is long its middle is left out, because the remedy stands at the end."""
    shown = text if len(text) < LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return re.sub(r"([\\|*\[\]])", r"\\\1", shown).replace("<", "&lt;")
