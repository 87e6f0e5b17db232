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

HEAD = """# What goes wrong, and what you see

Made by `python -m pytest tests/faults --fault-table docs/faults.md`; every row is a test. *kept* means that the input
is used, with a remark where one stands; *refused* means that a sentence names the file and the remedy and the rest of
the cohort goes on. A verdict of *skipped* gives the reason.

"""
KEY = "user sees"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", metavar="FILE", help="write what the user sees in each case")


def pytest_configure(config: pytest.Config) -> None:
    if target := config.getoption("--fault-table", default=None):
        config.pluginmanager.register(Table(Path(target)))


@pytest.fixture(autouse=True)
def see(request: pytest.FixtureRequest, record_property: Callable, tmp_path: Path) -> Callable[[object], None]:
    """Note what the user reads; modules find it as a function of theirs, too."""

    def note(text: object) -> None:
        words = re.sub(rf"{re.escape(str(tmp_path))}(/\w+)?", "…", str(text))
        record_property(KEY, re.sub(r"/\S*pytest-\S+?(?=[\s:;,]|$)", "…", " ".join(words.split())))

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
    """Collects reports in the order of the tests; writes the file at the end."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.rows: dict[str, list[tuple[str, str, str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.when == "setup" and report.skipped):
            name, _, case = report.nodeid.rpartition("::")[2].partition("[")
            said = dict.fromkeys(str(text) for key, text in report.user_properties if key == KEY)
            if report.skipped:
                said = {str(report.longrepr[2]).removeprefix("Skipped: "): None}  # type: ignore[index]
            title = name.removeprefix("test_").replace("_", " ")
            self.rows.setdefault(title, []).append((case.removesuffix("]"), " / ".join(said), report.outcome))

    def pytest_sessionfinish(self) -> None:
        lines = [HEAD]
        for title, rows in self.rows.items():
            lines += [f"## {title[0].upper()}{title[1:]}\n", "| case | what the user sees | verdict |", "|---|---|---|"]
            for row in rows:
                cells = (_cell(text) or "–" for text in row)
                lines.append(f"| {' | '.join(cells)} |")
            lines.append("")
        self.target.write_text("\n".join(lines), encoding="utf-8")


def _cell(text: str) -> str:
    shown = text if len(text) < 400 else text[:397] + "..."
    return shown.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("$", "\\$")
