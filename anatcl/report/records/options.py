"""Options of a run for the methods text: which ones differ from their defaults, and what they say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anatcl.base.errors import InputError
from anatcl.spec.config import Config
from anatcl.spec.protocol import Design, load_design
from anatcl.spec.task import Task, load_task

OF_TASKS, OF_PROTOCOLS = "task", "protocol"  # begin the names of options that every task, every protocol has

COUNTED = ("participants.include", "participants.exclude", "preprocess.accept", "preprocess.reject")  # people's names
NAMED = ("evaluate.features", "evaluate.encoders", "pretrain.own")  # of what the user names, the names


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
            return any(value != defaults().get(wanted) for value in self.values.get(wanted, ()))
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
    return in_words(list(value) if name in NAMED else value)


def in_words(value: Any) -> str:
    """A value as it stands in a sentence: ``8, 16``; ``cjv at most 2``; ``session: 1``."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_limits(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(in_words(inner) for inner in value)
    return str(value)


def _limits(value: Any) -> str:
    """A value of a mapping; of a pair of numbers the lowest and the highest."""
    if not (isinstance(value, list | tuple) and len(value) == 2):
        return in_words(value)
    low, high = value
    if None in (low, high):
        return f"at least {low}" if high is None else f"at most {high}"
    return f"{low} to {high}"


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
        section = isinstance(value, Mapping) and (not prefix or name in sections())
        if section:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


@functools.cache
def sections() -> frozenset[str]:
    """Names of the sections within sections."""
    nested = Config().model_dump(mode="json", by_alias=True)
    models = {"preprocess": ("skullstrip",), "pretrain": ("options",), "evaluate": ("finetune",)}
    return frozenset(f"{outer}.{inner}" for outer, names in models.items() for inner in names if inner in nested[outer])


@functools.cache
def defaults() -> dict[str, Any]:
    """Default of each option by its dotted name."""
    found = dict(leaves(Config().model_dump(mode="json", by_alias=True)))
    for prefix, model in ((OF_TASKS, Task), (OF_PROTOCOLS, Design)):
        for name, field in model.model_fields.items():
            found[f"{prefix}.{name}"] = _as_json(field.get_default(call_default_factory=True))
    return found


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
