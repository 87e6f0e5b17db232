"""Which methods are compared: those with an encoder, and those without one."""

from __future__ import annotations

import functools
import os

from anatcl.spec.config import Config
from anatcl.spec.layout import EVALUATE, MEASURES_TABLE, PRETRAIN
from anatcl.spec.names import UNTRAINED

WITHOUT_TRAINING = "ANATCL_WITHOUT_TRAINING"  # in the environment of a pass that makes the page when training failed


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
        if WITHOUT_TRAINING in os.environ:
            return []
        methods = list(self.config.pretrain.methods)
        return [*methods, UNTRAINED] if self.config.evaluate.untrained and UNTRAINED not in methods else methods

    @functools.cached_property
    def rivals(self) -> list[str]:
        """Linear rivals of the encoders, fitted on the volumes of the same people."""
        return list(self.config.evaluate.rivals) if self.encoders else []

    @property
    def embedded(self) -> list[str]:
        """Methods whose features are an embedding of each fold."""
        return [*self.encoders, *self.rivals]

    def embeddings(self, name: str) -> list[str]:
        """Files of a method's embeddings; an untrained encoder's further seeds see every fold alike."""
        folds = [str(EVALUATE / name / f"fold-{k}" / "embeddings.npz") for k in range(self.config.pretrain.folds)]
        seeds = range(1, self.config.evaluate.untrained_seeds) if name == UNTRAINED else ()
        return folds + [str(EVALUATE / name / f"seed-{s}" / "embeddings.npz") for s in seeds]

    def models_dir(self, name: str) -> str:
        """Folder of ``fold-*/model.json``, which say whom a method has seen."""
        return str((EVALUATE if name in self.rivals else PRETRAIN) / name)

    @functools.cached_property
    def tables(self) -> list[str]:
        """Methods without an encoder, whose features are a table: baselines, then other tools' features."""
        return [*self.config.evaluate.baselines, *self.config.evaluate.features]

    @property
    def all(self) -> list[str]:
        """Every method that is evaluated."""
        return [*self.embedded, *self.tables]

    def table(self, name: str) -> str:
        """Path of the table of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return given.table if given else str(MEASURES_TABLE)

    def columns(self, name: str) -> str:
        """Which columns of its table are the features of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return given.columns if given else name
