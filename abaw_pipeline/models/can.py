"""Channel attention (CAN): every channel of every modality is weighed against all others within a row (End2You).

Shapes: B windows, T rows, M modalities, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from abaw_pipeline.models.rows import on_real_rows

TCN_CHANNELS = {"video": (256, 256, 128, 128, 128), "logmel": (128, 128, 64, 64, 64), "bert": (256, 256, 128, 128)}
TCN_DROPOUT = 0.2
MODAL_DIM = 128


class ChannelAttentionFusion(nn.Module):
    """Encoded modalities to targets before tanh."""

    def __init__(self, widths: Mapping[str, int], targets: int) -> None:
        super().__init__()
        self.project = nn.ModuleDict({modality: nn.Linear(width, MODAL_DIM) for modality, width in widths.items()})
        mixed = MODAL_DIM * len(widths)
        self.attention = nn.Linear(mixed, mixed)
        self.hidden = nn.Linear(mixed, mixed)
        self.norm = nn.BatchNorm1d(mixed)
        # Attention weights sum to 1 over all channels, so what reaches this layer varies by about 1e-6. Running statistics that begin at
        # torch's 1 would need over a hundred batches to get there, and validation would see damped predictions until then.
        self.norm.running_var = torch.zeros(mixed)
        self.activation = nn.LeakyReLU()
        self.regressor = nn.Linear(mixed, targets)

    def forward(self, encoded: Mapping[str, Tensor], present_BTM: Tensor | None, places_N: Tensor | None) -> Tensor:
        """`encoded`: (B, T, C) per modality; `present_BTM`: whether the row has it, None if all have all. Gives (B, T, targets).

        Channels of an absent modality are zero and get no attention. `places_N`: the rows that are no
        padding, which alone enter the batch statistics; None for all.
        """
        x_BTC = torch.cat([self.project[name](x_BTC) for name, x_BTC in encoded.items()], dim=-1)
        if present_BTM is None:
            x_BTC = x_BTC * self.attention(x_BTC).softmax(dim=-1)
        else:
            present_BTC = present_BTM.repeat_interleave(MODAL_DIM, dim=-1)
            x_BTC = x_BTC * present_BTC
            scores_BTC = self.attention(x_BTC)
            x_BTC = x_BTC * scores_BTC.masked_fill(~present_BTC, torch.finfo(scores_BTC.dtype).min).softmax(dim=-1)
        x_BTC = self.hidden(x_BTC)
        if places_N is None:
            x_BTC = self.norm(x_BTC.transpose(1, 2)).transpose(1, 2)
        else:
            x_BTC = on_real_rows(self.norm, x_BTC, places_N, x_BTC.shape[-1])
        out: Tensor = self.regressor(self.activation(x_BTC))
        return out
