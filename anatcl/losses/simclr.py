"""SimCLR: only another view of the same subject attracts."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import Loss, Targets, soft_info_nce, upcast
from anatcl.spec.training import default

METHOD = {
    "name": "simclr",
    "label": "SimCLR",
    "order": 90,
    "loss": "SimCLR",
    "options": {"temperature": "temperature"},
    "augment": True,
    "sentence": "SimCLR uses no label.",
    "cite": ("simclr",),
    "references": {
        "simclr": {
            "short": "Chen et al., 2020",
            "bibtex": """@inproceedings{simclr,
  author    = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  title     = {A simple framework for contrastive learning of visual representations},
  booktitle = {International Conference on Machine Learning},
  year      = {2020}, eprint = {2002.05709}, archiveprefix = {arXiv}
}
""",
        },
    },
}


class SimCLR(Loss):
    """NT-Xent: ``L_w(w = identity)``, so that the positives of a row are its other views.

    Source: Chen et al. 2020 (arXiv 2002.05709). Needs views that differ (augmentation); with identical views the
    positive's similarity is the constant ``1 / temperature`` and only the repulsion is left.

    Parameters
    ----------
    temperature : float
    """

    def __init__(self, temperature: float = default("temperature"), views: int = 2) -> None:
        super().__init__()
        self.temperature = temperature
        self.views = views

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return ``{"loss"}``.

        Parameters
        ----------
        z : Tensor of shape (N, D)
            `views` views of N / views subjects.
        targets : mapping
            Not read.
        """
        eye = torch.eye(z.shape[0] * copies // self.views, device=z.device, dtype=upcast(z).dtype)
        return {"loss": soft_info_nce(z, {"loss": eye}, self.temperature, copies)["loss"]}
