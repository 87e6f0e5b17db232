"""Digests of what a user gives by its path or by a shipped name: content counts, names and comments do not."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anatcl.base.files import sha256
from anatcl.base.syntax import WORDING
from anatcl.spec.atlas import FALLBACK, beside, image_file, load_atlas_file
from anatcl.spec.check import stats_files
from anatcl.spec.encoders import Encoder
from anatcl.spec.methods import declared_methods
from anatcl.spec.template import IMAGES, load_spec


@functools.cache
def atlas_content(name: str) -> str:
    """Digest of an atlas: its YAML file, its table of regions, its images."""
    atlas, path = load_atlas_file(name)
    files = [image_file(image, path) or Path() for image in atlas.images()]
    files += [beside(path, atlas.regions)] if atlas.regions else []
    said = atlas.model_dump(mode="json", exclude={"image", "extra", "regions", "annotation", "citation"})
    borrowed = "" if atlas.image is not None else atlas_content(FALLBACK)
    return _digest([said, borrowed, *map(file_content, files)])


@functools.cache
def template_content(name: str) -> str:
    """Digest of a template: its YAML file and the images that it names."""
    spec = load_spec(name)
    said = {key: value for key, value in spec.items() if key not in (*IMAGES, "citation")}
    return _digest([said, {key: file_content(Path(spec[key])) for key in IMAGES if spec.get(key)}])


def task_content(task: Any) -> str:
    """A task as JSON text, whatever file it stands in; its note counts for nothing."""
    return json.dumps(task.model_dump(mode="json", exclude={"note"}), sort_keys=True)


def encoder_content(encoder: Encoder) -> str:
    """Digest of the files of an outside encoder: weights, list of participants, files of classes."""
    files = [*_weights(encoder), *([encoder.participants] if encoder.participants else [])]
    files += [text.rpartition(":")[0] for text in (encoder.architecture, encoder.adapter) if ".py:" in text]
    return _digest([file_content(Path(file)) for file in files])


def _weights(encoder: Encoder) -> list[str]:
    folders = [Path(path) for path in encoder.weights]
    inner = [sorted(folder.glob("*")) if folder.is_dir() else [folder] for folder in folders]
    return [str(path) for paths in inner for path in paths if path.is_file()]


@functools.cache
def stats_content(folder: str) -> str:
    """Digest of the tables of a FreeSurfer folder: ``stats/*.stats`` of every subject, at any depth that it uses."""
    root = Path(folder)
    found = sorted(set(stats_files(root)))
    return _digest([[file.relative_to(root).as_posix(), file_content(file)] for file in found])


def method_words(names: Iterable[str]) -> str:
    """What tables and texts say of some methods, as JSON text."""
    declared = declared_methods()
    said = {name: declared[name].model_dump(mode="json", include=set(WORDING)) for name in names if name in declared}
    return json.dumps(said, sort_keys=True)


def file_content(path: Path) -> str:
    """SHA-256 of a file, read once as long as size and time stay; empty when there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return ""
    return _file_content(str(path), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _file_content(path: str, _size: int, _time: int) -> str:
    return sha256(path)


def _digest(parts: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(parts), sort_keys=True).encode()).hexdigest()[:16]
