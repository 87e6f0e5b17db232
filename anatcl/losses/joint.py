"""Weighted sums of losses on one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from anatcl.losses.base import Loss, Targets

JOINED = "+"  # as `anatcl.models.ContrastiveModel` reads it


class Joint(Loss):
    """``sum_m weight_m * L_m``: one encoder, one projection for all contrastive parts, one head for each other kind.

    Parameters
    ----------
    parts : mapping of str to Loss
        By the name of the method.
    weights : mapping of str to float
        Factor of each part.
    """

    def __init__(self, parts: Mapping[str, Loss], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.parts = dict(parts)
        self.factors = dict(weights)
        self.needs = tuple(dict.fromkeys(label for loss in parts.values() for label in loss.needs))

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Fit each part; its targets are kept under its name. From then on `head` names the heads of all."""
        found = {f"{m} {label}": t for m, loss in self.parts.items() for label, t in loss.fit(raw).items()}
        self.head = JOINED.join(sorted({loss.head for loss in self.parts.values()}))
        return found

    def _own(self, name: str, targets: Targets) -> dict[str, Tensor]:
        """Targets of one part."""
        return {key.removeprefix(f"{name} "): t for key, t in targets.items() if key.startswith(f"{name} ")}

    def check(self, targets: Targets) -> None:
        """See `Loss.check`."""
        for name, loss in self.parts.items():
            loss.check(self._own(name, targets))

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the matrices of all parts, by method and name."""
        own = {name: loss.weights(self._own(name, targets)) for name, loss in self.parts.items()}
        return {f"{name} {kernel}": w for name, found in own.items() for kernel, w in found.items()}

    def statistics(self) -> dict[str, Any]:
        """Return what each part learned, by method."""
        return {name: loss.statistics() for name, loss in self.parts.items()}

    def reading(self) -> str:
        """See `Loss.reading`."""
        return "; ".join(f"{name}: {loss.reading()}" for name, loss in self.parts.items() if loss.reading())

    def forward(self, z: Tensor | Mapping[str, Tensor], targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}`` and each part's own loss, without its factor, under the method's name.

        Parameters
        ----------
        z : mapping of str to Tensor, or Tensor
            Outputs by head; the tensor itself where all parts have one head.
        targets : mapping
            From `fit`, rows of the batch.
        """
        outputs = {self.head: z} if isinstance(z, Tensor) else z
        own = {
            name: loss(outputs[loss.head], self._own(name, targets), copies)["loss"]
            for name, loss in self.parts.items()
        }
        return {"loss": sum(self.factors[name] * value for name, value in own.items()), **own}
