"""A network: one encoder per modality, then a fusion, then tanh.

Shapes: B windows, T rows, C channels, M modalities; `x` stands for a modality's own axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from abaw_pipeline.models.can import ChannelAttentionFusion
from abaw_pipeline.models.lfan import LeaderFollowerFusion
from abaw_pipeline.models.rows import on_real_rows, places_of
from abaw_pipeline.models.tcn import TCN


class Encoder(nn.Module):
    """One modality over time: backbone row by row (none for vectors), TCN, BatchNorm."""

    def __init__(self, backbone: nn.Module | None, tcn: TCN, inputs: int, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tcn = tcn
        self.norm = nn.BatchNorm1d(outputs)
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, x_BTx: Tensor, places_N: Tensor | None) -> Tensor:
        """(B, T, …) -> (B, T, outputs). Rows at no place are zero, before the TCN and after, and enter no batch statistics."""
        if places_N is None:
            if self.backbone is not None:
                x_BTx = self.backbone(x_BTx.flatten(0, 1)).unflatten(0, x_BTx.shape[:2])
            encoded_BTC: Tensor = self.norm(self.tcn(x_BTx.transpose(1, 2))).transpose(1, 2)
            return encoded_BTC
        backbone = self.backbone if self.backbone is not None else _as_they_are
        vectors_BTC = on_real_rows(backbone, x_BTx, places_N, self.inputs)
        return on_real_rows(self.norm, self.tcn(vectors_BTC.transpose(1, 2)).transpose(1, 2), places_N, self.outputs)


def _as_they_are(vectors_NC: Tensor) -> Tensor:
    return vectors_NC


class Network(nn.Module):
    """LFAN or CAN; `create_model` builds it.

    `frozen_batchnorm`: in training, parts whose parameters are all frozen run as in evaluation (`frozen`), or their BatchNorm
    statistics follow the batches as those of trained parts do (`updated`, the authors').
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: LeaderFollowerFusion | ChannelAttentionFusion,
        frozen_batchnorm: Literal["frozen", "updated"],
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.frozen_batchnorm = frozen_batchnorm

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Targets in (-1, 1), (B, T, targets).

        `batch`: one tensor per modality, `video` (B, T, 3, H, W) in [-1, 1], `logmel` (B, T, 96, 64), `bert` (B, T, D); optional bool
        (B, T) masks, true everywhere if not given: `mask` for rows that are no padding, `<modality>_mask` for rows that have the
        modality. Beside a mask may stand `places` (N,) or `<modality>_places`, which spares waiting for a GPU: where, counted over all
        rows of all windows, the row is no padding, or that and has the modality. Rows of padding get finite values without meaning.
        Under autocast the encoders run in lower precision, fusion and output in float32.
        """
        missing = [name for name in self.encoders if name not in batch]
        if missing:
            raise KeyError(f"the batch lacks {', '.join(missing)}; this network reads {', '.join(self.encoders)}")
        rows_BT = batch.get("mask")
        masks = {name: _both(rows_BT, batch.get(f"{name}_mask")) for name in self.encoders}
        places = {name: _places(batch, name, mask) for name, mask in masks.items()}
        encoded = {name: encoder(batch[name], places[name]) for name, encoder in self.encoders.items()}
        present_BTM = None
        if any(mask is not None for mask in masks.values()):
            everywhere_BT = next(iter(encoded.values())).new_ones(next(iter(encoded.values())).shape[:2], dtype=torch.bool)
            present_BTM = torch.stack([everywhere_BT if mask is None else mask for mask in masks.values()], dim=-1)
        rows_N = _places(batch, "", rows_BT)
        first = next(iter(encoded.values()))
        if first.dtype not in (torch.bfloat16, torch.float16):
            return torch.tanh(self.fusion(encoded, present_BTM, rows_N))
        # Under autocast: predictions in bfloat16 would have 128 steps between 0.5 and 1, and the fusion costs next to nothing.
        with torch.autocast(first.device.type, enabled=False):
            return torch.tanh(self.fusion({name: x_BTC.float() for name, x_BTC in encoded.items()}, present_BTM, rows_N))

    def train(self, mode: bool = True) -> Network:
        """Training mode, except for wholly frozen parts of the backbones under `frozen_batchnorm="frozen"`."""
        super().train(mode)
        if mode and self.frozen_batchnorm == "frozen":
            for encoder in self.encoders.values():
                if isinstance(encoder, Encoder) and encoder.backbone is not None:
                    _rest_where_frozen(encoder.backbone)
        return self


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """True where both masks are; None stands for true everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _places(batch: Mapping[str, Tensor], modality: str, mask_BT: Tensor | None) -> Tensor | None:
    """Where `mask_BT`, which is the padding's or, with a mask of its own, the modality's, is true; None for true everywhere."""
    if mask_BT is None:
        return None
    given = batch.get(f"{modality}_places" if f"{modality}_mask" in batch else "places")
    return places_of(mask_BT) if given is None else given


def _rest_where_frozen(module: nn.Module) -> None:
    """Evaluation mode for every part that has parameters, all of them frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _rest_where_frozen(child)
