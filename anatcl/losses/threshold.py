"""Threshold: for each positive, only less similar subjects repel."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.age import WeightedRatios
from anatcl.losses.ranked import ranked_log_sums

METHOD = {
    "name": "threshold",
    "label": "Threshold",
    "order": 60,
    "loss": "Threshold",
    "options": {"temperature": "temperature", "sigma": "age_sigma"},
    "sentence": "In the threshold loss a pair is repelled only by participants who are further apart in age.",
    "cite": ("expw",),
}


class Threshold(WeightedRatios):
    """``-(1/N) sum_i sum_{k != i} w~_ik log( exp(s_ik) / sum_{t != i, w_it < w_ik} exp(s_it) )``, w the age kernel.

    A positive k without any less similar t (an empty sum) counts 0. Since k itself is
    not in the denominator, the loss can be negative. Source: Barbano et al. 2023 (arXiv 2211.08326); the public code
    sums the denominators of all k, which is another loss than the formula.
    """

    def log_ratio(self, s: Tensor, w: Tensor) -> Tensor:
        """Return (N, N) from similarities ``s`` and weights ``w`` (N, N)."""
        denominator, some = ranked_log_sums(s, w, ties=False)
        return torch.where(some, s - denominator, torch.zeros_like(s))
