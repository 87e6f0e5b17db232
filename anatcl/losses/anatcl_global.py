"""AnatCL-global: each measure compared over all regions at once."""

from __future__ import annotations

from torch import Tensor

from anatcl.losses.anatcl import Cosine
from anatcl.losses.kernels import cosine_mean, unit_vectors

METHOD = {
    "name": "anatcl-global",
    "label": "AnatCL (global)",
    "order": 10,
    "loss": "AnatCLGlobal",
    "options": {
        "temperature": "temperature",
        "sigma": "age_sigma",
        "lambda_": "lambda_",
        "alpha_age": "alpha_age",
        "standardise": "standardise",
    },
    "sentence": (
        "AnatCL (global) weights pairs of participants by the similarity of each regional measure over all regions, "
        "and of their ages."
    ),
    "cite": ("anatcl",),
}


class AnatCLGlobal(Cosine):
    """Weights ``beta_ij = (1/M) sum_m cos(omega_m^i, omega_m^j)``.

    ``omega_m`` in R^K is measure m (of M = 3: thickness, grey-matter volume, area) over the K = 68 regions, raw or
    z-scored over the training participants.
    Source: Barbano et al., arXiv 2408.07079, by the authors' pages and a third-party reading of the paper.
    """

    groups = 3

    def prepare(self, measures: Tensor) -> Tensor:
        """Turn measures (B, K, M) into M unit vectors per subject, (B, M * K)."""
        self.groups = measures.shape[2]
        return unit_vectors(measures.transpose(1, 2))

    def cosines(self, features: Tensor) -> Tensor:
        """Return beta (B, B)."""
        return cosine_mean(features, self.groups)
