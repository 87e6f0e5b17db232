"""SupCon: subjects of the same age bin attract."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, check_labels, soft_info_nce
from anatcl.spec.training import default

METHOD = {
    "name": "supcon",
    "label": "SupCon (age bins)",
    "order": 80,
    "loss": "SupCon",
    "options": {"temperature": "temperature", "width": "age_bin"},
    "sentence": "SupCon uses bins of age as classes.",
    "cite": ("supcon",),
    "references": {
        "supcon": {
            "short": "Khosla et al., 2020",
            "bibtex": """@inproceedings{supcon,
  author    = {Khosla, Prannay and Teterwak, Piotr and Wang, Chen and others},
  title     = {Supervised contrastive learning},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}, eprint = {2004.11362}, archiveprefix = {arXiv}
}
""",
        },
    },
}


class SupCon(Loss):
    """Supervised contrastive loss (``L_out``) on age bins: ``L_w(w_ij = [bin_i == bin_j])``.

    Source: Khosla et al. 2020 (arXiv 2004.11362); bins of two years, ``(2k - 2, 2k]``, as in the code of Barbano et al.
    2023 (arXiv 2211.08326).

    Parameters
    ----------
    temperature : float
    width : float, years
    """

    needs = ("age",)

    def __init__(self, temperature: float = default("temperature"), width: float = default("age_bin")) -> None:
        super().__init__()
        self.temperature = temperature
        self.width = width

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the weight matrices (B, B) by name."""
        bins = torch.ceil(targets["age"] / self.width)
        return {"bin": (bins[:, None] == bins[None, :]).to(bins.dtype)}

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
        targets : mapping with ``age`` (B,) in years
        """
        age = check_labels(z, targets["age"], "age")
        return {"loss": soft_info_nce(z, self.weights({"age": age}), self.temperature, copies)["bin"]}
