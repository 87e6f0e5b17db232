"""Fine-tuning: the encoder itself is trained on the task, instead of a probe on frozen features.

An option beside the probes, not a replacement: on few people it fits more than it learns, and it costs a training per
fold. For fold k it starts from the encoder that was pretrained without fold k.
"""

from __future__ import annotations

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
from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.data.split import Split
from anatcl.evaluate.probes.cross_validation import Outcome, check_answerable, classified, frame_of
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
        """Predictions of all splits, as `anatcl.evaluate.probes.cross_validation.cross_validate` gives them."""
        check_answerable(problem, splits)
        volume = features.matrices[-1][:, 0].astype(int)
        parts = [self._one_split(problem, volume, split, seed) for split in splits]
        table = pd.concat(parts).sort_values(["repeat", "encoder", "scan"], kind="stable").reset_index(drop=True)
        return Outcome(table, [], {})

    def _one_split(self, problem: Problem, volume: np.ndarray, split: Split, seed: int) -> pd.DataFrame:
        encoder = split.fold if split.encoder < 0 else split.encoder
        model, _ = load_encoder(self.pretrained / f"fold-{encoder}", self.arrays)
        y = problem.y[split.train]
        seed_everything(seed)
        n_out = 1 if problem.task.kind == "regression" else len(problem.classes)
        body = copy.deepcopy(model.encoder)
        net = nn.Sequential(body, nn.Linear(int(body.out_features), n_out))  # type: ignore[arg-type]
        net.to(self.device.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        rows = np.unique(volume[np.concatenate([split.train, split.test])])
        reader = Reader(self.arrays, self.device.device, workers=4, resident=rows)
        frame = frame_of(problem, split)
        if problem.task.kind == "regression":
            centre, spread = y.mean(), y.std()
            self._train(net, reader, volume[split.train], (y - centre) / spread, F.l1_loss, seed)
            found = self._predict(net, reader, volume[split.test])[:, 0] * spread + centre
            table = frame.assign(y_true=problem.y[split.test], y_pred=found)
        else:
            count = np.bincount(y, minlength=n_out)
            weight = torch.tensor(len(y) / (n_out * count), dtype=torch.float32, device=self.device.device)
            loss = nn.CrossEntropyLoss(weight)
            self._train(net, reader, volume[split.train], y, loss, seed)
            decision = log_softmax(self._predict(net, reader, volume[split.test]), axis=1)
            probability = softmax(decision + np.log(count / count.sum()), axis=1)
            table = classified(frame, problem, decision, probability, problem.y[split.test])
        reader.close()
        return table

    def _train(self, net: nn.Module, reader: Reader, volume: np.ndarray, y: np.ndarray, loss: Loss, seed: int) -> None:
        """Adam over `epochs`; targets (n,) are standardised numbers or codes."""
        body, head = net.children()
        groups = [
            {"params": body.parameters(), "lr": self.learning_rate},
            {"params": head.parameters(), "lr": 10 * self.learning_rate},
        ]
        optimizer = torch.optim.Adam(groups, weight_decay=5e-5)
        target = torch.as_tensor(y if y.dtype.kind == "i" else y.astype(np.float32)).to(self.device.device)
        net.train()
        for epoch in range(self.epochs):
            order = epoch_order(len(volume), self.batch_size, seed, epoch)
            total = torch.zeros((), device=self.device.device)
            for rows, x in zip(order, reader.batches([volume[o] for o in order]), strict=True):
                with self.device.autocast():
                    out = net(x).float()
                value = loss(
                    out if out.shape[1] > 1 else out[:, 0],
                    target[torch.as_tensor(rows).to(target.device, non_blocking=True)],
                )
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                total += value.detach()
            log.info("epoch %d of %d: loss %.4f", epoch + 1, self.epochs, float(total) / len(order))

    def _predict(self, net: nn.Module, reader: Reader, volume: np.ndarray) -> np.ndarray:
        """Outputs for volumes, shape (m, outputs)."""
        net.eval()
        parts = [volume[i : i + self.batch_size] for i in range(0, len(volume), self.batch_size)]
        found: list[Tensor] = []
        with torch.inference_mode(), self.device.autocast():
            found += [net(x).float() for x in reader.batches(parts)]
        return torch.cat(found).cpu().numpy()
