"""A mend is applied with the versions it was tested with, where its targets are there, and not when turned off."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest
from mends import MENDS, PLAIN, Mend, apply_mends, bounds, catalogue, lift_default_rate, memory, ready
from packaging.specifiers import SpecifierSet

PAGE = Path(__file__).resolve().parents[3] / "docs" / "mends.md"


class Thing:
    """Stands for a class of Snakemake."""

    def work(self) -> int:
        return 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Thing]:
    """A module `fakesnake` with a class of its own, and nothing that turns mends off."""
    module, thing = ModuleType("fakesnake"), type("Thing", (Thing,), {})
    module.Thing = thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fakesnake", module)
    monkeypatch.delenv(PLAIN, raising=False)
    monkeypatch.setattr(bounds, "version", lambda: "9.20.0")
    return thing


def mend(target: str = "fakesnake:Thing", names: tuple[str, ...] = ("work",), versions: str = ">=9.9,<9.28") -> Mend:
    def change(owner: type) -> None:
        owner.work = lambda self: 2  # type: ignore[attr-defined]

    return Mend("a name", "what", "why", versions, {target: names}, change)


def test_a_mend_is_applied_where_everything_fits(fake, caplog):
    assert bounds.apply([mend()]) == ["a name"]
    assert fake().work() == 2
    assert caplog.records == []


@pytest.mark.parametrize(
    ("drift", "sentence"),
    [
        (mend("nosuchsnake.module:Thing"), "there is no nosuchsnake.module:Thing"),
        (mend("fakesnake:Gone"), "there is no fakesnake:Gone"),
        (mend(names=("work", "gone", "lost")), "there is no fakesnake:Thing.gone, fakesnake:Thing.lost"),
    ],
)
def test_what_is_gone_from_snakemake_is_a_warning_and_nothing_is_changed(fake, caplog, drift, sentence):
    assert bounds.apply([drift, mend(names=())]) == ["a name"], "the next mend is applied all the same"
    assert [(r.levelno, sentence in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)]
    assert not drift.applies


def test_a_change_that_fails_is_a_warning(fake, caplog):
    def change(owner: type) -> None:
        raise TypeError("cannot set")

    assert bounds.apply([Mend("a name", "", "", ">=9", {"fakesnake:Thing": ()}, change)]) == []
    assert "TypeError: cannot set" in caplog.text


@pytest.mark.parametrize("version", ["9.8.2", "9.28.0", "10.0.0"])
def test_another_version_is_one_line_for_all_mends(fake, caplog, monkeypatch, version):
    monkeypatch.setattr(bounds, "version", lambda: version)
    caplog.set_level(logging.INFO)
    assert bounds.apply([mend(), mend()]) == []
    assert fake().work() == 1
    (record,) = caplog.records
    assert f"Snakemake {version}" in record.getMessage() and "a name, a name" in record.getMessage()
    assert record.levelno == logging.INFO


def test_the_variable_turns_all_of_them_off(fake, caplog, monkeypatch):
    monkeypatch.setenv(PLAIN, "1")
    caplog.set_level(logging.INFO)
    assert bounds.apply([mend(), mend("fakesnake:Gone")]) == []
    assert fake().work() == 1
    (record,) = caplog.records
    assert PLAIN in record.getMessage()
    assert apply_mends(tell=False) == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize("value", ["", "0"])
def test_an_empty_variable_turns_nothing_off(fake, monkeypatch, value):
    monkeypatch.setenv(PLAIN, value)
    assert bounds.apply([mend()]) == ["a name"]


def test_without_mends_functions_and_scheduler_stay_as_they_are(monkeypatch):
    class Limiter:
        max_jobs, timespan = 100, 1

    def function(wildcards):
        return wildcards

    monkeypatch.setenv(PLAIN, "1")
    assert ready(function) is function
    assert vars(function) == {}
    scheduler = Thing()
    scheduler.job_rate_limiter = Limiter()  # type: ignore[attr-defined]
    lift_default_rate(scheduler)
    assert scheduler.job_rate_limiter is not None  # type: ignore[attr-defined]
    monkeypatch.delenv(PLAIN)
    monkeypatch.setattr(bounds, "version", lambda: "9.20.0")
    assert hasattr(ready(function), "_overwrite_params")
    if catalogue.RATE.applies:
        lift_default_rate(scheduler)
        assert scheduler.job_rate_limiter is None  # type: ignore[attr-defined]


def test_sharing_ends_with_its_first_error(caplog):
    class Job:
        def work(self) -> str:
            return "made"

    asked = []

    def fails(job: Job, result: str) -> None:
        asked.append(result)
        raise AttributeError("no setter")

    memory.follow(Job, "work", fails)
    assert [Job().work(), Job().work()] == ["made", "made"]
    assert asked == ["made"]
    assert len(caplog.records) == 1 and "no setter" in caplog.text


def test_every_mend_has_bounds_within_those_of_the_package():
    for one in MENDS:
        assert all(SpecifierSet(one.versions).contains(version) for version in ("9.16.3", "9.27.0")), one.name
        assert not any(SpecifierSet(one.versions).contains(version) for version in ("9.8.2", "9.28.0")), one.name


def test_the_page_names_every_mend():
    text = PAGE.read_text(encoding="utf-8")
    for one in MENDS:
        assert f"| {one.name} | {one.what} | {one.why} | `{one.versions}` |" in text, one.name
    assert PLAIN in text and text.count("\n| ") == len(MENDS) + 1
