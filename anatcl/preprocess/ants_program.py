"""Run one ANTs program out of the antspyx wheel: ``python ants_program.py antsRegistration <arguments>``.

The wheel holds the same C++ programs as native ANTs. Loading its extension module directly takes 0.1 s where
``import ants`` takes 2 s, and a step that runs six programs would pay that six times. ``python -P`` keeps this folder
off the import path, where ``ants.py`` would hide the wheel.

This file is run by its path, in a process of its own, and so imports nothing from the package.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def load_library():
    """Load antspyx's extension module without running the package's ``__init__``."""
    package = importlib.util.find_spec("ants")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("Neither native ANTs nor antspyx is installed: pip install antspyx==0.6.3")
    file = next(Path(package.submodule_search_locations[0]).glob("lib*.so"))
    loader = importlib.machinery.ExtensionFileLoader("lib", str(file))
    spec = importlib.machinery.ModuleSpec("lib", loader, origin=str(file))
    library = importlib.util.module_from_spec(spec)
    loader.exec_module(library)
    return library


if __name__ == "__main__":
    sys.exit(getattr(load_library(), sys.argv[1])(sys.argv[2:]))
