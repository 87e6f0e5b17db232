"""One training run's parts: model, optimiser, labels on the device, and how far it is."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from anatcl.base.closure import code_digest, modules_digest
from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.base.provenance import versions
from anatcl.losses.base import Loss
from anatcl.losses.kernels import perplexity
from anatcl.models import build_model
from anatcl.pretrain import checkpoint
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.augment import Augment
from anatcl.pretrain.bundle import input_contract, most_volumes, save_encoder
from anatcl.pretrain.cohort import Cohort, covariates
from anatcl.pretrain.compiling import compiled
from anatcl.pretrain.device import SMALL_ENCODER, Device, seed_everything
from anatcl.pretrain.distributed import World
from anatcl.pretrain.methods import Method
from anatcl.pretrain.outputs import mapped
from anatcl.pretrain.probe import early_probe
from anatcl.spec.augmentation import DEFAULT
from anatcl.spec.training import Options

log = logging.getLogger(__name__)
PERPLEXITY_ROWS = 1000
# The epochs say when to end, not what to do on the way: a run with more of them goes on from one with fewer.
NOT_SHAPING = ("augment", "compile", "epochs", "tensorboard")
LOOP = tuple(
    f"anatcl.pretrain.{name}" for name in ("session", "train", "batches", "compiling", "device", "distributed")
)
AGREE_EVERY = 10  # steps between two questions to the other ranks whether to stop


@dataclass(frozen=True)
class Data:
    """What a run trains on.

    Attributes
    ----------
    arrays : PackedArrays
    train, held_out : Cohort
    method : str
    fold : int
    """

    arrays: PackedArrays
    train: Cohort
    held_out: Cohort
    method: str
    fold: int


class Run:
    """State of one training run.

    Parameters
    ----------
    data : Data
    options : Options
    method : Method
    loss : Loss or None
        None for `untrained`.
    place : Device
    world : World
    out : Path
        Folder of all outputs.
    """

    def __init__(
        self, data: Data, options: Options, method: Method, loss: Loss | None, place: Device, world: World, out: Path
    ) -> None:
        self.data, self.options, self.loss, self.place, self.world, self.out = data, options, loss, place, world, out
        self.kernels: dict[str, float] = {}
        self.targets = self._targets(loss) if loss else {}
        seed_everything(options.seed)
        self.head = loss.head if loss else "projection"
        self.model = build_model(options.encoder, self.head, options.pooling)
        self.model.to(place.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network: nn.Module = world.wrap(self.model)
        small = options.encoder == SMALL_ENCODER
        compiled_network = compiled(self.network, options.compile, place, world.size, small)
        self.compiled = compiled_network is not None
        self.network = self.network if compiled_network is None else compiled_network
        self.transforms = _transforms(options, method, data.arrays.meta["map"])
        self.augment = Augment.parse(self.transforms) if self.transforms else None
        self.views = 2 if self.augment else method.views
        self._check_size()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.scaler = place.scaler()
        self.epoch = self.done = self.step = 0
        self.sums: Tensor | None = None
        self.term_names: list[str] = []
        self.history: list[dict[str, float]] = []
        self.identity = checkpoint.plain(self._identity())

    def _check_size(self) -> None:
        """Refuse a batch whose activations have more elements than a GPU's kernels count."""
        views = self.views if self.augment else 1
        most = most_volumes(self.data.arrays.shape) // views * self.world.size
        if self.place.device.type == "cuda" and self.options.batch_size > most:
            raise InputError(
                f"batch_size is {self.options.batch_size}; with volumes of {self.data.arrays.shape} a tensor would "
                f"have more than 2^31 elements, which GPU kernels cannot count.",
                remedy=f"Set batch_size to at most {most}, or share the batch among more processes (pretrain: gpus).",
            )

    def _targets(self, loss: Loss) -> dict[str, Tensor]:
        """Labels of the training scans on the device, checked once; says how sharp the kernels are."""
        cohort = self.data.train
        labels = {"age": cohort.age, "measures": cohort.measures, "covariates": covariates(cohort)}
        targets = loss.fit({name: torch.from_numpy(values) for name, values in labels.items()})
        try:
            loss.check(targets)
        except ValueError as error:
            raise InputError(str(error), remedy="Mend the labels or leave these scans out.") from error
        if loss.reading():
            log.info("%s: %s", self.data.method, loss.reading())
        some = {name: t[:PERPLEXITY_ROWS] for name, t in targets.items()}
        self.kernels = {name: round(perplexity(w), 6) for name, w in loss.weights(some).items()}
        for name, value in self.kernels.items():
            log.info("weights of %s: perplexity %.3f %% of uniform", name, 100 * value)
        return {name: t.to(self.place.device) for name, t in targets.items()}

    def learning_rate(self) -> float:
        """Learning rate of the present epoch."""
        return self.options.learning_rate * self.options.lr_decay ** (self.epoch // self.options.lr_decay_epochs)

    def batch_loss(self, x: Tensor, ids: np.ndarray) -> Tensor:
        """Return the loss of one batch and add its terms to the epoch's sums, without waiting for the device.

        Views that are the same tensor are embedded once and count twice in the loss: its value and gradient are those
        of the two views, at half the encoder's cost.

        Parameters
        ----------
        x : Tensor of shape (b, 1, X, Y, Z)
            This rank's subjects.
        ids : ndarray of shape (B,)
            All ranks' subjects, as rows of the training cohort.
        """
        assert self.loss is not None
        if self.augment:
            x = torch.cat([self.augment(x, self._view_seed(view)) for view in range(self.views)])
        with self.place.autocast():
            z = self.network(x.contiguous(memory_format=torch.channels_last_3d))
        views = self.views if self.augment else 1
        z = mapped(lambda rows: self.world.gather(rows, views), z)
        where = torch.from_numpy(ids).to(self.place.device, non_blocking=True)
        terms = self.loss(z, {name: t[where] for name, t in self.targets.items()}, 1 if self.augment else self.views)
        self.term_names = list(terms)
        values = torch.stack([t.detach().float() for t in terms.values()])
        self.sums = values if self.sums is None else self.sums + values
        return terms["loss"]

    def _view_seed(self, view: int) -> int:
        """Seed of a view's augmentation: a function of where the run is, so that a resumed run draws the same."""
        key = [self.options.seed, self.epoch, self.done, self.world.rank, view]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def update(self) -> None:
        """Step the optimiser."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def end_epoch(self) -> None:
        """Write the epoch into the history; the one place where the loop waits for the device."""
        assert self.sums is not None
        means = (self.sums / self.done).tolist()
        if not np.isfinite(means[0]):
            raise InputError(
                f"the loss is {means[0]} in epoch {self.epoch + 1}.", file=self.out, remedy="Lower the learning rate."
            )
        row = {"epoch": self.epoch + 1, "step": self.step, **dict(zip(self.term_names, means, strict=True))}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        self.epoch, self.done, self.sums = self.epoch + 1, 0, None
        if not self.world.main:
            return
        if self.options.probe_every:
            row |= self._probe() if self.epoch % self.options.probe_every == 0 else {}
        self.history.append(row)
        self.write_history()
        if self.options.tensorboard:
            _to_tensorboard(self.out / "tensorboard", row)

    def _probe(self) -> dict[str, float]:
        found = early_probe(self.model, self.data.arrays, self.data.train, self.data.held_out, self.place)
        log.info("epoch %d: %s", self.epoch, ", ".join(f"{k} {v:.3f}" for k, v in found.items()))
        return found

    def must_stop(self, stop: checkpoint.StopSignal) -> bool:
        """Say whether a signal came; ranks agree, now and then, so that all stop after the same step."""
        if self.world.size == 1:
            return bool(stop.received)
        if self.step % AGREE_EVERY:
            return False
        stop.received = self.world.agreed(stop.received)
        return bool(stop.received)

    def finished(self) -> bool:
        """Say whether the last epoch is done or the bound on steps reached."""
        return self.epoch >= self.options.epochs or 0 < self.options.max_steps <= self.step

    def _identity(self) -> dict[str, Any]:
        """Everything that shapes the result's numbers: a checkpoint with another identity is not resumed."""
        scans = self.data.train.rows["scan"].tolist()
        return {
            "method": self.data.method,
            "views": self.views,
            "augmentation": self.transforms,
            "option": {k: v for k, v in self.options.as_dict().items() if k not in NOT_SHAPING},
            "precision": self.place.precision,
            "device": self.place.device.type,
            "compiled": self.compiled,
            "processes": self.world.size,
            "input": input_contract(self.data.arrays.meta),
            "number of training scans": len(scans),
            "names of the training scans": hashlib.sha256("\n".join(scans).encode()).hexdigest(),
            "values of the volumes": self.data.arrays.sha256,
            "labels": {name: checkpoint.digest(t) for name, t in self.targets.items()},
            "code": self._code(),
        }

    def _code(self) -> dict[str, str]:
        """Digests of the code that computes; how a run reads, probes, logs and saves does not count."""
        parts = {"of the networks": code_digest("anatcl.models"), "of the training loop": modules_digest(*LOOP)}
        if self.augment:
            parts["of the augmentation"] = code_digest(Augment.__module__)
        if self.loss:
            parts["of the loss"] = code_digest(
                *{type(loss).__module__ for loss in (self.loss, *self.loss.parts.values())}
            )
        return parts

    def _objective(self) -> dict[str, str]:
        """A joint objective in words: ``1 y-aware + 0.5 regress``; nothing for a single method."""
        weights = self.options.joint.get(self.data.method, {})
        return {"objective": " + ".join(f"{w:g} {name}" for name, w in weights.items())} if weights else {}

    def save(self) -> None:
        """Write ``last.ckpt``."""
        if self.world.main:
            state = {
                "fingerprint": checkpoint.fingerprint(self.identity),
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "progress": {n: getattr(self, n) for n in ("epoch", "done", "step", "history", "term_names")},
                "sums": self.sums,
                "random": checkpoint.random_state(),
            }
            checkpoint.save(self.out / checkpoint.LAST, state)

    def write_history(self) -> None:
        """Write ``history.tsv``, a row per epoch; only a heading for a method that is not trained."""
        table = pd.DataFrame(self.history) if self.history else pd.DataFrame(columns=["epoch", "step", "loss", "lr"])
        write_tsv(self.out / "history.tsv", table, float_format="%.8g")

    def resume(self) -> None:
        """Go on from the checkpoint of this run, if there is one."""
        state = checkpoint.load(self.out, self.identity, self.options.epochs, self.world.main)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        self.sums = None if state["sums"] is None else state["sums"].to(self.place.device)
        checkpoint.set_random_state(state["random"])
        log.info("resumed after epoch %d, step %d", self.epoch, self.step)

    def write_encoder(self) -> None:
        """Write the encoder and its description."""
        if self.world.main:
            save_encoder(self.out, self.model, self.description())
            # Again, even when it was written after each epoch: Snakemake removes it before a rerun, and a run that
            # goes on from a checkpoint of the last epoch adds no epoch.
            self.write_history()
        self.world.barrier()

    def description(self) -> dict[str, Any]:
        """Content of model.json."""
        train = self.data.train
        return {
            "method": self.data.method,
            "architecture": self.options.encoder,
            "pooling": self.options.pooling,
            "head": self.head,
            **self._objective(),
            "embedding_dim": int(self.model.encoder.out_features),  # type: ignore[arg-type]
            "input": input_contract(self.data.arrays.meta),
            "fold": self.data.fold,
            "seed": self.options.seed,
            "hyperparameters": self.options.as_dict(),
            "augmentation": self.transforms,
            "precision": self.place.precision,
            "compiled": self.compiled,
            "steps": self.step,
            "metrics": self.history[-1] if self.history else {},
            "weights_perplexity": self.kernels,
            "measures": {"regions": train.regions, "kinds": train.kinds},
            "statistics": self.loss.statistics() if self.loss else {},
            "train_scans": len(train),
            "dropped": train.dropped,
            "imputed": train.imputed,
            "permuted": train.permuted,
            "train_participants_sha256": train.participants_sha256,
            "train_participants": train.participants,
            "licence": "as of the training data",
            "versions": versions(("torch", "numpy")),
        }


def _transforms(options: Options, method: Method, map_name: str) -> dict[str, Any]:
    """Augmentations of the views by name: those that the options list, or the method's default on a kind of map."""
    if isinstance(options.augment, dict):
        return options.augment
    return DEFAULT[map_name] if method.augment and options.augment == "auto" else {}


def _to_tensorboard(folder: Path, row: dict[str, float]) -> None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard is not installed.", remedy="pip install tensorboard, or leave it off.") from error
    with SummaryWriter(str(folder)) as writer:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["epoch"]))
