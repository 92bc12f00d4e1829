"""Small backbones that train from scratch on a CPU: each about half a million multiply-adds per row."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from abaw_pipeline.models.ir50 import Unit


def _halve(inputs: int, depth: int) -> nn.Sequential:
    """Strided convolution to half the size."""
    return nn.Sequential(nn.Conv2d(inputs, depth, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(depth), nn.PReLU(depth))


class SmallIR(nn.Module):
    """Pictures in [-1, 1] to vectors: three halvings, one unit of IR-50's kind, linear."""

    width = 64
    release = (("",),)
    """All of it trains from the start."""

    def __init__(self, image_size: int = 40) -> None:
        super().__init__()
        edge = -(-image_size // 8)
        self.body = nn.Sequential(_halve(3, 8), _halve(8, 16), _halve(16, 32), Unit(32, 32, stride=1))
        self.output_layer = nn.Sequential(nn.Flatten(), nn.Linear(32 * edge * edge, self.width, bias=False), nn.BatchNorm1d(self.width))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 3, image_size, image_size) -> (N, 64)."""
        out: Tensor = self.output_layer(self.body(x_NCHW))
        return out


class SmallVGG(nn.Module):
    """Log-mel windows to vectors: averaged over 40 ms and two bands, then three convolutions with pooling, linear."""

    width = 64
    release = (("",),)
    """All of it trains from the start."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, depth in ((1, 8), (8, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, depth, 3, padding=1, bias=False), nn.BatchNorm2d(depth), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.output_layer = nn.Sequential(nn.Flatten(), nn.Linear(32 * 3 * 4, self.width, bias=False), nn.BatchNorm1d(self.width))

    def forward(self, x_NTM: Tensor) -> Tensor:
        """(N, 96, 64) -> (N, 64). Shifted first so that silence, log(0.01), is zero, like the border that convolutions add."""
        coarse_N1TM = F.avg_pool2d(x_NTM.unsqueeze(1), (4, 2)) - math.log(0.01)
        out: Tensor = self.output_layer(self.features(coarse_N1TM))
        return out
