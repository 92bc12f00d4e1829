"""Small backbones that train from scratch on a CPU: about half a million multiply-adds per row, or less.

Fastest with channels last (`network.to(memory_format=torch.channels_last)`). Shapes: N rows.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F


def _convolution(inputs: int, depth: int, *, stride: int = 1, pool: bool = False) -> list[nn.Module]:
    """Convolution 3x3, BatchNorm, ReLU; halved by its stride or by pooling, or not."""
    convolution = nn.Conv2d(inputs, depth, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(depth), *([nn.MaxPool2d(2)] if pool else []), nn.ReLU(inplace=True)]


class SmallIR(nn.Module):
    """Pictures in [-1, 1] to vectors: three halvings to 5 x 5 positions as in IR-50, one more convolution, linear."""

    width = 64
    release = (("",),)
    """All of it trains from the start."""

    def __init__(self, image_size: int = 40) -> None:
        super().__init__()
        edge = -(-image_size // 8)
        self.body = nn.Sequential(
            *_convolution(3, 8, stride=2), *_convolution(8, 16, stride=2), *_convolution(16, 32, stride=2), *_convolution(32, 32)
        )
        self.output_layer = nn.Sequential(nn.Flatten(), nn.Linear(32 * edge * edge, self.width, bias=False), nn.BatchNorm1d(self.width))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 3, image_size, image_size) -> (N, 64)."""
        out: Tensor = self.output_layer(self.body(x_NCHW))
        return out


class SmallVGG(nn.Module):
    """Log-mel windows to vectors: averaged over 80 ms and two bands, three convolutions, linear."""

    width = 64
    release = (("",),)
    """All of it trains from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolution(1, 8, pool=True), *_convolution(8, 16, pool=True), *_convolution(16, 32))
        self.output_layer = nn.Sequential(nn.Flatten(), nn.Linear(32 * 3 * 8, self.width, bias=False), nn.BatchNorm1d(self.width))

    def forward(self, x_NTM: Tensor) -> Tensor:
        """(N, 96, 64) -> (N, 64). Shifted so that silence, log(0.01), is zero, like the border that convolutions add."""
        coarse_N1TM = F.avg_pool2d(x_NTM.unsqueeze(1), (8, 2)) - math.log(0.01)
        out: Tensor = self.output_layer(self.features(coarse_N1TM))
        return out
