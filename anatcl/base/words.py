"""Known words that are like a word that is not known; things that are counted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

PLURALS = {"person": "people", "axis": "axes"}
PREPOSITIONS = ("of", "with", "without", "in", "on", "by", "for", "to", "from", "at", "that")
LISTED = 50  # known words in one sentence
MEANT = {"gpu": "cuda"}  # words that look like another one than they mean


def near(word: str, known: Iterable[str]) -> list[str]:
    """The known words nearest to `word`, best first; none where nothing is like it."""
    words = {text.lower(): text for text in reversed([str(k) for k in known])}
    asked = str(word).lower()
    asked = MEANT.get(asked, asked)
    close = difflib.get_close_matches(asked, words, n=2, cutoff=0.65)
    # A word that begins with what was typed is meant, however much longer it is.
    close += [text for text in words if asked and text.startswith(asked) and text not in close]
    return [words[text] for text in close[:2]]


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known words, or all of them."""
    text = hint(word, known)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"


def hint(word: str, known: Iterable[str]) -> str:
    """As `nearest`, to stand inside a sentence."""
    known = sorted(str(k) or "''" for k in known)
    close = near(word, known)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"known: {', '.join(known[:LISTED])}{more}" if known else "none are known"


def plural(count: int, noun: str) -> str:
    """A number with its noun: ``1 scan``, ``2 usable scans``, ``3 rows of the table``.

    Parameters
    ----------
    count : int
    noun : str
        In the singular. What counts is the last word before a preposition.
    """
    if count == 1:
        return f"1 {noun}"
    words = noun.split(" ")
    ends = (at for at, word in enumerate(words) if at and (word in PREPOSITIONS or word.startswith("(")))
    place = next(ends, len(words)) - 1
    words[place] = _many(words[place])
    return f"{count:,} {' '.join(words)}"


def _many(word: str) -> str:
    if word in PLURALS:
        return PLURALS[word]
    return f"{word}{'es' if word.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def does(count: int, one: str, many: str) -> str:
    """The verb that goes with a number: ``is`` or ``are``, ``has`` or ``have``."""
    return one if count == 1 else many
