"""AnatCL-z: anatomical similarity beyond age, sex and head size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anatcl.losses.anatcl import Anatomical
from anatcl.losses.base import Targets
from anatcl.losses.kernels import squared_distances
from anatcl.losses.residuals import Residuals
from anatcl.spec.training import default

METHOD = {
    "name": "anatcl-z",
    "label": "AnatCL-z",
    "order": 30,
    "loss": "AnatCLZ",
    "options": {"temperature": "temperature", "sigma": "age_sigma", "lambda_": "lambda_", "alpha_age": "alpha_age"},
    "sentence": (
        "AnatCL-z replaces the cosine of raw measures by a Gaussian kernel on standardised measures, "
        "residualised on age, sex and intracranial volume with training statistics; it is a variant of this "
        "workflow, not of the paper."
    ),
}

PAIRS_OF = 2000  # subjects from which the bandwidth is taken


class AnatCLZ(Anatomical):
    """Weights ``exp(-|r_i - r_j|^2 / (2 h^2))`` on standardised residuals r of the measures.

    The published cosines of raw measures are almost the same for all participants (perplexity above 99.9 % of uniform),
    since all brains share the profile over regions. Here each of the K * M measures is regressed on age, sex and
    intracranial volume and divided by the residuals' SD, and h is half the median distance between subjects: the
    weights then reflect who resembles whom. Regression, SD and h are learned from the training part alone (`fit`). Not
    published; a variant of this project.

    Missing sex or volume counts as the training mean.
    """

    def __init__(
        self,
        temperature: float = default("temperature"),
        sigma: float = default("age_sigma"),
        lambda_: float = default("lambda_"),
        alpha_age: float = default("alpha_age"),
    ) -> None:
        super().__init__(temperature, sigma, lambda_, alpha_age)
        self.beyond = Residuals()
        self.bandwidth = 1.0

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Learn the regression and the bandwidth; return residuals (n, K * M) as ``features``."""
        features = self.beyond.fit(raw["measures"], raw["covariates"])
        distances = squared_distances(features[:PAIRS_OF].double()).sqrt()
        pairs = distances[torch.triu(torch.ones_like(distances, dtype=torch.bool), 1)]
        self.bandwidth = max(float(pairs.median()) / 2, 1e-6) if len(pairs) else 1.0
        return {"features": features} | ({"age": raw["age"]} if self.alpha_age else {})

    def statistics(self) -> dict[str, Any]:
        """Return the bandwidth, and what `Residuals.statistics` says."""
        return {"bandwidth": self.bandwidth, **self.beyond.statistics()}

    def anatomy(self, features: Tensor) -> Tensor:
        """Return the kernel (B, B)."""
        return torch.exp(-squared_distances(features) / (2 * self.bandwidth**2))
