"""DenseNet-121 from MONAI, an option that needs MONAI installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DenseNet3d(nn.Module):
    """MONAI's 3-D DenseNet-121 without its classifier (1,024 features).

    Source: Huang et al. 2017 (arXiv 1608.06993).
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from monai.networks.nets import DenseNet121
        except ImportError as error:
            raise ImportError("encoder densenet121 comes from MONAI; install it: pip install monai") from error
        network = DenseNet121(spatial_dims=3, in_channels=1, out_channels=1)
        self.features = network.features
        self.out_features = network.class_layers.get_parameter("out.weight").shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, X, Y, Z) to (N, 1024)."""
        x = torch.relu(self.features(x))
        return x.mean(dim=(2, 3, 4))


def densenet121() -> nn.Module:
    """Return a randomly initialised DenseNet-121."""
    return DenseNet3d()
