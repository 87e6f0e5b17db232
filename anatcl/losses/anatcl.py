"""What AnatCL-global, -local and -z have in common: an anatomical term and an age term."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anatcl.base.errors import InputError
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

    Raises
    ------
    InputError
        Both factors are 0.
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
        if not lambda_ and not alpha_age:
            raise InputError("lambda and alpha_age are both 0: nothing is left to learn.", remedy="Raise one of them.")
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


class Cosine(Anatomical):
    """An anatomical term whose weights are cosines, of raw or of standardised measures.

    The published run's name holds ``normTrue``, which can be read in two ways. Raw: cosines of the measures as they
    are, which are almost the same for all participants, since all brains share one profile over regions. Standardised:
    each of the K * M measures is first z-scored over the training participants; cosines then lie on both sides of 0,
    and a negative one counts as 0, because the rows of the weights are normalised to one.

    Parameters
    ----------
    temperature, sigma, lambda_, alpha_age
        See `Anatomical`.
    standardise : bool
        Which reading.
    """

    def __init__(
        self,
        temperature: float = default("temperature"),
        sigma: float = default("age_sigma"),
        lambda_: float = default("lambda_"),
        alpha_age: float = default("alpha_age"),
        standardise: bool = default("standardise"),
    ) -> None:
        super().__init__(temperature, sigma, lambda_, alpha_age)
        self.standardise = standardise
        self.mean = torch.zeros(0)
        self.sd = torch.ones(0)

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Learn mean and SD of each measure over the training scans, where they are used."""
        if not self.standardise:
            return super().fit(raw)
        measures = raw["measures"].double()
        self.mean, self.sd = measures.mean(0), measures.std(0, correction=0)
        self.sd[self.sd < 1e-9 * measures.abs().amax(0).clamp_min(1e-12)] = float("inf")  # a constant says nothing
        return super().fit({**raw, "measures": self.scaled(raw["measures"])})

    def scaled(self, measures: Tensor) -> Tensor:
        """Return z-scores (n, K, M) of measures (n, K, M) by what `fit` learned."""
        return ((measures.double() - self.mean) / self.sd).to(measures.dtype)

    def statistics(self) -> dict[str, Any]:
        """Return mean and SD (0: constant, not used) of each measure, lists of K lists of M."""
        if not self.standardise:
            return {}
        return {"measure_mean": self.mean.tolist(), "measure_sd": torch.nan_to_num(self.sd, posinf=0.0).tolist()}

    def reading(self) -> str:
        """See `Loss.reading`."""
        if self.standardise:
            return "cosines of measures standardised over the training participants (standardise: true)"
        return "cosines of the raw measures (standardise: false, the published reading)"

    def cosines(self, features: Tensor) -> Tensor:
        """Return the mean cosines (B, B) over groups."""
        raise NotImplementedError

    def anatomy(self, features: Tensor) -> Tensor:
        """Return the weights (B, B)."""
        found = self.cosines(features)
        return found.clamp_min(0) if self.standardise else found
