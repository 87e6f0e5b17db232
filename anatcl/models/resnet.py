"""3-D residual networks in the layout of the published AnatCL weights.

Source: He et al. 2016 (arXiv 1512.03385), laid out as in torchvision with 3-D operators: first convolution 7x7x7 with
stride 2, max-pool 3 with stride 2, four stages of 64-128-256-512 channels, global average pool. Parameter names are
torchvision's (``conv1``, ``bn1``, ``layer1.0.conv1``, ``layer2.0.downsample.0`` ...), which the published
``checkpoint["model"]`` holds below ``encoder.``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from anatcl.models.pool import DeterministicMaxPool3d, MeanPool3d
from anatcl.models.stem import SpaceToDepthConv3d


def _conv3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)


def _conv1(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, kernel_size=1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions with a shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _conv3(channels_in, channels, stride)
        self.bn1 = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3(channels, channels)
        self.bn2 = nn.BatchNorm3d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, X, Y, Z) to (N, C, X/stride, Y/stride, Z/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3, 1x1x1 convolutions with a shortcut; the stride is in the middle one."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _conv1(channels_in, channels)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = _conv3(channels, channels, stride)
        self.bn2 = nn.BatchNorm3d(channels)
        self.conv3 = _conv1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm3d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, X, Y, Z) to (N, 4 C, X/stride, Y/stride, Z/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return self.relu(out)


class ResNet3d(nn.Module):
    """3-D ResNet that ends in the global average pool, or in averages over a grid of cells.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    blocks : sequence of int
        Blocks in each of the four stages.
    width : int
        Channels of the first stage; each later stage doubles them.
    channels_in : int
        Channels of the input volume.
    cells : int
        Cells along each axis of the last pool.

    Attributes
    ----------
    out_features : int
        Length of the embedding: ``width * 8 * block.expansion * cells^3`` (512 for ResNet-18 and one cell).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        width: int = 64,
        channels_in: int = 1,
        cells: int = 1,
    ) -> None:
        super().__init__()
        self._channels = width
        self.conv1 = SpaceToDepthConv3d(channels_in, width)
        self.bn1 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = DeterministicMaxPool3d()
        self.layer1 = self._stage(block, width, blocks[0], stride=1)
        self.layer2 = self._stage(block, width * 2, blocks[1], stride=2)
        self.layer3 = self._stage(block, width * 4, blocks[2], stride=2)
        self.layer4 = self._stage(block, width * 8, blocks[3], stride=2)
        self.pool = MeanPool3d(cells)
        self.out_features = width * 8 * block.expansion * cells**3
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], channels: int, n: int, stride: int) -> nn.Sequential:
        out = channels * block.expansion
        downsample = None
        if stride != 1 or self._channels != out:
            downsample = nn.Sequential(_conv1(self._channels, out, stride), nn.BatchNorm3d(out))
        layers = [block(self._channels, channels, stride, downsample)]
        self._channels = out
        layers += [block(out, channels) for _ in range(1, n)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Embed volumes.

        Parameters
        ----------
        x : Tensor of shape (N, channels_in, X, Y, Z)

        Returns
        -------
        Tensor of shape (N, out_features)
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.pool(x)
