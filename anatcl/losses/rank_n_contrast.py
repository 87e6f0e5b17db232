"""Rank-N-Contrast: distances between embeddings are to rank as distances between ages do."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, upcast, views_of, without_diagonal
from anatcl.losses.ranked import ranked_log_sums
from anatcl.spec.training import default

METHOD = {
    "name": "rank-n-contrast",
    "label": "Rank-N-Contrast",
    "order": 70,
    "loss": "RankNContrast",
    "options": {"temperature": "rank_temperature"},
    "sentence": "Rank-N-Contrast orders pairs by their distance in age.",
    "cite": ("rnc",),
    "references": {
        "rnc": {
            "short": "Zha et al., 2023",
            "bibtex": """@inproceedings{rnc,
  author    = {Zha, Kaiwen and Cao, Peng and Son, Jeany and Yang, Yuzhe and Katabi, Dina},
  title     = {Rank-{N}-Contrast: learning continuous representations for regression},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}, eprint = {2210.01189}, archiveprefix = {arXiv}
}
""",
        },
    },
}


class RankNContrast(Loss):
    """``(1/N) sum_i 1/(N-1) sum_{j != i} -log( exp(-|v_i - v_j| / t) / sum_{k in S_ij} exp(-|v_i - v_k| / t) )``.

    ``S_ij = {k != i : |y_i - y_k| >= |y_i - y_j|}``. Source: Zha et al. 2023 (arXiv 2210.01189): Euclidean distance
    between encoder outputs (no head, no normalisation), absolute difference of labels, temperature 2.

    Parameters
    ----------
    temperature : float
    """

    needs = ("age",)
    head = "none"

    def __init__(self, temperature: float = default("rank_temperature")) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
            Encoder outputs, not normalised.
        targets : mapping with ``age`` (B,) in years
        """
        z = z.repeat(copies, 1)
        age = check_labels(z, targets["age"], "age")
        age = age.repeat(views_of(z, len(age)))
        with torch.autocast(z.device.type, enabled=False):
            z = upcast(z)
            # Without matrix products: they cancel for close rows. The gradient at distance 0 (twin views) is 0.
            s = -torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") / self.temperature
        apart = (age[:, None] - age[None, :]).abs()
        denominator, some = ranked_log_sums(s, -apart, ties=True)
        log_ratio = without_diagonal(torch.where(some, s - denominator, torch.zeros_like(s)), 0.0)
        n = z.shape[0]
        return {"loss": -log_ratio.sum() / (n * (n - 1))}
