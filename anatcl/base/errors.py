"""Errors that a user can act on."""

from __future__ import annotations

from pathlib import Path


class InputError(Exception):
    """Something the user gave cannot be used; the message says what it is and what to do.

    Parameters
    ----------
    reason : str
        What is wrong, as one sentence.
    file : str or Path, optional
        The file it was found in.
    remedy : str, optional
        What the user can do about it, as one sentence.
    """

    def __init__(self, reason: str, file: str | Path | None = None, remedy: str = "") -> None:
        self.reason = reason
        self.file = "" if file is None else str(file)
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.file}: " if self.file else ""
        cure = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.reason}{cure}"
