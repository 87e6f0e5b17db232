"""Regression of the regional measures beyond age, sex and head size."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from anatcl.losses.base import Loss, Targets, check_labels, upcast
from anatcl.losses.residuals import Residuals

METHOD = {
    "name": "regress",
    "label": "Regional regression",
    "order": 35,
    "loss": "Regress",
    "views": 1,
    "sentence": (
        "Regional regression trains the encoder to predict the regional measures, standardised and residualised on "
        "age, sex and intracranial volume with training statistics, by a linear layer on the embedding (smooth L1)."
    ),
}


class Regress(Loss):
    """Smooth L1 (Huber, turning point 1 SD), mean over subjects and measures.

    ``(1/(N P)) sum_ip h(z_ip - r_ip)`` with ``h(d) = d^2 / 2`` where ``|d| < 1``, else ``|d| - 1/2``. r are the
    P = K * M measures as residuals beyond age, sex and intracranial volume, each divided by its SD (`Residuals`); z are
    the outputs of a linear layer on the embedding. The turning point keeps a failed parcellation from dominating
    the gradient. Not published; a variant of this project.
    """

    needs = ("features",)
    head = "linear"

    def __init__(self) -> None:
        super().__init__()
        self.beyond = Residuals()

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Learn the regression on age, sex and volume; the head has an output for each measure from then on."""
        features = self.beyond.fit(raw["measures"], raw["covariates"])
        self.head = f"linear-{features.shape[1]}"
        return {"features": features}

    def statistics(self) -> dict[str, Any]:
        """See `Residuals.statistics`."""
        return self.beyond.statistics()

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``, in squared SDs (SDs beyond the turning point).

        Parameters
        ----------
        z : Tensor of shape (N, P)
            Predictions; views are the same person's, so each is compared with the person's measures.
        targets : mapping with ``features`` (B, P)
        """
        features = check_labels(z, targets["features"], "features")
        if z.ndim != 2 or z.shape[1] != features.shape[1] or len(z) % len(features):
            raise ValueError(f"predictions {tuple(z.shape)} do not fit measures {tuple(features.shape)}")
        return {"loss": F.smooth_l1_loss(upcast(z), features.repeat(len(z) // len(features), 1))}
