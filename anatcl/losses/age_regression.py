"""Supervised age regression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anatcl.base.words import plural
from anatcl.losses.base import Loss, Targets, check_labels, upcast

METHOD = {
    "name": "age-regression",
    "label": "Age regression",
    "order": 100,
    "loss": "AgeRegression",
    "views": 1,
    "sentence": ("Age regression is supervised: the encoder is trained to predict age by its mean absolute error."),
}


class AgeRegression(Loss):
    """Mean absolute error in years.

    The linear unit predicts standardised ages (mean and SD of the training part), so that its start is the training
    mean; the loss is in years.
    """

    needs = ("age",)
    head = "regression"

    def __init__(self) -> None:
        super().__init__()
        self.mean = 0.0
        self.sd = 1.0

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Learn mean and SD of age."""
        age = raw["age"].double()
        finite = age[torch.isfinite(age)]
        self.mean = float(finite.mean()) if len(finite) else 0.0
        self.sd = max(float(finite.std(correction=0)), 1e-3) if len(finite) else 1.0
        return {"age": raw["age"]}

    def statistics(self) -> dict[str, Any]:
        """Return mean and SD in years."""
        return {"age_mean": self.mean, "age_sd": self.sd}

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``, in years.

        Parameters
        ----------
        z : Tensor of shape (N,)
            Standardised predictions.
        targets : mapping with ``age`` (B,) in years
        """
        if z.ndim != 1:
            raise ValueError(f"age regression takes one number per subject, not shape {tuple(z.shape)}")
        age = check_labels(z, targets["age"], "age")
        if len(z) % len(age):
            raise ValueError(f"{plural(len(z), 'prediction')} cannot make whole views of {plural(len(age), 'subject')}")
        predicted = upcast(z) * self.sd + self.mean
        return {"loss": (predicted - age.repeat(len(z) // len(age))).abs().mean()}
