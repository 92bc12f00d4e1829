"""Leader-follower attention (LFAN): modalities attend to each other within a row, and the leader is seen unmixed beside them.

Shapes: B windows, T rows, M modalities, H heads, D channels of a head, C channels of an encoded modality.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

TCN_CHANNELS = {"video": (256, 256, 128, 128), "logmel": (64, 64, 32, 32), "bert": (256, 256, 128, 128)}
TCN_DROPOUT = 0.1
MODAL_DIM = 32
HEADS = 2


class LeaderFollowerFusion(nn.Module):
    """Encoded modalities to targets before tanh. The first modality in `widths` leads."""

    def __init__(self, widths: Mapping[str, int], targets: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.leader = next(iter(widths))
        self.qkv = nn.ModuleDict({modality: nn.Linear(width, 3 * MODAL_DIM) for modality, width in widths.items()})
        mixed = MODAL_DIM * len(widths)
        self.output = nn.Linear(mixed, mixed)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(mixed)
        self.regressor = nn.Linear(widths[self.leader] + mixed, targets)

    def forward(self, encoded: Mapping[str, Tensor], present_BTM: Tensor | None, places_N: Tensor | None) -> Tensor:
        """`encoded`: (B, T, C) per modality; `present_BTM`: whether the row has it, None if all have all. Gives (B, T, targets).

        An absent modality is attended to by none and gives zeros itself. `places_N` is not needed: nothing here looks across rows.
        """
        leader_BTC = encoded[self.leader]
        batch, rows, _ = leader_BTC.shape
        qkv_BTMHx = torch.stack([self.qkv[name](x_BTC).view(batch, rows, HEADS, -1) for name, x_BTC in encoded.items()], dim=2)
        q_BTHMD, k_BTHMD, v_BTHMD = qkv_BTMHx.transpose(2, 3).chunk(3, dim=-1)
        scores_BTHMM = q_BTHMD @ k_BTHMD.transpose(-1, -2) / q_BTHMD.shape[-1] ** 0.5
        if present_BTM is not None:
            scores_BTHMM = scores_BTHMM.masked_fill(~present_BTM[:, :, None, None, :], torch.finfo(scores_BTHMM.dtype).min)
        mixed_BTHMD = scores_BTHMM.softmax(dim=-1) @ v_BTHMD + v_BTHMD
        if present_BTM is not None:
            mixed_BTHMD = mixed_BTHMD * present_BTM[:, :, None, :, None]
        followers_BTC = self.norm(self.dropout(self.output(mixed_BTHMD.flatten(2))))
        out: Tensor = self.regressor(torch.cat([leader_BTC, followers_BTC], dim=-1))
        return out
