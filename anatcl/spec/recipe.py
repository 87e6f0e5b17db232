"""Recipes: how much work each imaging step does, as data files (``recipes/*.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.files import read_json

FOLDER = Path(__file__).with_name("recipes")


def names() -> list[str]:
    """Names of the recipes that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_recipe(name: str | Path, step: str | None = None) -> dict[str, Any]:
    """Read a recipe by name or by the path of a JSON file.

    Parameters
    ----------
    name : str or path
        ``precise``, ``fast``, ``testing``, or the path of a file of the same shape.
    step : str, optional
        Return this step's part only.

    Raises
    ------
    InputError
        There is no such recipe, or it lacks the step.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no recipe '{name}'.", None, f"Use one of {', '.join(names())}, or a JSON file.")
    try:
        recipe = read_json(path)
    except json.JSONDecodeError as error:
        raise InputError(f"the recipe is not valid JSON ({error}).", path, "Compare it with a shipped one.") from error
    missing = set(read_json(FOLDER / "fast.json")) - set(recipe)
    if missing:
        raise InputError(f"the recipe lacks {sorted(missing)}.", path, "Compare it with recipes/fast.json.")
    return recipe if step is None else recipe[step]
