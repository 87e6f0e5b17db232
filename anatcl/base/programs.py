"""How a program that a step ran has ended: well, with an error, by a crash, or ended from outside."""

from __future__ import annotations

import signal

FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU")
SHELL = 128  # a shell's exit status is 128 + the number of the signal that ended the program


class Killed(RuntimeError):
    """A program was ended from outside, as for lack of memory or time; the scan is not to blame."""


class Crashed(RuntimeError):
    """A program was ended by a signal that it raised itself, such as SIGSEGV."""


def check(program: str, status: int, words: str = "") -> None:
    """Return where a program has ended well.

    Parameters
    ----------
    program : str
        Its name, for the message.
    status : int
        Exit status; ``-n``, or ``128 + n`` from a shell, where signal n ended it.
    words : str
        The end of what it printed.

    Raises
    ------
    Killed, Crashed
        A signal ended it.
    RuntimeError
        It ended with an error.
    """
    check_not_killed(program, status)
    if name := _signal(status):
        raise Crashed(f"{program} crashed ({name}): {words}")
    if status != 0:
        raise RuntimeError(f"{program} ended with {status}: {words}")


def check_not_killed(program: str, status: int) -> None:
    """Return where a program was not ended from outside.

    Raises
    ------
    Killed
        It was.
    """
    name = _signal(status)
    if name not in FROM_OUTSIDE:
        return
    cause = "as where a run is stopped, or its time is up."
    if name == "SIGKILL":
        cause = "as where memory is short. Give it more memory, or run fewer jobs at a time."
    raise Killed(f"{program} was ended from outside by {name}, {cause}")


def _signal(status: int) -> str:
    """Name of the signal that ended a program; empty where none did."""
    number = -status if status < 0 else status - SHELL
    return signal.Signals(number).name if number in set(signal.Signals) else ""
