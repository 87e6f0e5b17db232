"""ExpW: subjects repel less the more alike they are."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, similarities, views_of, without_diagonal
from anatcl.losses.kernels import age_rbf


class ExpW(Loss):
    """``-(1/N) sum_i sum_{k != i} w~_ik log( exp(s_ik) / sum_{t != i} exp(s_it (1 - w_it)) )``, w the age kernel.

    Source: Barbano et al. 2023 (arXiv 2211.08326). The logits are not shifted by the row's maximum before they are
    multiplied by ``1 - w`` (the public code does that): the shift would not cancel and would change the loss. The
    log-sum-exp shifts by itself, where it does cancel.

    Parameters
    ----------
    temperature : float
    sigma : float, years
    """

    needs = ("age",)

    def __init__(self, temperature: float = 0.1, sigma: float = 2.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.sigma = sigma

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the weight matrices (B, B) by name."""
        return {"age": age_rbf(targets["age"], self.sigma)}

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
        s = similarities(z, self.temperature)
        denominator = torch.logsumexp(without_diagonal(s * (1 - w)), dim=1, keepdim=True)
        positive = without_diagonal(w, 0.0)
        mass = positive.sum(1).clamp_min(torch.finfo(w.dtype).tiny)
        return {"loss": -((positive * (s - denominator)).sum(1) / mass).mean()}
