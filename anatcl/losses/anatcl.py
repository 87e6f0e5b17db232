"""What AnatCL-global, -local and -z have in common: an anatomical term and an age term."""

from __future__ import annotations

from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, soft_info_nce
from anatcl.losses.kernels import age_rbf
from anatcl.spec.training import default


class Anatomical(Loss):
    """``lambda * L_w(anatomy) + alpha_age * L_w(age)``.

    Subclasses say what the anatomical weights are. Both factors are 1.0 and sigma is 2 years in the published run
    (from its file name; the paper's body was not at hand).

    Parameters
    ----------
    temperature : float
    sigma : float, years
        Width of the age kernel.
    lambda_ : float
        Factor of the anatomical term.
    alpha_age : float
        Factor of the age term; with 0 ages are not needed.
    """

    needs: tuple[str, ...] = ("features", "age")

    def __init__(
        self,
        temperature: float = default("temperature"),
        sigma: float = default("age_sigma"),
        lambda_: float = default("lambda_"),
        alpha_age: float = default("alpha_age"),
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.sigma = sigma
        self.lambda_ = lambda_
        self.alpha_age = alpha_age
        self.needs = ("features", "age") if alpha_age else ("features",)

    def prepare(self, measures: Tensor) -> Tensor:
        """Turn measures (n, K, M) into descriptors (n, F), once, before training."""
        raise NotImplementedError

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """See `Loss.fit`; the published descriptors learn nothing from the cohort."""
        targets = {"features": self.prepare(raw["measures"])}
        return targets | ({"age": raw["age"]} if self.alpha_age else {})

    def anatomy(self, features: Tensor) -> Tensor:
        """Return the anatomical weights (B, B) of prepared features (B, F)."""
        raise NotImplementedError

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the weight matrices (B, B) by name."""
        found = {"anatomy": self.anatomy(targets["features"])}
        if self.alpha_age:
            found["age"] = age_rbf(targets["age"], self.sigma)
        return found

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss", "anatomy", "age"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
        targets : mapping with ``features`` (B, F) from `prepare` and ``age`` (B,) in years
        """
        checked = {name: check_labels(z, targets[name], name) for name in self.needs}
        terms = soft_info_nce(z, self.weights(checked), self.temperature, copies)
        loss = self.lambda_ * terms["anatomy"]
        if self.alpha_age:
            loss = loss + self.alpha_age * terms["age"]
        return {"loss": loss, **terms}
