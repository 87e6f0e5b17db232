"""Packages that an engine needs, checked before the first job."""

from __future__ import annotations

from anatcl.base.errors import InputError
from anatcl.base.packages import package_folder

SURFACES = "cat_surf"


def check_surface_engine(asked: str = "the engine surface was asked for") -> None:
    """Raise InputError unless the package that makes surfaces is installed.

    Parameters
    ----------
    asked : str
        Who wants it, as the beginning of the sentence.
    """
    if package_folder(SURFACES) is None:
        raise InputError(
            f"{asked}, but cat-surf is not installed.",
            None,
            "pip install 'anatcl-workflow[surfaces]' (GPL-2.0-or-later, run as a separate program), "
            "or set measures: engine: volume.",
        )
