"""What two sides of a join have not in common, in one sentence with the likely repair."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

from anatcl.base.words import does, plural

# What people write differently, in the order in which a repair is sought.
REPAIRS: dict[str, Callable[[str], str]] = {
    "blanks": lambda name: re.sub(r"\s+", "", name),
    "invisible characters": lambda name: re.sub(r"[\u00ad\u200b-\u200f\u2060\ufeff]+", "", name),
    "letter case": str.lower,
    "prefix": lambda name: re.sub(r"\b(sub|ses)[-_.\u2010-\u2015\u2212]|\b(sub|ses)(?=\d)", "", name),
    "leading zeros": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
    "a decimal ending (.0)": lambda name: re.sub(r"\.0+\b", "", name),
    "hyphens, underscores or dots": lambda name: re.sub(r"[-_.\u2010-\u2015\u2212]+", "", name),
}


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """What found no partner.

    Attributes
    ----------
    left, right : list of str
        Names that only one side has, sorted.
    total_left, total_right : int
        How many different names each side has.
    repair : str
        What most likely differs (``leading zeros``); empty when nothing simple makes them equal.
    example : tuple of str
        A name of either side that the repair makes equal.
    """

    left: list[str]
    right: list[str]
    total_left: int
    total_right: int
    repair: str = ""
    example: tuple[str, str] | tuple[()] = ()

    @property
    def matched(self) -> int:
        """Names that both sides have."""
        return self.total_left - len(self.left)

    def sentence(self, left: str, right: str) -> str:
        """Say what found no partner; empty when the left side is complete.

        Parameters
        ----------
        left, right : str
            What a name of the left side stands for (``session with scans``), and those of the right (``rows of the
            table``).
        """
        if not self.left:
            return ""
        have, there = does(len(self.left), "has", "have"), plural(self.total_left, left)
        text = f"{len(self.left)} of {there} {have} no match among the {right}: {some(self.left)}."
        return text + self.hint()

    def hint(self) -> str:
        """The likely repair with an example, as a sentence after a blank; empty without one."""
        if not self.example:
            return ""
        ours, theirs = self.example
        return f" They differ in {self.repair}: {ours!r} here, {theirs!r} there."

    def cure(self) -> str:
        """What to do, as a sentence."""
        return "Spell both the same way." if self.example else "Compare the names of both sides."


def compare(left: Iterable[str], right: Iterable[str]) -> Mismatch:
    """Compare the names of two sides of a join."""
    ours, theirs = set(map(str, left)), set(map(str, right))
    only_left, only_right = sorted(ours - theirs), sorted(theirs - ours)
    repair, example = _repair(only_left, only_right)
    return Mismatch(only_left, only_right, len(ours), len(theirs), repair, example)


def _repair(left: Sequence[str], right: Sequence[str]) -> tuple[str, tuple[str, str] | tuple[()]]:
    """The smallest change that makes two names equal: one alone, else all, told by those that matter."""
    if not left or not right:
        return "", ()
    for name, change in REPAIRS.items():
        if pair := _meeting(left, right, change):
            return name, pair
    pair = _meeting(left, right, _everything)
    if not pair:
        return "", ()
    return " and ".join(name for name in REPAIRS if _needed(name, *pair)) or "spelling", pair


def _meeting(left: Sequence[str], right: Sequence[str], change: Callable[[str], str]) -> tuple[str, str] | tuple[()]:
    known = {change(name): name for name in reversed(right)}
    return next(((name, known[change(name)]) for name in left if change(name) in known), ())


def _everything(name: str, without: str = "") -> str:
    for repair, change in REPAIRS.items():
        name = name if repair == without else change(name)
    return name


def _needed(repair: str, ours: str, theirs: str) -> bool:
    return _everything(ours, repair) != _everything(theirs, repair)


def some(names: Sequence[str], limit: int = 5) -> str:
    """Join names, and count those beyond the first few."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
