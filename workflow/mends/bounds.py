"""When a mend is applied: with the versions it was tested with, where what it replaces is there, unless turned off."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet

log = logging.getLogger("snakemake.logging")  # Snakemake shows what is written to its own logger

PLAIN = "ANATCL_PLAIN_SNAKEMAKE"


@dataclass(frozen=True)
class Mend:
    """One change of Snakemake.

    Attributes
    ----------
    name : str
        As the log and the page of mends call it.
    what, why : str
        What it does and what that saves, for the page of mends.
    versions : str
        Versions of Snakemake it was tested with, as in a requirement.
    targets : mapping of str to tuple of str
        Classes or functions of Snakemake it needs, as ``module:Name``, and the attributes it replaces or reads there.
    change : callable, optional
        Makes the change when the rules are read; it is given the targets in order.
    """

    name: str
    what: str
    why: str
    versions: str
    targets: Mapping[str, tuple[str, ...]]
    change: Callable[..., None] | None = None

    def fits(self, version: str) -> bool:
        """Whether the mend was tested with this version."""
        return SpecifierSet(self.versions).contains(version, prereleases=True)

    @functools.cached_property
    def absent(self) -> list[str]:
        """What of its targets this Snakemake does not have."""
        return [gone for target, names in self.targets.items() for gone in lacking(target, names)]

    @property
    def applies(self) -> bool:
        """Whether it is applied in this process."""
        return not plain() and self.fits(version()) and not self.absent


def plain() -> bool:
    """Whether the user wants Snakemake as it is."""
    return os.environ.get(PLAIN, "0") not in ("", "0")


@functools.cache
def version() -> str:
    """Version of the Snakemake that runs."""
    return str(importlib.import_module("snakemake").__version__)


def find(target: str) -> Any:
    """The class or function at ``module:Name``; None where there is none."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def lacking(target: str, names: Iterable[str]) -> list[str]:
    """The target itself or those of its attributes that are not there, in words."""
    owner = find(target)
    if owner is None:
        return [target]
    return [f"{target}.{name}" for name in names if not hasattr(owner, name)]


def apply(mends: Iterable[Mend], tell: bool = True) -> list[str]:
    """Make the changes that can be made; say in one line each which were left out for what reason.

    Parameters
    ----------
    mends : iterable of Mend
    tell : bool
        Write the lines; the process that plans does, those of its jobs do not.

    Returns
    -------
    list of str
        Names of the mends that are in force.
    """
    lines, made = _make(list(mends))
    for level, line in lines if tell else []:
        # One text: Snakemake writes what it is given as it stands, without putting arguments in.
        log.log(level, f"{line} The plan is the same, but planning takes longer (docs/mends.md).")
    return made


def _make(mends: list[Mend]) -> tuple[list[tuple[int, str]], list[str]]:
    if plain():
        return [(logging.INFO, f"{PLAIN} is set: Snakemake is used as it is.")], []
    strange = [mend.name for mend in mends if not mend.fits(version())]
    lines: list[tuple[int, str]] = []
    if strange:
        lines.append((logging.INFO, f"Not tested with Snakemake {version()} and left out: {', '.join(strange)}."))
    made = []
    for mend in mends:
        if not mend.fits(version()):
            continue
        if why := _hindrance(mend):
            lines.append((logging.WARNING, f"The patch '{mend.name}' to Snakemake {version()} is left out: {why}."))
        else:
            made.append(mend.name)
    return lines, made


def _hindrance(mend: Mend) -> str:
    """Make one change; return what hinders it."""
    if mend.absent:
        return f"there is no {', '.join(mend.absent)}"
    try:
        if mend.change is not None:
            mend.change(*(find(target) for target in mend.targets))
    except Exception as error:  # whatever a changed Snakemake raises, the plan goes on without the mend
        return f"{type(error).__name__}: {error}"
    return ""
