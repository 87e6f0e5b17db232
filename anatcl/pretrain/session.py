"""One training run's parts: model, optimiser, labels on the device, and how far it is."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.base.words import plural
from anatcl.losses.base import Loss
from anatcl.losses.kernels import perplexity, without_weight
from anatcl.models import ContrastiveModel, build_model
from anatcl.models.registry import check_fit
from anatcl.pretrain import checkpoint
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.augment import Augment
from anatcl.pretrain.bundle import check_countable, most_volumes, save_encoder
from anatcl.pretrain.chunks import chunked_backward
from anatcl.pretrain.cohort import Cohort, covariates
from anatcl.pretrain.compiling import compiled
from anatcl.pretrain.describe import description, to_tensorboard
from anatcl.pretrain.device import SMALL_ENCODER, Device, seed_everything
from anatcl.pretrain.distributed import World
from anatcl.pretrain.identity import identity
from anatcl.pretrain.methods import Method
from anatcl.pretrain.optimise import learning_rate, make_average, make_optimizer, too_slow, total_steps
from anatcl.pretrain.outputs import Outputs, mapped
from anatcl.pretrain.probe import early_probe
from anatcl.spec.augmentation import DEFAULT
from anatcl.spec.training import Options

log = logging.getLogger(__name__)
PERPLEXITY_ROWS = 1000
EMPTY_ROWS = (
    "weights of %s: %.1f %% of the training scans have zero weight with all others and learn nothing from them; "
    "the kernel is too narrow, or their labels carry no information"
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
        if method.augment and not self.augment:
            log.warning(
                "%s compares views of a participant, and without augmentation these are the same volume", data.method
            )
        self._check_size()
        check_fit(options.encoder, data.arrays.shape)
        self.optimizer = make_optimizer(self.model, options)
        self.average = make_average(self.model, options)
        self.total = total_steps(options, len(data.train))
        for sentence in too_slow(options, self.total):
            log.warning(sentence)
        self.scaler = place.scaler()
        self.epoch = self.done = self.step = 0
        self.sums: Tensor | None = None
        self.term_names: list[str] = []
        self.history: list[dict[str, float]] = []
        self.identity = checkpoint.plain(identity(self))
        self.begun = time.monotonic(), self.step

    def _check_size(self) -> None:
        """Refuse chunks of a shared batch, and activations with more elements than a GPU's kernels count."""
        if self.options.chunk and self.world.size > 1:
            raise InputError(
                f"chunk is {self.options.chunk}, and {self.world.size} processes share the batch.",
                remedy="Train in one process (pretrain: gpus: 1, or processes: 1), or set chunk: 0.",
            )
        views = self.views if self.augment else 1
        most = most_volumes(self.data.arrays.shape) // views * self.world.size
        at_once = min(self.options.chunk or self.options.batch_size, self.options.batch_size)
        if self.place.device.type == "cuda":
            remedy = f"Set chunk (options) or batch_size to at most {most}, or share the batch (pretrain: gpus)."
            check_countable(at_once, most, self.data.arrays.shape, remedy)

    def _targets(self, loss: Loss) -> dict[str, Tensor]:
        """Labels of the training scans on the device, checked once; says how sharp the kernels are."""
        cohort = self.data.train
        labels = {"age": cohort.age, "measures": cohort.measures, "covariates": covariates(cohort)}
        targets = loss.fit({name: torch.from_numpy(values) for name, values in labels.items()})
        try:
            loss.check(targets)
        except ValueError as error:
            raise InputError(str(error), remedy="Correct the labels or leave these scans out.") from error
        if loss.reading():
            log.info("%s: %s", self.data.method, loss.reading())
        some = {name: t[:PERPLEXITY_ROWS] for name, t in targets.items()}
        for name, w in loss.weights(some).items():
            self.kernels[name] = round(perplexity(w), 6)
            log.info("weights of %s: perplexity %.3f %% of uniform", name, 100 * self.kernels[name])
            if lone := without_weight(w):
                log.warning(EMPTY_ROWS, name, 100 * lone)
        return {name: t.to(self.place.device) for name, t in targets.items()}

    @property
    def exported(self) -> ContrastiveModel:
        """The network whose weights are written: the moving average where there is one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def backward(self, x: Tensor, ids: np.ndarray, share: int) -> None:
        """Add the gradient of one batch's loss, divided by `share`, to the parameters; see `batch_loss`."""
        if not 0 < self.options.chunk < len(x):
            self.scaler.scale(self.batch_loss(x, ids) / share).backward()
            return
        views = self.views if self.augment else 1

        def scaled(z: Outputs) -> Tensor:
            return self.scaler.scale(self.loss_of(z, ids) / share)

        chunked_backward(self.network, self.embed, scaled, x, self.options.chunk, views)

    def batch_loss(self, x: Tensor, ids: np.ndarray) -> Tensor:
        """Return the loss of one batch and add its terms to the epoch's sums, without waiting for the device.

        Parameters
        ----------
        x : Tensor of shape (b, 1, X, Y, Z)
            This rank's subjects.
        ids : ndarray of shape (B,)
            All ranks' subjects, as rows of the training cohort.
        """
        return self.loss_of(self.embed(x), ids)

    def embed(self, x: Tensor, chunk: int = 0) -> Outputs:
        """Outputs of volumes (b, 1, X, Y, Z), view by view; the same again for the same chunk of the same batch.

        Views that are the same tensor are embedded once and count twice in the loss: its value and gradient are those
        of the two views, at half the encoder's cost.
        """
        if self.augment:
            x = torch.cat([self.augment(x, self._view_seed(view, chunk)) for view in range(self.views)])
        with self.place.autocast():
            outputs: Outputs = self.network(x.contiguous(memory_format=torch.channels_last_3d))
        return outputs

    def loss_of(self, z: Outputs, ids: np.ndarray) -> Tensor:
        """Loss of a batch's outputs; its terms are added to the epoch's sums."""
        assert self.loss is not None
        views = self.views if self.augment else 1
        z = mapped(lambda rows: self.world.gather(rows, views), z)
        where = torch.from_numpy(ids).to(self.place.device, non_blocking=True)
        terms = self.loss(z, {name: t[where] for name, t in self.targets.items()}, 1 if self.augment else self.views)
        self.term_names = list(terms)
        values = torch.stack([t.detach().float() for t in terms.values()])
        self.sums = values if self.sums is None else self.sums + values
        loss: Tensor = terms["loss"]
        return loss

    def _view_seed(self, view: int, chunk: int) -> int:
        """Seed of a view's augmentation: a function of where the run is, so that a resumed run draws the same."""
        key = [self.options.seed, self.epoch, self.done, self.world.rank, view, *([chunk] if chunk else [])]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def update(self) -> None:
        """Step the optimiser, and the moving average after it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.options, self.step, self.epoch, self.total)
        if self.options.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)

    def end_epoch(self) -> None:
        """Write the epoch into the history; the one place where the loop waits for the device."""
        assert self.sums is not None
        means = (self.sums / self.done).tolist()
        if not np.isfinite(means[0]):
            self._refuse_loss(means[0])
        row = {"epoch": self.epoch + 1, "step": self.step, **dict(zip(self.term_names, means, strict=True))}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        self.epoch, self.done, self.sums = self.epoch + 1, 0, None
        if not self.world.main:
            return
        log.info(
            "epoch %d of %d: loss %.5g, learning rate %.3g, %s left",
            *(self.epoch, self.options.epochs, means[0], row["lr"], self.time_left()),
        )
        if self.options.probe_every:
            row |= self._probe() if self.epoch % self.options.probe_every == 0 else {}
        self.history.append(row)
        self.write_history()
        if self.options.tensorboard:
            to_tensorboard(self.out / "tensorboard", row)

    def _refuse_loss(self, loss: float) -> None:
        """Say why a loss may not be finite: a volume that holds such numbers, else too large steps."""
        spoilt = self.data.arrays.not_finite(self.data.train.index)
        if spoilt:
            held = f"{plural(len(spoilt), 'volume')} with NaN or infinite voxels, that of {spoilt[0]} first"
            remedy = "Pack them again, or leave these scans out."
            raise InputError(f"the loss is {loss}: the arrays hold {held}.", self.data.arrays.folder, remedy)
        raise InputError(f"the loss is {loss} in epoch {self.epoch + 1}.", self.out, "Lower the learning rate.")

    def time_left(self) -> str:
        """Time that the steps to come will take at the pace of those since the start, as hours:minutes:seconds."""
        start, first = self.begun
        pace = (time.monotonic() - start) / max(1, self.step - first)
        return str(timedelta(seconds=round(pace * max(0, self.total - self.step))))

    def _probe(self) -> dict[str, float]:
        found = early_probe(self.exported, self.data.arrays, self.data.train, self.data.held_out, self.place)
        if found:
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

    def save(self) -> None:
        """Write ``last.ckpt``."""
        if self.world.main:
            state = {
                "fingerprint": checkpoint.fingerprint(self.identity),
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
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
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        self.sums = None if state["sums"] is None else state["sums"].to(self.place.device)
        checkpoint.set_random_state(state["random"])
        self.begun = time.monotonic(), self.step
        log.info("resumed after epoch %d, step %d", self.epoch, self.step)

    def write_encoder(self) -> None:
        """Write the encoder and its description."""
        if self.world.main:
            save_encoder(self.out, self.exported, description(self))
            # Again, even when it was written after each epoch: Snakemake removes it before a rerun, and a run that
            # goes on from a checkpoint of the last epoch adds no epoch.
            self.write_history()
        self.world.barrier()


def _transforms(options: Options, method: Method, map_name: str) -> dict[str, Any]:
    """Augmentations of the views by name: those that the options list, or the method's default on a kind of map."""
    if isinstance(options.augment, dict):
        return options.augment
    return DEFAULT[map_name] if method.augment and options.augment == "auto" else {}
