"""Which methods are compared: those with an encoder, and those without one."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from anatcl.base.named import plugins
from anatcl.plan.content import file_content
from anatcl.spec.baselines import GROUP, OwnBaseline
from anatcl.spec.check_arrays import unmeasured
from anatcl.spec.check_seen import seen
from anatcl.spec.config import Config
from anatcl.spec.layout import ARRAYS, EVALUATE, MEASURES_TABLE, PERTURBED, PREPROCESS, PRETRAIN
from anatcl.spec.names import TUNED, UNTRAINED
from anatcl.spec.overlaps import overlaps_file

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
    def trainings(self) -> list[str]:
        """Folders of the folds of every encoder: ``{method}``, then ``{method}/seed-{s}`` where several are trained."""
        return [place for method in self.encoders for place in self.seeds(method)]

    def seeds(self, method: str) -> list[str]:
        """Folders of the folds of one method's encoders; the untrained one's further seeds need no training."""
        number = 1 if method == UNTRAINED else self.config.pretrain.seeds
        return [method, *(f"{method}/seed-{s}" for s in range(1, number))]

    @staticmethod
    def method_and_seed(training: str) -> tuple[str, int]:
        """What one of `trainings` is of."""
        method, _, seed = training.partition("/seed-")
        return method, int(seed or 0)

    @functools.cached_property
    def rivals(self) -> list[str]:
        """Linear voxel baselines, fitted on the volumes of the encoders' training participants."""
        wanted = self.config.evaluate.rivals if self.encoders else ()
        return [name for name in wanted if name not in self.unmeasured]

    @functools.cached_property
    def unmeasured(self) -> frozenset[str]:
        """Baselines that are left out, since nothing is measured and no measures are given."""
        return unmeasured(self.config)

    @property
    def baselines(self) -> list[str]:
        """Simple methods whose features are measures, shipped or of an installed package."""
        return [name for name in self.config.evaluate.baselines if name not in self.unmeasured]

    @functools.cached_property
    def own(self) -> dict[str, OwnBaseline]:
        """Baselines of the user's own by name: those of installed packages that are asked for, and the configured."""
        offered = plugins(GROUP)
        asked = {n: OwnBaseline(baseline=offered[n]) for n in self.config.evaluate.baselines if n in offered}
        every = asked | self.config.evaluate.own
        return {name: one for name, one in every.items() if one.columns not in self.unmeasured}

    @functools.cached_property
    def tables(self) -> list[str]:
        """Methods without an encoder, whose features are a table: baselines, then other tools' features."""
        shipped = [name for name in self.baselines if name not in plugins(GROUP)]
        return [*shipped, *self.own, *self.config.evaluate.features]

    @functools.cached_property
    def brought(self) -> list[str]:
        """Outside encoders, without those that were pretrained on this cohort."""
        known = seen(self.config)
        return [name for name in self.config.evaluate.encoders if name not in known]

    @functools.cached_property
    def tuned(self) -> list[str]:
        """Methods that are trained on, task by task, by the names of their rows."""
        known = {*self.encoders, *self.brought}
        return [f"{name}{TUNED}" for name in self.config.evaluate.finetune.methods if name in known]

    @property
    def probed(self) -> list[str]:
        """Methods whose embeddings are probed."""
        return [*self.encoders, *self.rivals, *self.brought]

    @property
    def all(self) -> list[str]:
        """Every method that is evaluated."""
        return [*self.probed, *self.tuned, *self.tables]

    def members(self, name: str) -> list[int]:
        """Numbers of the encoders of a method of outside encoders."""
        return list(range(self.config.evaluate.encoders[name].members))

    def embeddings(self, name: str) -> list[str]:
        """Files of the embeddings of a probed method; an untrained encoder's further seeds see every fold alike."""
        if name in self.brought:
            return [str(EVALUATE / name / f"seed-{k}" / "embeddings.npz") for k in self.members(name)]
        folds = [str(EVALUATE / place / "embeddings.npz") for place in self.folds(name)]
        seeds = range(1, self.config.evaluate.untrained_seeds) if name == UNTRAINED else ()
        return folds + [str(EVALUATE / name / f"seed-{s}" / "embeddings.npz") for s in seeds]

    @property
    def decoded(self) -> list[str]:
        """Tables of what each embedding holds of the measures."""
        wanted = self.probed if self.config.evaluate.decode == "measures" else []
        return [str(EVALUATE / name / "decode.tsv") for name in wanted]

    @property
    def shaken(self) -> list[str]:
        """Methods that are asked about changed scans: those that read the packed volumes."""
        return [*self.encoders, *self.rivals] if self.config.evaluate.perturb else []

    def changed_embeddings(self, name: str) -> list[str]:
        """Files of the embeddings of changed scans, of every perturbation, seed and fold."""
        kinds = self.config.evaluate.perturb
        return [str(PERTURBED / kind / place / "embeddings.npz") for kind in kinds for place in self.folds(name)]

    def shaken_seeds(self, name: str) -> int:
        """How many seeds of a method see changed scans; of the untrained encoder the first alone."""
        return 1 if name == UNTRAINED else self.seed_count(name)

    def seed_count(self, name: str) -> int:
        """How many seeds of a method's encoders are probed."""
        if name == UNTRAINED:
            return self.config.evaluate.untrained_seeds
        return (
            len(self.members(name)) if name in self.brought else len(self.seeds(name)) if name in self.encoders else 1
        )

    def encoder_files(self, name: str) -> list[str]:
        """Files that list the training participants of a probed method's encoders."""
        if name in self.brought:
            return [str(EVALUATE / name / f"seed-{k}" / "model.json") for k in self.members(name)]
        home = EVALUATE if name in self.rivals else PRETRAIN
        return [str(home / place / "model.json") for place in self.folds(name)]

    def folds(self, name: str) -> list[str]:
        """``{name}/fold-{k}`` of every fold and seed of a method that is made for each fold."""
        places = self.seeds(name) if name in self.encoders else [name]
        return [f"{place}/fold-{k}" for place in places for k in range(self.config.pretrain.folds)]

    def folder(self, name: str) -> str:
        """Folder of these files."""
        return str((EVALUATE if name in {*self.brought, *self.rivals} else PRETRAIN) / name)

    @property
    def left_out(self) -> list[str]:
        """Tables of the scans whose map an outside encoder could not take."""
        members = [(name, k) for name in self.brought for k in self.members(name)]
        return [str(EVALUATE / name / f"seed-{k}" / "excluded.tsv") for name, k in members]

    def untuned(self, name: str) -> str:
        """The method that a fine-tuned one starts from."""
        return name.removesuffix(TUNED)

    @property
    def final(self) -> list[str]:
        """Encoders that are trained on all participants, for use elsewhere."""
        wanted = self.config.pretrain.final if self.encoders else ()
        return [str(PRETRAIN / name / "final" / "encoder.safetensors") for name in wanted]

    def maps_flags(self, template: str) -> list[str]:
        """Where an outside encoder finds the cohort's maps: files, or the packed arrays."""
        if not self.config.pretrain.from_scans:
            return ["--arrays", str(ARRAYS)]
        return ["--maps-dir", str(PREPROCESS), "--template", template]

    def tuning_flags(self, name: str, template: str) -> list[str]:
        """Which volumes, and which outside encoder, if any, a fine-tuning starts from."""
        given = self.config.evaluate.encoders.get(self.untuned(name))
        if given is None:
            return ["--arrays", str(ARRAYS)]
        return ["--encoder", given.as_text(), *self.maps_flags(template)]

    @property
    def audited(self) -> list[str]:
        """Files that list the training participants of every encoder of the run."""
        return [file for name in self.probed for file in self.encoder_files(name)]

    @property
    def folders(self) -> list[str]:
        """Folders of these files, one for each method."""
        return [self.folder(name) for name in self.probed]

    def known_flag(self) -> list[str]:
        """``--known-overlaps FILE`` where an outside encoder has a cohort to look for."""
        name = self.config.evaluate.known_overlaps if self.brought else ""
        return ["--known-overlaps", name] if name else []  # by name: the path of a shipped file is this machine's

    @property
    def known_content(self) -> str:
        """Digest of that file."""
        file = overlaps_file(self.config.evaluate.known_overlaps) if self.brought else None
        return file_content(file) if file else ""

    def table(self, name: str) -> str:
        """Path of the table of a method without an encoder."""
        given = self.config.evaluate.features.get(name)
        return given.table if given else str(MEASURES_TABLE)

    def columns(self, name: str) -> str:
        """Which columns of its table are the features of a method without an encoder."""
        given = self.own.get(name) or self.config.evaluate.features.get(name)
        return given.columns if given else name

    def own_flag(self, name: str) -> list[str]:
        """``--own JSON`` where a method is a baseline of the user's own."""
        return ["--own", self.own[name].as_text()] if name in self.own else []

    def table_content(self, name: str) -> str:
        """Digest of what a user gives for a method without an encoder: a table of features, or the file of a class."""
        if name in self.own:
            return file_content(Path(self.own[name].baseline.rpartition(":")[0]))
        return file_content(Path(self.table(name))) if name in self.config.evaluate.features else ""
