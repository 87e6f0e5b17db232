"""A configuration without what is wrong in it, so that whatever else is wrong is found in the same run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from anatcl.spec.config import Config
from anatcl.spec.section import Wrong, wrongs

Place = tuple[str | int, ...]
FIXED = {("pretrain", "crop"), ("bids", "voxel_mm")}  # lists whose length is given


class Mended:
    """A configuration from which wrong keys and wrong elements of lists are taken away.

    Parameters
    ----------
    values : mapping
        The user's values.

    Attributes
    ----------
    config : Config
        What is left of it; a key that was taken away has its default.
    wrong : list of Wrong
        What was wrong.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = copy.deepcopy(dict(values))
        self.wrong: list[Wrong] = []
        self.numbers: dict[Place, list[int]] = {}
        self.gone: set[Place] = set()
        self.config = self._mend()

    def of_user(self, place: Place) -> Place:
        """A place in `config` as in the user's own file: elements of lists are counted with the wrong ones."""
        cut = _first_number(place)
        kept = self.numbers.get(place[:cut], [])
        known = cut < len(place) and int(place[cut]) < len(kept)
        return (*place[:cut], kept[int(place[cut])], *place[cut + 1 :]) if known else place

    def is_default(self, place: Place) -> bool:
        """Whether the user's word at `place` was taken away."""
        return any(place[: len(gone)] == gone for gone in self.gone)

    def _mend(self) -> Config:
        while True:
            try:
                return Config.model_validate(self.values)
            except ValidationError as error:
                new = wrongs(Config, error)
                self.wrong += [Wrong(self.of_user(one.place), one.text) for one in new]
                before = copy.deepcopy(self.values)
                # From the end of a list, so that the numbers of the others stay.
                for place in sorted({one.place for one in new}, key=str, reverse=True):
                    self._remove(place)
                if self.values == before:  # nothing that it knows how to take away: the whole section goes
                    self._drop_sections({one.place for one in new})

    def _drop_sections(self, places: set[Place]) -> None:
        """Take away whole sections, or everything: so that each round leaves less."""
        sections = {place[0] for place in places if place}
        self.values = {key: value for key, value in self.values.items() if sections and key not in sections}
        self.gone |= {(section,) for section in sections}

    def _remove(self, place: Place) -> None:
        cut = _first_number(place)
        within, keys = self.values, place[:cut]
        for depth, key in enumerate(keys[:-1]):
            inner = within.get(str(key))
            if not isinstance(inner, dict):  # no section: it goes as a whole
                keys = keys[: depth + 1]
                break
            within = inner
        self._take(within, keys, place[cut:])

    def _take(self, within: dict[str, Any], keys: Place, rest: Place) -> None:
        """Take away a key of a section, or one element of the list that is its value."""
        if not keys:  # about the whole: the one check of this kind
            self.values["deterministic"] = False
            return
        value: Any = within.get(str(keys[-1]))
        shrinks = isinstance(value, list | tuple) and len(value) > 1 and keys not in FIXED
        if rest and shrinks and int(rest[0]) < len(value):
            number = int(rest[0])
            kept = self.numbers.setdefault(keys, list(range(len(value))))
            within[str(keys[-1])] = [*value[:number], *value[number + 1 :]]
            del kept[number]
            return
        self.gone.add(keys)
        if str(keys[-1]) in within:
            del within[str(keys[-1])]
            if not within and len(keys) > 2:  # nothing is left of a mapping inside a section
                self.gone.add(keys[:-1])
        else:  # a key that is missing: its section goes
            self._remove(keys[:-1])


def _first_number(place: Place) -> int:
    return next((n for n, part in enumerate(place) if isinstance(part, int)), len(place))
