"""The engine of the measures, and the packages that it needs, checked before the first job."""

from __future__ import annotations

from anatcl.base.errors import InputError
from anatcl.base.packages import package_folder
from anatcl.spec.atlas import load_atlas_file
from anatcl.spec.config import Config
from anatcl.spec.recipe import load_recipe

SURFACES = "cat_surf"


def measures_engine(config: Config) -> str:
    """``volume`` or ``surface``: the configured engine, or the recipe's as far as the atlas can be used with it.

    An atlas or a recipe that is wrong in itself is reported elsewhere; the engine is then ``volume``.
    """
    if config.measures.engine != "auto":
        return config.measures.engine
    try:
        atlas, _ = load_atlas_file(config.measures.atlas)
        by_recipe = str(load_recipe(config.preprocess.recipe).get("measures_engine", "volume"))
    except InputError:
        return "volume"
    if atlas.annotation is None:
        return "volume"
    return "surface" if atlas.image is None else by_recipe


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
