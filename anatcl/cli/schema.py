"""``python -m anatcl.cli.schema``: write the JSON schema and the docs table of the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anatcl.base.config import Config
from anatcl.base.files import write_json, write_text

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


def table() -> str:
    """The configuration as a Markdown table."""
    schema = Config.model_json_schema(by_alias=True)
    lines = ["# Configuration", "", "Made by `python -m anatcl.cli.schema` from `anatcl/base/config.py`.", ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for key, default, meaning in rows(schema, schema["$defs"]):
        lines.append(f"| `{key}` | `{default}` | {meaning} |".replace("||", "&#124;"))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    write_json(ROOT / "workflow" / "schemas" / "config.schema.json", Config.model_json_schema(by_alias=True))
    write_text(ROOT / "docs" / "config.md", table())


if __name__ == "__main__":
    main()
