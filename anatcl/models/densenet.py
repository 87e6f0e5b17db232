"""DenseNet-121 from MONAI, an option that needs MONAI installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anatcl.models.pool import MeanPool3d


class DenseNet3d(nn.Module):
    """MONAI's 3-D DenseNet-121 without its classifier (1,024 features).

    Source: Huang et al. 2017 (arXiv 1608.06993).

    Parameters
    ----------
    cells : int
        Cells along each axis of the last pool.
    """

    def __init__(self, cells: int = 1) -> None:
        super().__init__()
        try:
            from monai.networks.nets import DenseNet121
        except ImportError as error:
            raise ImportError("encoder densenet121 comes from MONAI; install it: pip install monai") from error
        network = DenseNet121(spatial_dims=3, in_channels=1, out_channels=1)
        self.features = network.features
        self.pool = MeanPool3d(cells)
        self.out_features = network.class_layers.get_parameter("out.weight").shape[1] * cells**3

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, X, Y, Z) to (N, 1024 * cells^3)."""
        return self.pool(torch.relu(self.features(x)))


def densenet121(cells: int = 1) -> nn.Module:
    """Return a randomly initialised DenseNet-121."""
    return DenseNet3d(cells)
