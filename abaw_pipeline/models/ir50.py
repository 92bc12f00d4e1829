"""IR-50, the visual backbone: a ResNet-50 for faces with pre-activated units, on small squares.

Shapes: N pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
"""Depth and number of units of each stage; every stage but the first halves the picture."""


class Unit(nn.Module):
    """BN, conv 3x3, PReLU, conv 3x3 (stride), BN, plus the input: subsampled, or through conv 1x1 and BN where the depth changes."""

    def __init__(self, inputs: int, depth: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, depth, 3, padding=1, bias=False),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(depth),
        )
        if inputs == depth:
            self.shortcut: nn.Module = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, depth, 1, stride=stride, bias=False), nn.BatchNorm2d(depth))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, depth, H / stride, W / stride), sides rounded up."""
        out: Tensor = self.residual(x_NCHW) + self.shortcut(x_NCHW)
        return out


class IR50(nn.Module):
    """Pictures in [-1, 1] to vectors of length 1. `image_size`: their edge in pixels."""

    width = 512
    release = (("output_layer",), ("units.21", "units.22", "units.23"), ("units.18", "units.19", "units.20"))
    """Parts trained from the start, then the parts released one group after the other (report section 3.4)."""

    def __init__(self, image_size: int = 40) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        units: list[Unit] = []
        inputs = 64
        for stage, (depth, count) in enumerate(STAGES):
            for position in range(count):
                units.append(Unit(inputs, depth, stride=2 if stage > 0 and position == 0 else 1))
                inputs = depth
        self.units = nn.Sequential(*units)
        edge = -(-image_size // 8)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), nn.Linear(512 * edge * edge, self.width), nn.BatchNorm1d(self.width)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 3, image_size, image_size) -> (N, 512)."""
        return F.normalize(self.output_layer(self.units(self.input_layer(x_NCHW))))
