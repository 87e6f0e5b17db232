"""``python -m anatcl.cli.schema``: write the JSON schema and the docs table of the configuration."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

from anatcl.base.files import write_json, write_text
from anatcl.spec.config import Config

ROOT = Path(__file__).resolve().parents[2]


def rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> list[tuple[str, str, str]]:
    """Key, default and meaning of every key, depth first."""
    found: list[tuple[str, str, str]] = []
    for name, field in schema["properties"].items():
        inner = definitions.get(str(field.get("$ref", "")).rpartition("/")[2])
        if inner:
            found += rows(inner, definitions, f"{prefix}{name}.")
        else:
            found.append((prefix + name, json.dumps(field.get("default")), field["description"]))
    return found


def described(kind: type) -> list[tuple[str, str, str]]:
    """Name, default and meaning of every field of a dataclass, from its numpydoc list of attributes or parameters."""
    text = re.split(r"^(?:Attributes|Parameters)\n-+\n", inspect.getdoc(kind) or "", flags=re.MULTILINE)[1] + "\n"
    meanings: dict[str, str] = {}
    for names, type_, body in re.findall(r"^(\w[\w, ]*) : (.*)\n((?:    .*\n?|\n(?=    ))*)", text, re.MULTILINE):
        choices = type_.strip("{}").replace('""', "empty").replace('"', "`") + ". " if type_.startswith("{") else ""
        meaning = re.sub(r"``\"?(.*?)\"?``", r"`\1`", " ".join(body.split()))
        meanings |= dict.fromkeys(names.split(", "), choices + meaning)
    return [(f.name.rstrip("_"), _default(f), meanings[f.name]) for f in dataclasses.fields(kind)]


def _default(field: dataclasses.Field) -> str:
    return "needed" if field.default is dataclasses.MISSING else f"`{json.dumps(field.default)}`"


def _lines(found: list[tuple[str, str, str]]) -> list[str]:
    head = ["| key | default | meaning |", "|---|---|---|"]
    return head + [f"| `{key}` | {default} | {meaning} |".replace("||", "&#124;") for key, default, meaning in found]


def table() -> str:
    """The configuration as Markdown tables."""
    from anatcl.spec.protocol import Design
    from anatcl.spec.task import Task
    from anatcl.spec.thickness import Settings
    from anatcl.spec.training import Options

    schema = Config.model_json_schema(by_alias=True)
    keys = [(key, f"`{default}`", meaning) for key, default, meaning in rows(schema, schema["$defs"])]
    shown = {key.removeprefix("pretrain.") for key, _, _ in keys} | {"seed"}  # one key of the whole run
    further = [row for row in described(Options) if row[0] not in shown]
    parts = {
        "`pretrain: options`": further,
        "A task (`evaluate: tasks`)": described(Task),
        "A protocol (`evaluate: protocols`)": described(Design),
        "`measures: thickness_options` with `thickness: direct`": described(Settings),
    }
    lines = [
        "# Configuration",
        "",
        "Made by `python -m anatcl.cli.schema` from `anatcl/spec/config.py` and the classes",
    ]
    lines += ["that read its parts.", "", *_lines(keys)]
    for title, found in parts.items():
        lines += ["", f"## {title}", "", *_lines(found)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    write_json(ROOT / "workflow" / "schemas" / "config.schema.json", Config.model_json_schema(by_alias=True))
    write_text(ROOT / "docs" / "config.md", table())


if __name__ == "__main__":
    main()
