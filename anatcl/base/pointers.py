"""Files whose content was not fetched: what git-annex and Git LFS leave in their place."""

from __future__ import annotations

from pathlib import Path

from anatcl.base.errors import InputError

LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")  # the second is old
BOM = b"\xef\xbb\xbf"
ANNEX = (b"/annex/objects/", b".git/annex/objects/")
FETCH = "Fetch its content with `datalad get` or `git annex get`, or restore the file that the link points to."
SHORT = 32_768  # bytes; git-annex promises that its pointers are no longer


def refuse_pointer(path: str | Path, head: bytes, size: int) -> None:
    """Raise where a file is a pointer.

    Parameters
    ----------
    path : path
    head : bytes
        Its first bytes, a few hundred at least.
    size : int
        Its length in bytes.

    Raises
    ------
    InputError
        The content has to be fetched.
    """
    if size > SHORT:
        return
    head = head.removeprefix(BOM)
    if head.startswith(LFS):
        raise InputError("its content was not fetched (a Git LFS pointer).", path, "Fetch it with `git lfs pull`.")
    first = head.split(b"\n", 1)[0].replace(b"\\", b"/")  # a link that Windows wrote out as text
    if first.startswith(ANNEX[0]) or (ANNEX[1] in first and first.startswith((b".", b"/"))):
        reason = "its content was not fetched (a git-annex pointer)."
        raise InputError(reason, path, "Fetch it with `datalad get` or `git annex get`.")


def beginning(head: bytes) -> str:
    """How a file begins that holds text where it should not (an error page, a link written out); empty if it does not.

    Parameters
    ----------
    head : bytes
        Its first bytes.
    """
    text = head.removeprefix(BOM)[:200].decode("utf-8", "replace")
    plain = "".join(c for c in text if c.isprintable() or c.isspace())
    return " ".join(plain.split())[:40] if plain.strip() and len(plain) > 0.95 * len(text) else ""


def explain(path: Path, error: OSError) -> str:
    """Say why a path cannot be used."""
    if path.is_symlink():
        target = printable(str(path.readlink()))
        if isinstance(error, FileNotFoundError):
            return f"broken symlink (it points to {target}, which does not exist)."
        return f"the symlink to {target} cannot be followed ({error.strerror})."
    return f"it cannot be read ({error.strerror or error})."


def refuse_unfetched(path: Path) -> None:
    """Raise where a table is a link whose content is not there.

    Raises
    ------
    InputError
        It has to be fetched.
    """
    if path.is_symlink() and not path.is_file():
        raise InputError(explain(path, FileNotFoundError()), path, FETCH)


def printable(path: str) -> str:
    """Return a path that can be written as UTF-8 in one line of a table."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
