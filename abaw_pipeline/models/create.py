"""From names to a network: the one place that knows which backbones and fusions there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import nn

from abaw_pipeline.models import can, lfan
from abaw_pipeline.models.ir50 import IR50
from abaw_pipeline.models.network import Encoder, Network
from abaw_pipeline.models.small import SmallIR, SmallVGG
from abaw_pipeline.models.tcn import TCN
from abaw_pipeline.models.timm_backbone import TimmBackbone
from abaw_pipeline.models.vggish import VGGish

MODALITIES = ("video", "logmel", "bert")


def create_model(
    name: str,
    modalities: Sequence[str],
    *,
    targets: int = 1,
    visual: str = "ir50",
    audio: str = "vggish",
    image_size: int = 40,
    bert_dim: int = 768,
    precomputed: Mapping[str, int] | None = None,
    dropout: float | None = None,
    tcn_width: float = 1.0,
    frozen_batchnorm: Literal["frozen", "updated"] = "frozen",
) -> Network:
    """A network with random weights, all of it trainable, in training mode.

    `name`: `lfan` or `can`. `modalities`: any of video, logmel, bert, in order; the first leads in LFAN.
    `targets`: outputs per row, 1 or 2. `visual`: `ir50`, `ir_small` or `timm/<name>`; `audio`: `vggish` or `vgg_small`.
    `image_size`: edge of the pictures in pixels. `bert_dim`: length of a word vector.
    `precomputed`: modalities that come as vectors (B, T, D) instead of pictures or spectrograms, with D; they need no backbone.
    `dropout`: instead of every dropout of TCNs, fusion and backbones (the report's if None).
    `tcn_width`: widths of the TCNs relative to the report's. `frozen_batchnorm`: see `Network`.

    Raises ValueError for an unknown name, repeated or unknown modalities, or a number out of range.
    """
    if name not in ("lfan", "can"):
        raise ValueError(f"unknown network {name!r}; known: lfan, can")
    modalities = tuple(modalities)
    precomputed = dict(precomputed or {})
    _check_modalities(modalities, precomputed)
    if targets < 1:
        raise ValueError(f"targets must be at least 1, not {targets}")

    structure = lfan if name == "lfan" else can
    tcn_dropout = structure.TCN_DROPOUT if dropout is None else dropout
    encoders = {}
    for modality in modalities:
        backbone, inputs = _backbone(modality, visual, audio, image_size, bert_dim, precomputed)
        channels = [max(8, round(width * tcn_width)) for width in structure.TCN_CHANNELS[modality]]
        encoders[modality] = Encoder(backbone, TCN(inputs, channels, tcn_dropout), inputs, channels[-1])
    widths = {modality: encoder.outputs for modality, encoder in encoders.items()}
    fusion = lfan.LeaderFollowerFusion(widths, targets) if name == "lfan" else can.ChannelAttentionFusion(widths, targets)
    network = Network(encoders, fusion, frozen_batchnorm)
    if dropout is not None:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return network


def _check_modalities(modalities: tuple[str, ...], precomputed: Mapping[str, int]) -> None:
    if not modalities or len(set(modalities)) != len(modalities):
        raise ValueError(f"modalities must be a non-empty list without repeats, not {modalities}")
    unknown = [modality for modality in modalities if modality not in MODALITIES]
    if unknown:
        raise ValueError(f"unknown modality {', '.join(unknown)}; known: {', '.join(MODALITIES)}")
    unused = [modality for modality in precomputed if modality not in modalities]
    if unused:
        raise ValueError(f"precomputed vectors for {', '.join(unused)}, which is not among the modalities {', '.join(modalities)}")


def _backbone(
    modality: str, visual: str, audio: str, image_size: int, bert_dim: int, precomputed: Mapping[str, int]
) -> tuple[nn.Module | None, int]:
    """The modality's backbone, None where vectors come in, and the width of its vectors."""
    if modality in precomputed:
        return None, precomputed[modality]
    if modality == "bert":
        return None, bert_dim
    backbone = visual_backbone(visual, image_size) if modality == "video" else audio_backbone(audio)
    return backbone, backbone.width


def visual_backbone(name: str, image_size: int = 40) -> IR50 | SmallIR | TimmBackbone:
    """The backbone for pictures called `name`; ValueError if there is none."""
    if name == "ir50":
        return IR50(image_size)
    if name == "ir_small":
        return SmallIR(image_size)
    if name.startswith("timm/"):
        return TimmBackbone(name.removeprefix("timm/"))
    raise ValueError(f"unknown visual backbone {name!r}; known: ir50, ir_small, timm/<name>")


def audio_backbone(name: str) -> VGGish | SmallVGG:
    """The backbone for log-mel windows called `name`; ValueError if there is none."""
    if name == "vggish":
        return VGGish()
    if name == "vgg_small":
        return SmallVGG()
    raise ValueError(f"unknown audio backbone {name!r}; known: vggish, vgg_small")
