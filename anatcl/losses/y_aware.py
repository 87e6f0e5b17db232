"""y-Aware contrastive loss: subjects of similar age attract."""

from __future__ import annotations

from torch import Tensor

from anatcl.losses.age import AgeLoss
from anatcl.losses.base import Targets, check_labels, soft_info_nce

METHOD = {
    "name": "y-aware",
    "label": "y-Aware",
    "order": 40,
    "loss": "YAware",
    "options": {"temperature": "temperature", "sigma": "age_sigma"},
    "sentence": "y-Aware weights pairs by a Gaussian kernel on age.",
    "cite": ("yaware",),
    "references": {
        "yaware": {
            "short": "Dufumier et al., 2021",
            "bibtex": """@inproceedings{yaware,
  author    = {Dufumier, Benoit and Gori, Pietro and Victor, Julie and others},
  title     = {Contrastive learning with continuous proxy meta-data for {3D} {MRI} classification},
  booktitle = {Medical Image Computing and Computer Assisted Intervention},
  year      = {2021}, eprint = {2106.08808}, archiveprefix = {arXiv}
}
""",
        },
    },
}


class YAware(AgeLoss):
    """``L_w(w_ij = exp(-(y_i - y_j)^2 / (2 sigma^2)))``.

    Source: Dufumier et al. 2021 (arXiv 2106.08808), where sigma = 5 years; AnatCL's published run name says 2.
    """

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
        targets : mapping with ``age`` (B,) in years
        """
        age = check_labels(z, targets["age"], "age")
        return {"loss": soft_info_nce(z, self.weights({"age": age}), self.temperature, copies)["age"]}
