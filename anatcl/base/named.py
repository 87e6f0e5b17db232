"""Classes and functions of a user's own: ``module:Class``, or ``file.py:Class``."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError

NAMED = re.compile(r"(?P<module>.+):(?P<name>[A-Za-z_]\w*)")


@functools.cache
def plugins(group: str) -> dict[str, str]:
    """What installed packages offer under an entry point group (``anatcl.encoders``, ``anatcl.losses``): name to class.

    Nothing is imported.
    """
    return {point.name: point.value for point in metadata.entry_points(group=group)}


def named(text: str) -> str:
    """Return ``module:Class`` or ``file.py:Class``, for validators.

    Raises
    ------
    ValueError
        It has another form.
    """
    if text and not NAMED.fullmatch(text):
        raise ValueError(f"it must be module:Class or file.py:Class, not {text!r}")
    return text


def call_named(text: str, arguments: Mapping[str, Any]) -> Any:
    """Call ``module:Class`` or ``file.py:Class`` with keyword arguments.

    Raises
    ------
    InputError
        It cannot be imported, has no such name, or does not take the arguments.
    """
    made = find_named(text)
    try:
        return made(**arguments)
    except ImportError as error:
        reason = f"{text} needs a package that is not installed ({str(error).strip().splitlines()[0]})."
        raise InputError(reason, None, "Install it, or pip install 'anatcl-workflow[encoders]'.") from error
    except TypeError as error:
        raise InputError(f"{text} cannot be created ({error}).", None, "Correct its arguments.") from error


def find_named(text: str) -> Callable[..., Any]:
    """The class or function that ``module:Class`` or ``file.py:Class`` names."""
    match = NAMED.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not module:Class.", None, "Write for example my_package.models:Net.")
    module = _module(match["module"])
    try:
        found: Callable[..., Any] = getattr(module, match["name"])
        return found
    except AttributeError as error:
        raise InputError(f"{match['module']} has no {match['name']!r}.", None, "Correct the name.") from error


def _module(name: str) -> Any:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        path = Path(name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise InputError("the file does not exist.", path, "Correct its path.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses and torch look their module up
        spec.loader.exec_module(module)
        return module
    except ImportError as error:
        raise InputError(
            f"{name} cannot be imported ({error}).", None, "Install the packages that it needs."
        ) from error
