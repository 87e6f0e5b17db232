"""Fine-tuning: the encoder itself is trained on the task, instead of a probe on frozen features.

An option besides the probes, not a replacement: with few participants it overfits, and it costs a training per
fold. For fold k it starts from the encoder that was pretrained without fold k, or from one that serves every fold.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn
from torch.nn import functional as F

from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem, Refused
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes.cross_validation import Outcome, cross_validate
from anatcl.evaluate.probes.prepare import steps_of
from anatcl.evaluate.probes.probe import Make
from anatcl.models import ContrastiveModel
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.batches import Reader, epoch_order
from anatcl.pretrain.bundle import check_countable, most_volumes, save_encoder
from anatcl.pretrain.device import Device, seed_everything

log = logging.getLogger(__name__)
Loss = Callable[[Tensor, Tensor], Tensor]
Start = Callable[[int], tuple[nn.Module, dict[str, Any]]]


def rows_as_features(scans: pd.Series, arrays: PackedArrays) -> Features:
    """Row of each scan in the packed volumes, as a feature of one column."""
    where = pd.Index(arrays.rows["scan"]).get_indexer(scans).astype(float)
    return Features({-1: where[:, None]}, where >= 0, ["row"])


def with_head(model: nn.Module, outputs: int, shape: tuple[int, int, int], seed: int) -> ContrastiveModel:
    """An encoder with one new linear layer, mirrored axes as before.

    Parameters
    ----------
    model : nn.Module
        With ``embed``: one of ours, or `anatcl.pretrain.outside.Outside`.
    outputs : int
        Of the new layer.
    shape : tuple of 3 int
        Of a volume: the length of the embedding is measured where the network does not say it.
    seed : int
        Of the new layer.
    """
    ours = isinstance(model, ContrastiveModel)
    body: Any = model.encoder if ours else model
    if not isinstance(getattr(body, "out_features", None), int):
        with torch.inference_mode():
            body.out_features = int(model.eval().embed(torch.zeros(1, 1, *shape)).shape[1])  # type: ignore[operator]
    seed_everything(seed)
    net = ContrastiveModel(body, f"linear-{outputs}")
    net.flip = model.flip if ours else ()  # type: ignore[assignment]
    return net


class FineTune:
    """Runs the outer splits of a task with an encoder that is trained on.

    Parameters
    ----------
    arrays : PackedArrays
        Volumes.
    start : callable
        Gives for a fold the encoder to start from and its ``model.json``, again on every call.
    device : Device
        Where to compute.
    epochs : int
        Passes over the training rows.
    batch_size : int
        Volumes per step.
    learning_rate : float
        Of Adam, for the encoder; the new output layer learns ten times faster.
    out_dir : Path, optional
        Where the tuned networks go: ``<protocol>/fold-<k>``.
    """

    def __init__(
        self,
        arrays: PackedArrays,
        start: Start,
        device: Device,
        epochs: int = 10,
        batch_size: int = 8,
        learning_rate: float = 1e-4,
        out_dir: Path | None = None,
    ) -> None:
        self.arrays = arrays
        self.start = start
        self.out_dir = out_dir
        self.device = device
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        if device.device.type == "cuda":
            most = most_volumes(arrays.shape)
            remedy = f"Set evaluate: finetune: batch_size to at most {most}."
            check_countable(batch_size, most, arrays.shape, remedy)

    def __call__(self, problem: Problem, features: Features, splits: list[Split], seed: int) -> Outcome:
        """Predictions of all splits, as `anatcl.evaluate.probes.cross_validation.cross_validate` gives them.

        Raises
        ------
        Refused
            The task prepares features by covariates or sites: a network that reads volumes has none to prepare.
        """
        if steps_of(problem.task):
            raise Refused("fine-tuning cannot remove covariates or site effects from volumes; the probe can.", problem)
        return cross_validate(problem, features, splits, seed, make=lambda split: self._make(problem, split, seed))

    def _make(self, problem: Problem, split: Split, seed: int) -> Make:
        encoder = split.fold if split.encoder < 0 else split.encoder
        n_out = 0 if problem.task.kind == "regression" else len(problem.classes)
        out = None if self.out_dir is None else self.out_dir / _place(split)
        about = {"task": problem.task.name, "classes": list(problem.classes), "fold": int(split.fold)}
        return lambda n_features: Network(self, encoder, n_out, seed, out, about)


def _place(split: Split) -> str:
    return f"repeat-{split.repeat}_fold-{split.fold}" if split.repeat else f"fold-{split.fold}"


class Network:
    """An encoder with one new layer as a model of `anatcl.evaluate.probes.probe.Probe`; features are rows of volumes.

    Parameters
    ----------
    how : FineTune
        Volumes, place and options.
    encoder : int
        Which encoder to start from.
    n_classes : int
        0 for a regression.
    seed : int
        Of the new layer and of the order of the batches.
    out : Path, optional
        Folder of the tuned network.
    about : mapping, optional
        What its ``model.json`` says of the task.
    """

    inner_prediction_ = None

    def __init__(
        self,
        how: FineTune,
        encoder: int,
        n_classes: int,
        seed: int,
        out: Path | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.how, self.encoder, self.n_classes, self.seed = how, encoder, n_classes, seed
        self.out, self.about = out, dict(about or {})

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Network:
        """Train on rows of volumes `x` (n, 1), targets `y` (n, 1) or codes (n,); the other arguments are not read."""
        device = self.how.device.device
        model, self.description_ = self.how.start(self.encoder)
        self.net_ = with_head(model, self.n_classes or 1, self.how.arrays.shape, self.seed)
        self.net_.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if self.n_classes:
            count = np.bincount(y, minlength=self.n_classes)
            weight = torch.tensor(len(y) / (self.n_classes * count), dtype=torch.float32, device=device)
            self.log_prior_ = np.log(count / count.sum())
            self._train(x[:, 0].astype(int), y, nn.CrossEntropyLoss(weight))
        else:
            self.centre_, self.spread_ = y[:, 0].mean(), y[:, 0].std()
            self._train(x[:, 0].astype(int), (y[:, 0] - self.centre_) / self.spread_, F.l1_loss)
        if self.out is not None:
            self._save(self.out, x[:, 0].astype(int))
        return self

    def _save(self, out: Path, rows: np.ndarray) -> None:
        """Write the tuned network as a bundle; whom it was tuned on counts as seen."""
        people = self.how.arrays.rows["participant_id"].iloc[np.unique(rows)].astype(str)
        seen = sorted({*people, *(self.description_.get("train_participants") or [])})
        scale = {} if self.n_classes else {"centre": float(self.centre_), "spread": float(self.spread_)}
        told = {"embedding_dim": int(self.net_.encoder.out_features), "head": self.net_.kind}  # type: ignore[arg-type]
        told |= {"output": {**self.about, **scale}, "train_participants": seen}
        save_encoder(out, self.net_, {**self.description_, "fine_tuned": True, **told})

    def predict(self, x: np.ndarray) -> np.ndarray:
        """See `anatcl.evaluate.probes.probe.Regressor`."""
        return self._outputs(x) * self.spread_ + self.centre_

    def decision(self, x: np.ndarray) -> np.ndarray:
        """See `anatcl.evaluate.probes.probe.Classifier`."""
        found: np.ndarray = log_softmax(self._outputs(x), axis=1)
        return found

    def probability(self, x: np.ndarray) -> np.ndarray:
        """See `anatcl.evaluate.probes.probe.Classifier`."""
        found: np.ndarray = softmax(self.decision(x) + self.log_prior_, axis=1)
        return found

    def leverage(self, x: np.ndarray) -> None:
        """A network has no linear leverage."""

    def _train(self, volume: np.ndarray, y: np.ndarray, loss: Loss) -> None:
        """Adam over the epochs; targets (n,) are standardised numbers or codes."""
        how, net = self.how, self.net_
        groups = [
            {"params": net.encoder.parameters(), "lr": how.learning_rate},
            {"params": net.head.parameters(), "lr": 10 * how.learning_rate},
        ]
        optimizer, scaler = torch.optim.Adam(groups, weight_decay=5e-5), how.device.scaler()
        target = torch.as_tensor(y if y.dtype.kind == "i" else y.astype(np.float32)).to(how.device.device)
        net.train()
        with contextlib.closing(Reader(how.arrays, how.device.device, 4, np.unique(volume))) as reader:
            for epoch in range(how.epochs):
                order = epoch_order(len(volume), how.batch_size, self.seed, epoch)
                total = torch.zeros((), device=how.device.device)
                for rows, x in zip(order, reader.batches([volume[o] for o in order]), strict=True):
                    with how.device.autocast():
                        out = net(x).float()
                    wanted = target[torch.as_tensor(rows).to(target.device, non_blocking=True)]
                    value = loss(out if out.shape[1] > 1 else out[:, 0], wanted)
                    optimizer.zero_grad(set_to_none=True)
                    scaler.scale(value).backward()
                    scaler.step(optimizer)
                    scaler.update()
                    total += value.detach()
                log.info("epoch %d of %d: loss %.4f", epoch + 1, how.epochs, float(total) / len(order))

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        """Outputs of the network for rows of volumes (m, 1), shape (m, outputs)."""
        self.net_.eval()
        volume, size = x[:, 0].astype(int), self.how.batch_size
        parts = [volume[i : i + size] for i in range(0, len(volume), size)]
        with (
            contextlib.closing(Reader(self.how.arrays, self.how.device.device, workers=4)) as reader,
            torch.inference_mode(),
            self.how.device.autocast(),
        ):
            return torch.cat([self.net_(batch).float() for batch in reader.batches(parts)]).cpu().numpy()
