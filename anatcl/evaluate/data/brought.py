"""What encoders that serve every fold say of their pretraining."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from anatcl.base.files import read_json
from anatcl.spec.names import UNKNOWN


@dataclasses.dataclass(frozen=True)
class Brought:
    """What an encoder for all folds records of its pretraining.

    Parameters
    ----------
    people : list of str
        Names or hashes; empty where they are not known.
    cohorts : list of str
        Names of cohorts, or ``unknown``.
    """

    people: list[str]
    cohorts: list[str]

    @property
    def why_not(self) -> str:
        """Why participants cannot be compared."""
        named = [c for c in self.cohorts if c != UNKNOWN]
        if not named:
            return "it is not known on which participants the encoder was pretrained"
        return f"the encoder was pretrained on {', '.join(named)}, whose participants are not listed"


def brought(folder: str | Path) -> dict[int, Brought]:
    """Encoders that serve every fold, ``seed-*/model.json`` of a method; empty where it has one for each fold."""
    found = {}
    for file in sorted(Path(folder).glob("seed-*/model.json")):
        about = read_json(file)
        people = [str(p) for p in about.get("train_participants") or []]
        found[int(file.parent.name.removeprefix("seed-"))] = Brought(people, list(about.get("pretrained_on") or []))
    return found
