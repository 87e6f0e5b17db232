"""Which methods are compared: those with an encoder, and those without one."""

from __future__ import annotations

import functools

from anatcl.spec.config import Config
from anatcl.spec.layout import MEASURES_TABLE
from anatcl.spec.names import UNTRAINED


class Methods:
    """The methods of a run, by what they need.

    Parameters
    ----------
    config : Config
        The configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @functools.cached_property
    def encoders(self) -> list[str]:
        """Methods with an encoder: the pretrained ones and, if wanted, the untrained one."""
        methods = list(self.config.pretrain.methods)
        return [*methods, UNTRAINED] if self.config.evaluate.untrained and UNTRAINED not in methods else methods

    @functools.cached_property
    def tables(self) -> list[str]:
        """Methods without an encoder, whose features are a table: baselines, then other tools' features."""
        return [*self.config.evaluate.baselines, *self.config.evaluate.features]

    @property
    def all(self) -> list[str]:
        """Every method that is evaluated."""
        return [*self.encoders, *self.tables]

    def table(self, name: str) -> str:
        """Path of the table of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return given.table if given else str(MEASURES_TABLE)

    def columns(self, name: str) -> str:
        """Which columns of its table are the features of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return given.columns if given else name
