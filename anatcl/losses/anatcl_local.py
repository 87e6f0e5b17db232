"""AnatCL-local: region by region, the three measures compared."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.anatcl import Cosine
from anatcl.losses.kernels import cosine_mean, unit_vectors

METHOD = {
    "name": "anatcl-local",
    "label": "AnatCL (local)",
    "order": 20,
    "loss": "AnatCLLocal",
    "options": {
        "temperature": "temperature",
        "sigma": "age_sigma",
        "lambda_": "lambda_",
        "alpha_age": "alpha_age",
        "standardise": "standardise",
    },
    "sentence": (
        "AnatCL (local) weights pairs of participants by the similarity of their measures region by region, and of "
        "their ages."
    ),
    "cite": ("anatcl",),
}


def min_max(measures: Tensor) -> Tensor:
    """Scale each measure to 0..1 across the regions of that subject; a constant measure becomes 0.

    Parameters
    ----------
    measures : Tensor of shape (B, K, M)
    """
    low = measures.amin(dim=1, keepdim=True)
    span = measures.amax(dim=1, keepdim=True) - low
    return (measures - low) / torch.where(span > 0, span, torch.ones_like(span))


class AnatCLLocal(Cosine):
    """Weights ``alpha_ij = (1/K) sum_k cos(g(phi_k^i), g(phi_k^j))``.

    ``phi_k`` in R^M holds the M = 3 measures (thickness, grey-matter volume, area) of region k of K = 68, and ``g`` is
    min-max per measure across the regions of that subject. Source: as for AnatCL-global. With ``standardise`` the
    measures come as z-scores, which are on one scale, and there is no ``g``.
    """

    groups = 68

    def prepare(self, measures: Tensor) -> Tensor:
        """Turn measures (B, K, M) into K unit vectors per subject, (B, K * M)."""
        self.groups = measures.shape[1]
        return unit_vectors(measures if self.standardise else min_max(measures))

    def cosines(self, features: Tensor) -> Tensor:
        """Return alpha (B, B)."""
        return cosine_mean(features, self.groups)
