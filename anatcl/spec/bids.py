"""Which scans are asked for, and how the tables beside them are read."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from anatcl.base.errors import InputError

# Long names of the BIDS specification to the short ones in file names.
ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "run": "run",
    "echo": "echo",
    "part": "part",
    "chunk": "chunk",
}
INDICES = ("run", "echo", "chunk")
ABSENT = "n/a"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to index; every field has a default that takes the whole dataset.

    Attributes
    ----------
    include : tuple of str
        Participants to take, as names or glob patterns, with or without ``sub-``; all when empty.
    exclude : tuple of str
        Participants to leave out, in the same form; they are named in ``excluded.tsv``.
    query : str
        pandas query over ``scans.tsv``, such as ``"age >= 18 and site == 'HH'"``.
    entities : dict of str to tuple of str
        Values to take of an entity (``session``, ``acq``, ``run`` ...), glob patterns; ``n/a`` is a scan without it.
    runs : {'all', 'first'}
        Several runs of one session: take all, or the first usable one.
    columns : dict of str to str
        Name here (``age``, ``sex``, ``site``, ``participant_id``, ``session_id``, any other) to name in the dataset's
        tables.
    sex_levels : dict of str to str
        Codes of the sex column to ``M`` or ``F``, where ``participants.json`` does not say (``{"1": "M"}``).
    units : dict of str to str
        Unit of a column (``age``, a head size), by its name here or in the dataset, where its JSON file does not say.
    missing : dict of str to tuple of str
        Codes for missing of a column, by its name here or in the dataset; ``*`` stands for all columns.
    unoriented : {'exclude', 'accept'}
        What becomes of a scan whose header does not say how it is oriented.
    verify : {'quick', 'full'}
        ``quick`` compares the header with the file's length; ``full`` also decompresses every file and checks its sum.
    voxel_mm : tuple of float
        Smallest and largest voxel side that is accepted, in mm.
    min_extent_mm : float
        Smallest field of view along each axis, in mm; 0 accepts any.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    query: str = ""
    entities: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    runs: str = "all"
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sex_levels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unoriented: str = "exclude"
    verify: str = "quick"
    voxel_mm: tuple[float, float] = (0.2, 6.0)
    min_extent_mm: float = 60.0

    def __post_init__(self) -> None:
        entities = {_entity(k): _texts(f"entities.{k}", v) for k, v in _mapping("entities", self.entities).items()}
        clean = {
            "include": _texts("include", self.include),
            "exclude": _texts("exclude", self.exclude),
            "query": self.query or "",
            "entities": entities,
            "columns": _named("columns", self.columns),
            "sex_levels": {k: _sex(v) for k, v in _named("sex_levels", self.sex_levels).items()},
            "units": _named("units", self.units),
            "missing": {k: _codes(f"missing.{k}", v) for k, v in _mapping("missing", self.missing).items()},
            "voxel_mm": _interval(self.voxel_mm),
        }
        for name, value in clean.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.query, str):
            raise InputError(f"query must be text, not {self.query!r}.")
        _choice("runs", self.runs, ("all", "first"))
        _choice("unoriented", self.unoriented, ("exclude", "accept"))
        _choice("verify", self.verify, ("quick", "full"))
        if not isinstance(self.min_extent_mm, int | float) or not self.min_extent_mm >= 0:
            raise InputError(f"min_extent_mm must be a length of 0 mm or more, not {self.min_extent_mm!r}.")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Options:
        """Make options from a mapping such as a config section; ``None`` stands for the default.

        Raises
        ------
        InputError
            A key is unknown (its nearest neighbour is named) or a value has the wrong type.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in _mapping("options", values):
            if key not in known:
                raise InputError(f"unknown option {key!r}.", remedy=nearest(key, known))
        return cls(**{key: value for key, value in values.items() if value is not None})

    def plain(self) -> dict[str, Any]:
        """Return the options as JSON data."""
        return dataclasses.asdict(self)

    def limits(self) -> list[Any]:
        """Return what the verdict over one image depends on."""
        return [self.verify, *self.voxel_mm, self.min_extent_mm, self.unoriented]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known word, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def matches(value: str, patterns: Iterable[str], prefix: str = "") -> bool:
    """Say whether `value` fits one of the glob patterns; either side may carry `prefix` (``sub-``)."""
    bare = value.removeprefix(prefix)
    return any(fnmatch.fnmatchcase(bare, pattern.removeprefix(prefix)) for pattern in patterns)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be a mapping of names to values, not {value!r}.")
    return {str(key): item for key, item in value.items()}


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """A list of names; one name alone will do, and YAML's numbers (``run: [1]``) are taken as text."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str | int) else value
    if not isinstance(items, list | tuple) or any(isinstance(i, bool) or not isinstance(i, str | int) for i in items):
        raise InputError(f"{name} must be a list of names, not {value!r}.")
    return tuple(str(item) for item in items)


def _codes(name: str, value: Any) -> tuple[str, ...]:
    """Codes of a column: a list of texts and numbers, or one alone."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(i, bool) or not isinstance(i, str | int | float) for i in items):
        raise InputError(f"{name} must be a list of codes, not {value!r}.")
    return tuple(str(item) for item in items)


def _named(name: str, value: Any) -> dict[str, str]:
    pairs = _mapping(name, value)
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in pairs.values()):
        raise InputError(f"{name} must map names to names, not {value!r}.")
    return {key: str(item) for key, item in pairs.items()}


def _entity(name: str) -> str:
    short = ENTITIES.get(name, name)
    if short not in ENTITIES.values() or short == "sub":
        usable = [entity for entity in ENTITIES if entity != "subject"]
        raise InputError(f"unknown entity {name!r} in entities.", remedy=nearest(name, usable))
    return short


def _sex(value: str) -> str:
    if value not in ("M", "F", ABSENT):
        raise InputError(f"sex_levels must map codes to M, F or n/a, not to {value!r}.")
    return value


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be {' or '.join(allowed)}, not {value!r}.")


def _interval(value: Any) -> tuple[float, float]:
    try:
        low, high = (float(item) for item in value)
    except (TypeError, ValueError):
        raise InputError(f"voxel_mm must be two lengths in mm, not {value!r}.") from None
    if not 0 < low < high:
        raise InputError(f"voxel_mm must be a smaller and a larger length in mm, not {value!r}.")
    return low, high
