"""Threshold: for each positive, only subjects that are less alike repel."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, similarities, views_of, without_diagonal
from anatcl.losses.kernels import age_rbf
from anatcl.losses.ranked import ranked_log_sums


class Threshold(Loss):
    """``-(1/N) sum_i sum_{k != i} w~_ik log( exp(s_ik) / sum_{t != i, w_it < w_ik} exp(s_it) )``, w the age kernel.

    A positive k with nobody less alike (an empty sum) has nothing to be told apart from and counts 0. Since k itself is
    not in the denominator, the loss can be negative. Source: Barbano et al. 2023 (arXiv 2211.08326); the public code
    sums the denominators of all k, which is another loss than the formula.

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
        denominator, some = ranked_log_sums(s, w, ties=False)
        positive = without_diagonal(w, 0.0)
        mass = positive.sum(1).clamp_min(torch.finfo(w.dtype).tiny)
        log_ratio = torch.where(some, s - denominator, torch.zeros_like(s))
        return {"loss": -((positive * log_ratio).sum(1) / mass).mean()}
