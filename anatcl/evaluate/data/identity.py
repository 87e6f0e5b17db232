"""Whether two lists of names can mean the same participants: tables differ by prefix, zeros, case and blanks."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from anatcl.base.people import hashed as digest
from anatcl.base.words import does, plural

HASH = re.compile(r"[0-9a-f]{64}")
PARTS = re.compile(r"[^\W\d_]+|\d+")
WORDS = ("sub", "subj", "subject", "participant")
# A number with so many digits is no chance agreement of two cohorts that count from one.
LONG_NUMBER = 5


def parts(name: str) -> tuple[str, ...]:
    """Letters and numbers of a name, lower case, without leading zeros and the word ``sub``.

    ``sub-0050002``, ``50002``, `` 50002.0`` and ``SUB_50002`` agree; ``002_S_0295`` is ``("2", "s", "295")``.
    """
    text = re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFKC", str(name)).strip().lower())
    found = [p.lstrip("0") or "0" if p.isdigit() else p for p in PARTS.findall(text)]
    return tuple(found[1:] if len(found) > 1 and found[0] in WORDS else found)


def normal(name: str) -> str:
    """One spelling for all spellings of a name."""
    return "-".join(parts(name))


def _without_prefix(name: str) -> tuple[str, str]:
    """Letters that a name begins with, and the rest."""
    found = parts(name)
    first = next((i for i, p in enumerate(found) if p.isdigit()), 0)
    return "-".join(found[:first]), "-".join(found[first:])


def scheme(name: str) -> str:
    """How a name is built: ``sub-0012`` and ``7`` are ``#``, ``IXI002-Guys`` is ``ixi-#-@``."""
    found = parts(name)
    return "-".join("#" if p.isdigit() else (p if i == 0 else "@") for i, p in enumerate(found))


def spellings(name: str) -> set[str]:
    """Usual spellings of a name, to be hashed."""
    text = str(name).strip()
    bare = re.sub(r"^sub-", "", text, flags=re.IGNORECASE)
    number = bare.lstrip("0") or bare
    found = {str(name), text, bare, number, f"sub-{bare}", f"sub-{number}", normal(name)}
    return found | {s.lower() for s in found} | {s.upper() for s in found}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two lists of names say about each other.

    Attributes
    ----------
    same : list of str
        Tested participants who were trained on.
    unsure : list of str
        Tested participants whose number was trained on under another prefix.
    comparable : bool
        False where the lists name participants in different ways, so that no overlap proves nothing.
    """

    same: list[str]
    unsure: list[str]
    comparable: bool

    @property
    def why_not(self) -> str:
        """Why no overlap by name is no proof of none; empty where it is."""
        if self.unsure:
            who = f"{plural(len(self.unsure), 'participant')} {does(len(self.unsure), 'has', 'have')}"
            return f"{who} a number that was trained on under another prefix"
        return "" if self.comparable else "the two lists name participants in different ways"


def compare(trained: Iterable[str], tested: Iterable[str], aliases: Mapping[str, str] | None = None) -> Comparison:
    """Compare two lists of names.

    Parameters
    ----------
    trained : iterable of str
        Names, or SHA-256 of names.
    tested : iterable of str
        Names.
    aliases : mapping, optional
        Other names of tested participants, those of pretraining.
    """
    known, people, other = sorted(set(map(str, trained))), sorted(set(map(str, tested))), aliases or {}
    hashes = {t for t in known if HASH.fullmatch(t)}
    named = [t for t in known if t not in hashes]
    forms = Forms(named, people)
    same = []
    for person in people:
        names = {person, str(other.get(person, person))}
        hashed = bool(hashes) and any(digest(s) in hashes for n in names for s in spellings(n))
        if hashed or any(forms.trained(n) for n in names):
            same.append(person)
    rest = [p for p in people if p not in set(same) and p not in other]
    far, near = _by_number(named, rest)
    both = {scheme(t) for t in named} & {scheme(str(other.get(p, p))) for p in people}
    same = sorted({*same, *far})
    return Comparison(same, near, bool(both or hashes or same) and bool(known))


class Forms:
    """Trained names by every spelling, and exactly where a list itself tells two spellings apart."""

    def __init__(self, named: Collection[str], people: Collection[str]) -> None:
        self.exact = set(named)
        counts = [Counter(map(normal, names)) for names in (named, people)]
        self.normal = {n for n in counts[0] if max(c[n] for c in counts) == 1}

    def trained(self, name: str) -> bool:
        """Whether a name was trained on."""
        return name in self.exact or normal(name) in self.normal


def _by_number(named: Collection[str], people: Collection[str]) -> tuple[list[str], list[str]]:
    """Tested participants whose number was trained on under another prefix: surely the same (long numbers), or perhaps.

    A prefix that both lists use tells people apart (``patient01``, ``control01``) and does not count as another.
    """
    of_number: dict[str, set[str]] = {}
    for name in named:
        prefix, number = _without_prefix(name)
        of_number.setdefault(number, set()).add(prefix)
    prefixes = set().union(*of_number.values())
    sure, perhaps = [], []
    for person in people:
        prefix, number = _without_prefix(person)
        others = of_number.get(number, set()) - {prefix}
        if number and others and "" in (prefix, *others) and len(number.replace("-", "")) >= LONG_NUMBER:
            sure.append(person)
        elif number and others and prefix not in prefixes:
            perhaps.append(person)
    return sure, perhaps
