"""Verdicts of the last call, so that only new and changed files are opened.

The cache never decides what exists: the dataset is listed again each time, and an entry counts only when size, times
and inode of its file are still the same. Losing it costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anatcl.base.files import write_text

log = logging.getLogger(__name__)


class Cache:
    """A mapping of path to (state of the file, value), kept in one JSON file.

    Parameters
    ----------
    path : Path or None
        Where it lies; kept in memory only when None.
    key : object
        What the values depend on beside the files (options, code): with another key the cache starts empty.
    """

    def __init__(self, path: Path | None, key: Any) -> None:
        self.path = path
        self.key = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()
        self.old = self._read()
        self.new: dict[str, list[Any]] = {}

    def _read(self) -> dict[str, list[Any]]:
        if self.path is None or not self.path.is_file():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return dict(content["files"]) if content["key"] == self.key else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # damaged: as good as absent

    def get(self, name: str, state: list[int], compute: Callable[[], Any]) -> Any:
        """Return the value kept for `name` if its state is unchanged, else compute and keep it."""
        kept = self.old.get(name)
        if not (isinstance(kept, list) and len(kept) == 2 and kept[0] == state):
            kept = [state, compute()]
        self.new[name] = kept
        return kept[1]

    def forget(self, name: str) -> None:
        """Do not keep `name` (an error of reading may pass)."""
        self.new.pop(name, None)

    def save(self) -> None:
        """Write what this call used, if it differs from what was there."""
        if self.path is not None and self.new != self.old:
            text = json.dumps({"key": self.key, "files": self.new}, separators=(",", ":")) + "\n"
            try:
                write_text(self.path, text)
            except OSError as error:
                log.warning("%s cannot be written (%s): files will be opened again.", self.path, error.strerror)
