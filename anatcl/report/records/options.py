"""Options of a run for the methods text: which ones differ from their defaults, and what they say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anatcl.base.errors import InputError
from anatcl.spec.bids import Bids, Participants
from anatcl.spec.encoders import FineTuning
from anatcl.spec.imaging import Measures, Preprocess
from anatcl.spec.protocol import Design, load_design
from anatcl.spec.section import Section
from anatcl.spec.task import Task, load_task
from anatcl.spec.training import Common, Further

OF_TASKS, OF_PROTOCOLS = "task", "protocol"  # begin the names of options that every task, every protocol has

# Sections by their names. A step must not read the whole configuration (anatcl.spec.config): every new key would run it
# again. Of options that stand there no default is known here; they count as asked for when they are not empty.
SECTIONS: dict[str, type[Section]] = {
    "participants": Participants,
    "bids": Bids,
    "preprocess": Preprocess,
    "measures": Measures,
    "pretrain": Common,
    "pretrain.options": Further,
    "evaluate.finetune": FineTuning,
    OF_TASKS: Task,
    OF_PROTOCOLS: Design,
}
NESTED = ("preprocess.skullstrip", "pretrain.options", "evaluate.finetune")  # sections within sections
COUNTED = ("participants.include", "participants.exclude", "preprocess.accept", "preprocess.reject")  # people's names
RANGES = ("bids.voxel_mm",)  # lowest and highest value
NAMED = ("evaluate.features", "evaluate.encoders", "evaluate.own", "pretrain.own")  # of what the user names, the names


@dataclasses.dataclass(frozen=True)
class Options:
    """Options by dotted name; of tasks and protocols all values that occur.

    Parameters
    ----------
    values : dict of str to list
        ``pretrain.options.ema`` to its values, each once.
    """

    values: dict[str, list[Any]]

    def asks(self, wanted: str | Mapping[str, Any]) -> bool:
        """Whether an option differs from its default (its name alone is given), or has a value (``{name: value}``)."""
        if isinstance(wanted, str):
            said = self.values.get(wanted, ())
            return any(value != defaults()[wanted] for value in said) if wanted in defaults() else any(said)
        return all(value in self.values.get(name, ()) for name, value in wanted.items())

    def facts(self) -> dict[str, str]:
        """Values in words by name, dots as underscores; of tasks and protocols those that are not the default.

        What has no value has no words.
        """
        found = {}
        for name, values in self.values.items():
            shared = name.startswith((f"{OF_TASKS}.", f"{OF_PROTOCOLS}."))
            told = [_said(name, value) for value in values if not shared or value != defaults().get(name)]
            if any(told):
                found[name.replace(".", "_")] = ", ".join(dict.fromkeys(told))
        return found


def _said(name: str, value: Any) -> str:
    if name in COUNTED:
        return str(len(value))
    if name in RANGES:
        return _limits(value)
    return in_words(list(value) if name in NAMED else value)


def in_words(value: Any) -> str:
    """A value as it stands in a sentence: ``8, 16``; ``cjv at most 2``; ``session: 1``."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_limits(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(in_words(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits(value: Any) -> str:
    """A value of a mapping; of a pair of numbers the lowest and the highest."""
    if not (isinstance(value, list | tuple) and len(value) == 2):
        return in_words(value)
    low, high = value
    if None in (low, high):
        return f"at least {in_words(low)}" if high is None else f"at most {in_words(high)}"
    return f"{in_words(low)} to {in_words(high)}"


def read_options(config: Mapping[str, Any]) -> Options:
    """Options of a resolved configuration; none where it is empty."""
    found: dict[str, list[Any]] = {}
    evaluate = config.get("evaluate") or {}
    tasks = [found for task in evaluate.get("tasks", ()) for found in _task(task)]
    designs = [load_design(design).model_dump(mode="json") for design in evaluate.get("protocols", ())]
    several: list[tuple[str, Iterable[Mapping[str, Any]]]] = [(OF_TASKS, tasks), (OF_PROTOCOLS, designs)]
    pairs = list(leaves(config))
    pairs += [(f"{prefix}.{key}", value) for prefix, many in several for one in many for key, value in one.items()]
    for name, value in pairs:
        if value not in found.setdefault(name, []):
            found[name].append(value)
    return Options(found)


def _task(source: Any) -> list[dict[str, Any]]:
    """A task as a mapping; nothing where its file is elsewhere now."""
    try:
        return [load_task(source).model_dump(mode="json")]
    except InputError:
        return []


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the sections of a configuration; a mapping that the user fills is one value."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (not prefix or name in NESTED):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


@functools.cache
def defaults() -> dict[str, Any]:
    """Default of each option by its dotted name, of the sections that are known here."""
    return {
        f"{prefix}.{field.alias or name}": _as_json(field.get_default(call_default_factory=True))
        for prefix, model in SECTIONS.items()
        for name, field in model.model_fields.items()
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(inner) for key, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value
