"""What the exit status of a program says: a scan to look at, a crash, or a kill that no scan is to blame for."""

import signal
import subprocess
import sys

import pytest

from anatcl.base.programs import Crashed, Killed, check


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGKILL, Killed, "SIGKILL, as where memory is short"),
        (signal.SIGTERM, Killed, "SIGTERM, as where a run is stopped"),
        (signal.SIGXCPU, Killed, "SIGXCPU"),
        (signal.SIGSEGV, Crashed, r"crashed \(SIGSEGV\): last words"),
        (signal.SIGABRT, Crashed, "SIGABRT"),
    ],
)
@pytest.mark.parametrize("shell", [False, True])
def test_signals_are_told_apart(number, kind, words, shell):
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    command = [sys.executable, "-c", code]
    if shell:  # gives 128 + the number
        command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    status = subprocess.run(command, check=False, capture_output=True).returncode
    with pytest.raises(kind, match=words):
        check("it", status, "last words")


@pytest.mark.parametrize("status", [1, 2, 127, 128, 255])
def test_errors_of_its_own_are_neither(status):
    with pytest.raises(RuntimeError, match=f"it ended with {status}: no such image") as caught:
        check("it", status, "no such image")
    assert type(caught.value) is RuntimeError


def test_a_good_end_is_nothing():
    check("it", 0)
