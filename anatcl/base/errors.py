"""Errors that a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class InputError(Exception):
    """An input of the user cannot be used; the message names it and gives a remedy.

    Parameters
    ----------
    reason : str
        What is wrong, as one sentence.
    file : str or Path, optional
        The file it was found in.
    remedy : str, optional
        What the user can do about it, as one sentence.
    key : sequence of str, optional
        Keys of the configuration that it is about, where it was found by something that reads no configuration.
    """

    def __init__(self, reason: str, file: str | Path | None = None, remedy: str = "", key: Sequence[str] = ()) -> None:
        self.key = tuple(key)
        self.reason = reason
        self.file = "" if file is None else str(file)
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.file}: " if self.file else ""
        cure = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.reason}{cure}"


class InputErrors(InputError):
    """Several things that the user gave cannot be used; one line each.

    Parameters
    ----------
    errors : sequence of InputError
        What is wrong, in the order of the configuration.
    """

    def __init__(self, errors: Sequence[InputError]) -> None:
        self.errors = tuple(errors)
        lines = [" ".join(str(error).split()) for error in errors]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} things are wrong:", *lines]))
