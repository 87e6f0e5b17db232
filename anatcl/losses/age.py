"""What the losses on the age kernel share."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, similarities, views_of, without_diagonal
from anatcl.losses.kernels import age_rbf
from anatcl.spec.training import default


class AgeLoss(Loss):
    """Weights ``w_ij = exp(-(y_i - y_j)^2 / (2 sigma^2))``, y the age.

    Parameters
    ----------
    temperature : float
    sigma : float, years
    """

    needs = ("age",)

    def __init__(self, temperature: float = default("temperature"), sigma: float = default("age_sigma")) -> None:
        super().__init__()
        self.temperature = temperature
        self.sigma = sigma

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the weight matrices (B, B) by name."""
        return {"age": age_rbf(targets["age"], self.sigma)}


class WeightedRatios(AgeLoss):
    """``-(1/N) sum_i sum_{k != i} w~_ik log_ratio_ik``; subclasses say what the ratio is."""

    def log_ratio(self, s: Tensor, w: Tensor) -> Tensor:
        """Return (N, N) from similarities ``s`` and weights ``w`` (N, N)."""
        raise NotImplementedError

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
        targets : mapping with ``age`` (B,) in years
        """
        z = z.repeat(copies, 1)
        age = check_labels(z, targets["age"], "age")
        views = views_of(z, len(age))
        w = self.weights({"age": age})["age"].repeat(views, views)
        log_ratio = self.log_ratio(similarities(z, self.temperature), w)
        positive = without_diagonal(w, 0.0)
        mass = positive.sum(1).clamp_min(torch.finfo(w.dtype).tiny)
        return {"loss": -((positive * log_ratio).sum(1) / mass).mean()}
