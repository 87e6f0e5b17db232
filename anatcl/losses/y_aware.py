"""y-Aware contrastive loss: subjects of similar age attract."""

from __future__ import annotations

from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, soft_info_nce
from anatcl.losses.kernels import age_rbf


class YAware(Loss):
    """``L_w(w_ij = exp(-(y_i - y_j)^2 / (2 sigma^2)))``.

    Source: Dufumier et al. 2021 (arXiv 2106.08808), where sigma = 5 years; AnatCL's published run name says 2.

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
        age = check_labels(z, targets["age"], "age")
        return {"loss": soft_info_nce(z, self.weights({"age": age}), self.temperature, copies)["age"]}
