"""ExpW: the more similar two subjects are, the less they repel."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.age import WeightedRatios
from anatcl.losses.base import without_diagonal

METHOD = {
    "name": "expw",
    "label": "ExpW",
    "order": 50,
    "loss": "ExpW",
    "options": {"temperature": "temperature", "sigma": "age_sigma"},
    "sentence": "ExpW reduces the repulsion between participants the closer they are in age.",
    "cite": ("expw",),
}


class ExpW(WeightedRatios):
    """``-(1/N) sum_i sum_{k != i} w~_ik log( exp(s_ik) / sum_{t != i} exp(s_it (1 - w_it)) )``, w the age kernel.

    Source: Barbano et al. 2023 (arXiv 2211.08326). The logits are not shifted by the row's maximum before they are
    multiplied by ``1 - w`` (the public code does that): the shift would not cancel and would change the loss. The
    log-sum-exp shifts by itself, where it does cancel.
    """

    def log_ratio(self, s: Tensor, w: Tensor) -> Tensor:
        """Return (N, N) from similarities ``s`` and weights ``w`` (N, N)."""
        return s - torch.logsumexp(without_diagonal(s * (1 - w)), dim=1, keepdim=True)
