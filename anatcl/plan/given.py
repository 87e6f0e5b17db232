"""What a user gives by its path, reached by links below ``results/given``.

Snakemake runs a job again when the names of its inputs or its parameters change. A dataset that moved, or is mounted
elsewhere, has the same content under another name. So the main process links the folder of each path of the
configuration, and everything after that (rules, jobs, tables, records) knows the path through the link, which stays the
same. The links themselves and ``results/run.json`` say where each of them leads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.spec.layers import FILES, class_path, each_path, own_paths
from anatcl.spec.openbhb import RELEASE

log = logging.getLogger(__name__)
GIVEN = Path("results") / "given"
# Key of the configuration to the name of its link.
FOLDERS = {("bids_dir",): "dataset", ("measures", "freesurfer"): "freesurfer", ("pretrain", "maps"): "maps"}
FILES_OR_NAMES = {
    ("preprocess", "recipe"): "recipe",
    ("preprocess", "template"): "template",
    ("preprocess", "corrections"): "corrections",
    ("measures", "atlas"): "atlas",
    ("evaluate", "known_overlaps"): "known-overlaps",
}


def without_braces(path: str) -> str:
    """Return a path that Snakemake takes as it is.

    Raises
    ------
    InputError
        A file's name has braces, which Snakemake takes for wildcards. Those of folders are hidden by their links.
    """
    if re.search("[{}]", path):
        reason = "the path has braces, which Snakemake takes for wildcards."
        raise InputError(reason, path, "Rename the file, or give a symlink to it.")
    return path


def linked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a configuration whose paths lead through links, which are made.

    Parameters
    ----------
    values : mapping
        With absolute paths (:func:`anatcl.spec.layers.resolve`).
    """
    found = dict(values)
    for keys, name in FOLDERS.items():
        found = _changed(found, keys, lambda path, name=name: str(link(name, Path(path))))
    for keys, name in FILES_OR_NAMES.items():
        found = _changed(found, keys, lambda path, name=name: _file(name, path))
    found = _changed(found, ("preprocess", "skullstrip", "masks"), _pattern)
    found = _changed(found, ("evaluate", "tasks"), lambda tasks: [_file(f"task-{_stem(t)}", t) for t in tasks])
    found = _changed(found, ("evaluate", "encoders"), _encoders)
    found = _changed(found, ("pretrain", "encoder"), lambda text: class_path(text, lambda f: _file("network", f)))
    found = _changed(found, ("pretrain", "own"), lambda items: _own("loss", items))
    found = _changed(found, ("evaluate", "own"), lambda items: _own("baseline", items))
    found = _changed(found, ("pretrain", "arrays"), lambda text: text if text == RELEASE else str(link("arrays", text)))
    return _changed(found, ("evaluate", "features"), _tables)


def link(name: str, target: str | Path) -> Path:
    """Make ``results/given/<name>`` lead to a folder; return it, or the folder itself where no link can be made.

    A folder inside the run's own is linked relatively, so that a copy of both is whole.
    """
    place = GIVEN / name
    inside = Path(target).is_relative_to(Path.cwd())
    text = os.path.relpath(target, place.parent) if inside else str(target)
    if place.is_symlink() and os.readlink(place) == text:  # noqa: PTH115 - as text
        return place
    temporary = place.with_name(f".{name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.symlink_to(text)
        os.replace(temporary, place)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        log.warning("%s cannot be a link (%s): results will depend on the path %s.", place, error.strerror, target)
        return Path(target)
    return place


def targets() -> dict[str, str]:
    """Where each link leads, for the record."""
    return {path.name: str(path.resolve()) for path in sorted(GIVEN.glob("*")) if path.is_symlink()}


def _file(name: str, path: Any) -> Any:
    """A file through a link to its folder; a shipped name, or what is written out, as it is."""
    if not isinstance(path, str) or not Path(path).is_absolute():
        return path
    return without_braces(str(link(name, Path(path).parent) / Path(path).name))


def _pattern(text: str) -> str:
    """A path with ``{scan}`` in it, through a link to the last folder before."""
    if not Path(text).is_absolute():
        return text
    folder = Path(text.partition("{scan}")[0] + "x").parent
    return str(link("masks", folder) / os.path.relpath(text, folder))


def _tables(features: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {**given, "table": _file(f"features-{name}", given["table"])} if "table" in given else given
        for name, given in features.items()
    }


def _encoders(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """Encoders whose files are reached through a link for each folder that they lie in."""
    found = {}
    for name, given in encoders.items():
        folders: list[str] = []

        def through(path: str, name: str = name, folders: list[str] = folders) -> Any:
            folder = str(Path(path).parent)
            folders += [folder] if folder not in folders else []
            number = folders.index(folder)
            return _file(f"encoder-{name}-{number}" if number else f"encoder-{name}", path)

        found[name] = each_path(given, through)
    return found


def _own(kind: str, items: Mapping[str, Any]) -> Any:
    """Losses or baselines of the user's own whose files are reached through links."""
    return own_paths(items, lambda file: _file(f"{kind}-{Path(file).stem}", file))


def _stem(task: Any) -> str:
    return Path(task).stem if isinstance(task, str) and task.endswith(FILES) else ""


def _changed(values: Mapping[str, Any], keys: tuple[str, ...], change: Any) -> dict[str, Any]:
    """Copy of `values` with a change of what stands at `keys`, if anything does."""
    inner = values.get(keys[0])
    if not inner:
        return dict(values)
    if len(keys) == 1:
        return {**values, keys[0]: change(inner)}
    return {**values, keys[0]: _changed(inner, keys[1:], change)} if isinstance(inner, Mapping) else dict(values)
