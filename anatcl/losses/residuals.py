"""Measures beyond age, sex and head size: standardised residuals of a regression on the training part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fill_missing(x: Tensor) -> Tensor:
    """Replace NaN by the column's mean (0 where a column is empty)."""
    mean = torch.nan_to_num(torch.nanmean(x, dim=0))
    return torch.where(torch.isfinite(x), x, mean)


class Residuals:
    """Each measure regressed (least squares) on age, sex and intracranial volume, divided by the residuals' SD.

    Missing sex or volume counts as the training mean. A measure that age, sex and volume explain wholly, or that is the
    same for all participants, has residual 0.
    """

    def __init__(self) -> None:
        self.coefficients = torch.zeros(0)
        self.sd = torch.zeros(0)
        self.centre = torch.zeros(0)
        self.spread = torch.ones(0)

    def fit(self, measures: Tensor, covariates: Tensor) -> Tensor:
        """Learn from measures (n, K, M) and covariates (n, 3); return the residuals (n, K * M), float32."""
        flat = measures.double().flatten(1)
        covariates = fill_missing(covariates.double())
        self.centre = covariates.mean(0)
        self.spread = covariates.std(0, correction=0)
        self.spread[self.spread == 0] = 1.0
        design = self._design(covariates)
        self.coefficients = torch.linalg.pinv(design) @ flat
        self.sd = (flat - design @ self.coefficients).std(0, correction=0)
        self.sd[self.sd < 1e-9 * flat.abs().amax(0).clamp_min(1e-12)] = float("inf")  # a constant says nothing
        return self.of(flat, covariates)

    def _design(self, covariates: Tensor) -> Tensor:
        scaled = (covariates - self.centre) / self.spread
        return torch.cat([torch.ones(len(scaled), 1, dtype=scaled.dtype), scaled], dim=1)

    def of(self, flat: Tensor, covariates: Tensor) -> Tensor:
        """Return standardised residuals (n, K * M), float32, by what `fit` learned."""
        return ((flat - self._design(covariates) @ self.coefficients) / self.sd).float()

    def statistics(self) -> dict[str, Any]:
        """Return residual SDs and regression coefficients (rows: intercept, age, sex, volume)."""
        return {
            "residual_sd": torch.nan_to_num(self.sd, posinf=0.0).tolist(),  # 0: constant, not used
            "covariate_mean": self.centre.tolist(),
            "covariate_sd": self.spread.tolist(),
            "coefficients": self.coefficients.tolist(),
        }
