"""Temporal convolutional network: causal dilated blocks, each seeing twice as far back as the one before (Bai et al. 2018).

Shapes: B windows, C channels, T rows. Output row t depends on input rows up to t only.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

KERNEL = 5


class CausalBlock(nn.Module):
    """Twice (weight-normalised causal convolution, LeakyReLU, dropout), plus the input, LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (KERNEL - 1) * dilation
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, KERNEL, dilation=dilation, padding=self.past))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, KERNEL, dilation=dilation, padding=self.past))
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.activation = nn.LeakyReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T). Convolutions pad both ends; cutting the last rows off leaves the causal ones."""
        y_BCT = self.dropout(self.activation(self.conv1(x_BCT)[..., : -self.past]))
        y_BCT = self.dropout(self.activation(self.conv2(y_BCT)[..., : -self.past]))
        out: Tensor = self.activation(y_BCT + self.shortcut(x_BCT))
        return out


class TCN(nn.Module):
    """One causal block per entry of `channels`, dilated by 1, 2, 4, …"""

    def __init__(self, inputs: int, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = [inputs, *channels]
        self.blocks = nn.Sequential(
            *(CausalBlock(widths[level], widths[level + 1], dilation=2**level, dropout=dropout) for level in range(len(channels)))
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, channels[-1], T)."""
        out: Tensor = self.blocks(x_BCT)
        return out
