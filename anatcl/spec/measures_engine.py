"""Which engine measures: the configured one, or what recipe and atlas say."""

from __future__ import annotations

from anatcl.base.errors import InputError
from anatcl.spec.atlas import load_atlas_file
from anatcl.spec.config import Config
from anatcl.spec.recipe import load_recipe


def measures_engine(config: Config) -> str:
    """``volume`` or ``surface``: the configured engine, or the recipe's as far as the rest can be used with it.

    FreeSurfer's results replace the measures of the cortex, so no surfaces are made beside them. An atlas or a recipe
    that is wrong in itself is reported elsewhere; the engine is then ``volume``.
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
    if atlas.image is None:
        return "surface"
    return "volume" if asks_for_thickness(config) or config.measures.freesurfer else by_recipe


def asks_for_thickness(config: Config) -> bool:
    """Whether the configuration names a method of thickness, or parameters of one: all are of the engine volume."""
    return config.measures.thickness != "auto" or bool(config.measures.thickness_options)
