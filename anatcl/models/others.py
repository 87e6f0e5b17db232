"""Networks of other projects, with their names of weights: y-Aware's and nidl's DenseNet-121, and SFCN."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class _Layer(nn.Sequential):
    """BatchNorm, ReLU, 1x1x1 and 3x3x3 convolution; its output is joined to its input."""

    def __init__(self, channels: int, growth: int) -> None:
        wide = 4 * growth
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm3d(channels),
                relu1=nn.ReLU(),
                conv1=nn.Conv3d(channels, wide, 1, bias=False),
                norm2=nn.BatchNorm3d(wide),
                relu2=nn.ReLU(),
                conv2=nn.Conv3d(wide, growth, 3, padding=1, bias=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], 1)


class DenseNet121(nn.Module):
    """3-D DenseNet-121 with torchvision's names of weights and no last BatchNorm.

    Sources: Huang et al. 2017 (arXiv 1608.06993); weights of Dufumier et al. 2021 (y-Aware, arXiv 2106.08808) and of
    the nidl hub have these names.

    Parameters
    ----------
    embedding : int
        Outputs of a last linear layer ``embedding`` (nidl: 512); 0: the 1,024 pooled features.
    blocks : tuple of int
        Layers of each dense block.
    """

    def __init__(self, embedding: int = 0, blocks: tuple[int, ...] = (6, 12, 24, 16)) -> None:
        super().__init__()
        channels, growth = 64, 32
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv3d(1, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm3d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool3d(3, stride=2, padding=1),
        )
        for i, layers in enumerate(blocks, 1):
            named: OrderedDict[str, nn.Module] = OrderedDict(
                (f"denselayer{j + 1}", _Layer(channels + j * growth, growth)) for j in range(layers)
            )
            parts[f"denseblock{i}"] = nn.Sequential(named)
            channels += layers * growth
            if i < len(blocks):
                parts[f"transition{i}"] = _transition(channels)
                channels //= 2
        self.features = nn.Sequential(parts)
        self.embedding = nn.Linear(channels, embedding) if embedding else None
        self.out_features = embedding or channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, X, Y, Z) to (N, out_features)."""
        pooled = torch.relu(self.features(x)).mean((2, 3, 4))
        return pooled if self.embedding is None else self.embedding(pooled)


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm3d(channels),
            relu=nn.ReLU(),
            conv=nn.Conv3d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool3d(2, stride=2),
        )
    )


class SFCN(nn.Module):
    """The simple fully convolutional network of brain age, without its classifier: 64 features.

    Source: Peng et al. 2021, Medical Image Analysis 68, 101871; names of weights as in UKBiobank_deep_pretrain.
    """

    out_features = 64

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 64, 128, 256, 256, 64)
        blocks: OrderedDict[str, nn.Module] = OrderedDict(
            (f"conv_{i}", _block(widths[i], widths[i + 1], i == 5)) for i in range(6)
        )
        self.feature_extractor = nn.Sequential(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, X, Y, Z) to (N, 64): means over what is left of the volume."""
        pooled: Tensor = self.feature_extractor(x).mean((2, 3, 4))
        return pooled


def _block(inputs: int, outputs: int, last: bool) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, 1 if last else 3, padding=0 if last else 1)
    pool = [] if last else [nn.MaxPool3d(2, stride=2)]
    return nn.Sequential(conv, nn.BatchNorm3d(outputs), *pool, nn.ReLU())
