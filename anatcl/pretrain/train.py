"""The training loop."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_tsv
from anatcl.base.provenance import recorded, versions
from anatcl.losses.base import Loss
from anatcl.losses.kernels import perplexity
from anatcl.models import build_model
from anatcl.pretrain import checkpoint, distributed
from anatcl.pretrain.arrays import PackedArrays, open_arrays
from anatcl.pretrain.batches import Reader, epoch_order
from anatcl.pretrain.bundle import input_contract, save_encoder
from anatcl.pretrain.cohort import Cohort, load_cohort, training_part
from anatcl.pretrain.device import Device, resolve, seed_everything
from anatcl.pretrain.methods import Method, find_method
from anatcl.pretrain.options import Options

log = logging.getLogger(__name__)
PERPLEXITY_ROWS = 1000
AGREE_EVERY = 10  # steps between two questions to the other ranks whether to stop


@dataclass(frozen=True)
class Inputs:
    """Files and words that say what to train on."""

    arrays: str | Path
    folds: str | Path
    fold: int
    method: str
    out_dir: str | Path
    measures: str | Path | None = None
    query: str = ""


def train(
    inputs: Inputs,
    options: Options,
    device: str = "auto",
    precision: str = "auto",
    deterministic: bool = True,
    threads: int = 0,
) -> int:
    """Pretrain one method without one fold.

    Writes ``encoder.safetensors``, ``model.json``, ``history.tsv``, ``run.json`` and, each epoch, ``last.ckpt`` to
    ``inputs.out_dir``. With the same parameters and data it goes on from ``last.ckpt``.

    Returns
    -------
    int
        0, or 128 + the signal that asked it to stop after saving.
    """
    method = find_method(inputs.method)
    world = distributed.start(device)
    place = resolve(device, precision, deterministic, threads, options.encoder == "resnet-tiny", world.local_rank)
    log.info("%s, fold %d, on %s", inputs.method, inputs.fold, place)
    arrays = open_arrays(inputs.arrays)
    loss = method.loss(options) if method.loss else None
    cohort = training_part(
        load_cohort(arrays, inputs.measures, inputs.query),
        read_tsv(inputs.folds),
        inputs.fold,
        loss.needs if loss else (),
    )
    if len(cohort) < 2:
        raise InputError(f"{len(cohort)} scans are left to train on.", file=inputs.arrays, remedy="See the log above.")
    out = Path(inputs.out_dir)
    with recorded(out, {**options.as_dict(), "method": inputs.method, "fold": inputs.fold}) as record:
        record |= {"device": str(place), "scans": len(cohort), "dropped": cohort.dropped}
        run = Run(inputs, options, method, loss, arrays, cohort, place, world)
        status = run.loop(out) if loss else run.finish(out)
        record["steps"] = run.step
    distributed.stop(world)
    return status


class Run:
    """State of one training run: model, optimiser, labels on the device, and how far it is."""

    def __init__(
        self,
        inputs: Inputs,
        options: Options,
        method: Method,
        loss: Loss | None,
        arrays: PackedArrays,
        cohort: Cohort,
        place: Device,
        world: distributed.World,
    ) -> None:
        self.inputs, self.options, self.method, self.place, self.world = inputs, options, method, place, world
        self.arrays, self.cohort, self.loss = arrays, cohort, loss
        seed_everything(options.seed)
        self.head = loss.head if loss else "projection"
        self.model = build_model(options.encoder, self.head)
        self.model.to(place.device, memory_format=torch.channels_last_3d)
        self.network = world.wrap(self.model)
        self.targets: dict[str, Tensor] = {}
        self.kernels: dict[str, float] = {}
        if loss is not None:
            self.targets = self._targets(loss)
            loss.to(place.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.scaler = place.scaler()
        self.epoch = self.done = self.step = 0
        self.sums: Tensor | None = None
        self.history: list[dict[str, float]] = []

    def _targets(self, loss: Loss) -> dict[str, Tensor]:
        """Labels of the training scans on the device, checked once."""
        raw = {"age": torch.from_numpy(self.cohort.age), "measures": torch.from_numpy(self.cohort.measures)}
        targets = loss.fit(raw)
        try:
            loss.check(targets)
        except ValueError as error:
            raise InputError(str(error), file=self.inputs.measures, remedy="Mend or leave out these scans.") from error
        if hasattr(loss, "weights"):
            some = {name: t[:PERPLEXITY_ROWS] for name, t in targets.items()}
            self.kernels = {name: round(perplexity(w), 6) for name, w in loss.weights(some).items()}
            for name, value in self.kernels.items():
                log.info("weights of %s: perplexity %.3f %% of uniform", name, 100 * value)
        return {name: t.to(self.place.device) for name, t in targets.items()}

    def loop(self, out: Path) -> int:
        """Train to the last epoch, saving after each; return the exit status."""
        options, world = self.options, self.world
        key = checkpoint.fingerprint(self.identity())
        self.restore(checkpoint.load(out / "last.ckpt", key))
        reader = Reader(self.arrays, self.place.device)
        bar = tqdm(total=options.epochs, initial=self.epoch, desc=self.inputs.method, unit="epoch", disable=None)
        with checkpoint.StopSignal() as stop:
            while self.epoch < options.epochs and not self.out_of_steps():
                for group in self.optimizer.param_groups:
                    group["lr"] = options.learning_rate * options.lr_decay ** (self.epoch // options.lr_decay_epochs)
                order = epoch_order(len(self.cohort), options.batch_size, options.seed, self.epoch)
                rows = self.cohort.index[world.share(order)[self.done :]]
                for ids, x in zip(order[self.done :], reader.batches(list(rows)), strict=False):
                    self.network.train()
                    loss = self.terms(x, ids) / options.accumulate
                    self.scaler.scale(loss).backward()
                    self.done += 1
                    if self.done % options.accumulate and self.done < len(order):
                        continue
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    self.optimizer.zero_grad(set_to_none=True)
                    self.step += 1
                    if self.must_stop(stop):
                        self.save(out, key)
                        log.warning("signal %d: saved after step %d, to be continued", stop.received, self.step)
                        return 128 + stop.received
                    if self.out_of_steps():
                        break
                self.end_epoch(out)
                self.save(out, key)
                bar.update()
        bar.close()
        reader.close()
        return self.finish(out)

    def terms(self, x: Tensor, ids: np.ndarray) -> Tensor:
        """Return the loss of one batch and add its terms to the epoch's sums, without waiting for the device.

        Views that are the same tensor are embedded once and their rows repeated: the loss and its gradient are those
        of the two views, at half the encoder's cost.
        """
        assert self.loss is not None
        with self.place.autocast():
            z = self.network(x.contiguous(memory_format=torch.channels_last_3d))
        z = self.world.gather(z, 1)
        if self.head == "projection" and self.method.views > 1:
            z = z.repeat(self.method.views, 1)
        where = torch.from_numpy(ids).to(self.place.device, non_blocking=True)
        terms = self.loss(z, {name: t[where] for name, t in self.targets.items()})
        self.term_names = list(terms)
        values = torch.stack([t.detach().float() for t in terms.values()])
        self.sums = values if self.sums is None else self.sums + values
        return terms["loss"]

    def end_epoch(self, out: Path) -> None:
        """Write the epoch into the history; the one place where the loop waits for the device."""
        assert self.sums is not None
        means = (self.sums / self.done).tolist()
        if not np.isfinite(means[0]):
            raise InputError(
                f"the loss is {means[0]} in epoch {self.epoch + 1}.", file=out, remedy="Lower pretrain: learning_rate."
            )
        row = {"epoch": self.epoch + 1, "step": self.step, **dict(zip(self.term_names, means, strict=True))}
        self.history.append({**row, "lr": self.optimizer.param_groups[0]["lr"]})
        self.epoch, self.done, self.sums = self.epoch + 1, 0, None
        if self.world.main:
            write_tsv(out / "history.tsv", pd.DataFrame(self.history), float_format="%.8g")

    def must_stop(self, stop: checkpoint.StopSignal) -> bool:
        """Say whether a signal came; ranks agree, now and then, so that all stop after the same step."""
        if self.world.size == 1:
            return bool(stop.received)
        if self.step % AGREE_EVERY:
            return False
        stop.received = self.world.agreed(stop.received)
        return bool(stop.received)

    def out_of_steps(self) -> bool:
        """Say whether the bound on steps is reached."""
        return 0 < self.options.max_steps <= self.step

    def identity(self) -> dict[str, Any]:
        """Everything that shapes the result: a checkpoint with another identity is not resumed."""
        return {
            "method": self.inputs.method,
            "options": self.options.as_dict(),
            "precision": self.place.precision,
            "device": self.place.device.type,
            "processes": self.world.size,
            "scans": self.cohort.rows["scan"].tolist(),
            "input": input_contract(self.arrays.meta),
            "targets": {name: checkpoint.digest(t) for name, t in self.targets.items()},
        }

    def save(self, out: Path, key: str) -> None:
        """Write ``last.ckpt``."""
        if not self.world.main:
            return
        checkpoint.save(
            out / "last.ckpt",
            {
                "fingerprint": key,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "progress": {"epoch": self.epoch, "done": self.done, "step": self.step, "history": self.history},
                "sums": self.sums,
                "term_names": getattr(self, "term_names", []),
                "random": checkpoint.random_state(),
            },
        )

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint."""
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        self.sums = None if state["sums"] is None else state["sums"].to(self.place.device)
        self.term_names = state["term_names"]
        checkpoint.set_random_state(state["random"])
        log.info("resumed after epoch %d, step %d", self.epoch, self.step)

    def finish(self, out: Path) -> int:
        """Write the encoder and its description."""
        if self.world.main:
            save_encoder(out, self.model, self.description())
            if not self.history:
                write_tsv(out / "history.tsv", pd.DataFrame(columns=["epoch", "step", "loss", "lr"]))
        self.world.barrier()
        return 0

    def description(self) -> dict[str, Any]:
        """Content of model.json."""
        return {
            "method": self.inputs.method,
            "architecture": self.options.encoder,
            "head": self.head,
            "embedding_dim": int(self.model.encoder.out_features),  # type: ignore[arg-type]
            "input": input_contract(self.arrays.meta),
            "fold": self.inputs.fold,
            "seed": self.options.seed,
            "hyperparameters": self.options.as_dict(),
            "precision": self.place.precision,
            "steps": self.step,
            "metrics": self.history[-1] if self.history else {},
            "weights_perplexity": self.kernels,
            "measures": {"regions": self.cohort.regions, "kinds": self.cohort.kinds},
            "statistics": self.loss.statistics() if self.loss else {},
            "train_scans": len(self.cohort),
            "dropped": self.cohort.dropped,
            "train_participants_sha256": self.cohort.participants_sha256,
            "train_participants": self.cohort.participants,
            "licence": "as of the training data",
            "versions": versions(("torch", "numpy")),
        }
