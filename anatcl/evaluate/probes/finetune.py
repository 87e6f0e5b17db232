"""Fine-tuning: the encoder itself is trained on the task, instead of a probe on frozen features.

An option beside the probes, not a replacement: on few people it fits more than it learns, and it costs a training per
fold. For fold k it starts from the encoder that was pretrained without fold k.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable
from pathlib import Path

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
from anatcl.pretrain.arrays import PackedArrays
from anatcl.pretrain.batches import Reader, epoch_order
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.device import Device, seed_everything

log = logging.getLogger(__name__)
Loss = Callable[[Tensor, Tensor], Tensor]


def rows_as_features(scans: pd.Series, arrays: PackedArrays) -> Features:
    """Row of each scan in the packed volumes, as a feature of one column."""
    where = pd.Index(arrays.rows["scan"]).get_indexer(scans).astype(float)
    return Features({-1: where[:, None]}, where >= 0, ["row"])


class FineTune:
    """Runs the outer splits of a task with an encoder that is trained on.

    Parameters
    ----------
    arrays : PackedArrays
        Volumes.
    pretrained : str or Path
        Folder of fold-*/encoder.safetensors.
    device : Device
        Where to compute.
    epochs : int
        Passes over the training rows.
    batch_size : int
        Volumes per step.
    learning_rate : float
        Of Adam, for the encoder; the new output layer learns ten times faster.
    """

    def __init__(
        self,
        arrays: PackedArrays,
        pretrained: str | Path,
        device: Device,
        epochs: int = 10,
        batch_size: int = 8,
        learning_rate: float = 1e-4,
    ) -> None:
        self.arrays = arrays
        self.pretrained = Path(pretrained)
        self.device = device
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate

    def __call__(self, problem: Problem, features: Features, splits: list[Split], seed: int) -> Outcome:
        """Predictions of all splits, as `anatcl.evaluate.probes.cross_validation.cross_validate` gives them.

        Raises
        ------
        Refused
            The task prepares features by covariates or sites: a network that reads volumes has none to prepare.
        """
        if steps_of(problem.task):
            raise Refused("fine-tuning cannot take covariates or sites out of volumes; the probe can.", problem)
        return cross_validate(problem, features, splits, seed, make=lambda split: self._make(problem, split, seed))

    def _make(self, problem: Problem, split: Split, seed: int) -> Make:
        encoder = split.fold if split.encoder < 0 else split.encoder
        n_out = 0 if problem.task.kind == "regression" else len(problem.classes)
        return lambda n_features: Network(self, self.pretrained / f"fold-{encoder}", n_out, seed)


class Network:
    """An encoder with one new layer as a model of `anatcl.evaluate.probes.probe.Probe`; features are rows of volumes.

    Parameters
    ----------
    how : FineTune
        Volumes, place and options.
    encoder : Path
        Folder of the encoder to start from.
    n_classes : int
        0 for a regression.
    seed : int
        Of the new layer and of the order of the batches.
    """

    inner_prediction_ = None

    def __init__(self, how: FineTune, encoder: Path, n_classes: int, seed: int) -> None:
        self.how, self.encoder, self.n_classes, self.seed = how, encoder, n_classes, seed

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Network:
        """Train on rows of volumes `x` (n, 1), targets `y` (n, 1) or codes (n,); the other arguments are not read."""
        device = self.how.device.device
        model, _ = load_encoder(self.encoder, self.how.arrays)
        seed_everything(self.seed)
        body = copy.deepcopy(model.encoder)
        head = nn.Linear(int(body.out_features), self.n_classes or 1)  # type: ignore[arg-type]
        self.net_ = nn.Sequential(body, head)
        self.net_.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if self.n_classes:
            count = np.bincount(y, minlength=self.n_classes)
            weight = torch.tensor(len(y) / (self.n_classes * count), dtype=torch.float32, device=device)
            self.log_prior_ = np.log(count / count.sum())
            self._train(x[:, 0].astype(int), y, nn.CrossEntropyLoss(weight))
        else:
            self.centre_, self.spread_ = y[:, 0].mean(), y[:, 0].std()
            self._train(x[:, 0].astype(int), (y[:, 0] - self.centre_) / self.spread_, F.l1_loss)
        return self

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
        body, head = net.children()
        groups = [
            {"params": body.parameters(), "lr": how.learning_rate},
            {"params": head.parameters(), "lr": 10 * how.learning_rate},
        ]
        optimizer = torch.optim.Adam(groups, weight_decay=5e-5)
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
                    value.backward()
                    optimizer.step()
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
