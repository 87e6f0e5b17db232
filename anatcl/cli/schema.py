"""``python -m anatcl.cli.schema``: write the JSON schema and the docs table of the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from anatcl.base.files import write_json, write_text
from anatcl.spec import (
    atlas,
    augmentation,
    corrections,
    encoders,
    protocol,
    recipe,
    task,
    template,
    thickness,
    training,
)
from anatcl.spec.config import Config

ROOT = Path(__file__).resolve().parents[2]


Row = tuple[str, str, str]


def rows(kind: type[BaseModel], prefix: str = "") -> list[Row]:
    """Key, default and meaning of every key of a section, depth first."""
    found: list[Row] = []
    for name, field in kind.model_fields.items():
        key, inner = prefix + (field.alias or name), _section(field.annotation)
        if inner is not None and field.description is None:
            found += rows(inner, f"{key}.")
        else:
            found.append((key, _default(field), _meaning(field)))
    return found


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, where it holds nothing else."""
    parts = [part for part in get_args(annotation) if part is not type(None)] or [annotation]
    only = parts[0] if len(parts) == 1 else None
    return only if isinstance(only, type) and issubclass(only, BaseModel) else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    return f"`{json.dumps(value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else value)}`"


def _meaning(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    text = str(field.description)
    missing = [word for word in choices if word and str(word) not in text]
    return f"{', '.join(map(str, filter(None, choices)))}: {text}" if missing else text


def _lines(found: Iterable[Row]) -> list[str]:
    head = ["| key | default | meaning |", "|---|---|---|"]
    return head + [f"| `{key}` | {default} | {meaning} |".replace("||", "&#124;") for key, default, meaning in found]


def parts() -> dict[str, list[Row]]:
    """Every model of :mod:`anatcl.spec` that a user may write, by the title of its table."""
    transforms = [
        (f"{name}.{key}", default, meaning)
        for name, kind in augmentation.TRANSFORMS.items()
        for key, default, meaning in rows(kind)
    ]
    return {
        "`pretrain: options`": rows(training.Further),
        "`pretrain: options: augment`, transforms by name": transforms,
        "A task (`evaluate: tasks`)": rows(task.Task),
        "A group of a task's `gap_groups`": rows(task.GapGroup),
        "An encoder that you bring (`evaluate: encoders: NAME`)": rows(encoders.Encoder),
        "Its `input`": rows(encoders.Input),
        "A protocol (`evaluate: protocols`)": rows(protocol.Design),
        "`measures: thickness_options` with `thickness: direct`": rows(thickness.Direct),
        "`measures: thickness_options` with `thickness: kelly_kapowski`": rows(thickness.KellyKapowski),
        "A recipe (`preprocess: recipe`, JSON)": rows(recipe.Recipe),
        "`bias_correct: again` of a recipe": rows(recipe.Again),
        "`register: greedy` of a recipe": rows(recipe.Greedy),
        "`segment: n4` of a recipe": rows(recipe.BiasField),
        "A template (`preprocess: template`, YAML)": rows(template.Template),
        "An atlas (`measures: atlas`, YAML)": rows(atlas.AtlasFile),
        "A row of `preprocess: corrections` (TSV)": rows(corrections.Correction),
    }


def table() -> str:
    """The configuration as Markdown tables."""
    lines = [
        "# Configuration",
        "",
        "Made by `python -m anatcl.cli.schema` from the models of `anatcl/spec`, which also check what you write:",
        "an unknown key or value is refused before the first job, with the nearest right one.",
        "",
        *_lines(rows(Config)),
    ]
    for title, found in parts().items():
        lines += ["", f"## {title}", "", *_lines(found)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    write_json(ROOT / "workflow" / "schemas" / "config.schema.json", Config.model_json_schema(by_alias=True))
    write_text(ROOT / "docs" / "config.md", table())


if __name__ == "__main__":
    main()
