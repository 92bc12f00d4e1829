"""One forward pass through the frozen trunk for several networks that share it.

While a backbone's leading parts are frozen, in evaluation mode and equal in all networks, what they give is the same for all:
it is computed once, and each network goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abaw_pipeline.models.ir50 import IR50
from abaw_pipeline.models.network import Encoder, Network
from abaw_pipeline.models.vggish import VGGish

Batch = Mapping[str, Tensor]


class _Function(nn.Module):
    """A step of a backbone that has no parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def backbone_parts(backbone: nn.Module) -> list[nn.Module]:
    """Steps that, one after the other, are the backbone."""
    if isinstance(backbone, IR50):
        return [backbone.input_layer, *backbone.units, backbone.output_layer, _Function(F.normalize)]
    if isinstance(backbone, VGGish):
        flatten = _Function(lambda maps_NCTM: maps_NCTM.permute(0, 2, 3, 1).flatten(1))
        return [_Function(lambda x_NTM: x_NTM.unsqueeze(1)), *backbone.features, flatten, *backbone.embeddings]
    return [backbone]


def shared_depth(backbones: Sequence[nn.Module]) -> int:
    """How many leading parts all backbones have in common: frozen, in evaluation mode, with equal parameters and buffers."""
    depth = 0
    for parts in zip(*(backbone_parts(backbone) for backbone in backbones), strict=True):
        if not all(_at_rest(part) for part in parts) or not _equal(parts):
            break
        depth += 1
    return depth


def _at_rest(part: nn.Module) -> bool:
    frozen = not any(parameter.requires_grad for parameter in part.parameters())
    changing = (nn.modules.batchnorm._BatchNorm, nn.Dropout)
    return frozen and not any(module.training for module in part.modules() if isinstance(module, changing))


def _equal(parts: Sequence[nn.Module]) -> bool:
    first, *others = ([*part.parameters(), *part.buffers()] for part in parts)
    return all(torch.equal(mine, theirs) for other in others for mine, theirs in zip(first, other, strict=True))


@contextmanager
def shared_trunks(networks: Sequence[Network]) -> Iterator[Callable[[Batch], Batch]]:
    """Within, the networks expect batches that went through the function that is given.

    It replaces a modality's pictures or spectrograms by what the shared part of their backbones makes of them; a modality whose
    backbones share nothing stays as it is, and so does everything for a single network.
    """
    trunks: dict[str, nn.Sequential] = {}
    whole: list[tuple[Encoder, nn.Module]] = []
    if len(networks) > 1:
        for modality in networks[0].encoders:
            encoders = [encoder for network in networks if isinstance(encoder := network.encoders[modality], Encoder)]
            backbones = [encoder.backbone for encoder in encoders if encoder.backbone is not None]
            depth = shared_depth(backbones) if len(backbones) == len(networks) else 0
            if depth > 0:
                trunks[modality] = nn.Sequential(*backbone_parts(backbones[0])[:depth])
                whole += zip(encoders, backbones, strict=True)
                for encoder, backbone in zip(encoders, backbones, strict=True):
                    encoder.backbone = nn.Sequential(*backbone_parts(backbone)[depth:])

    @torch.no_grad()
    def through(batch: Batch) -> Batch:
        passed = {name: trunk(batch[name].flatten(0, 1)).unflatten(0, batch[name].shape[:2]) for name, trunk in trunks.items()}
        return {**batch, **passed}

    try:
        yield through
    finally:
        for encoder, backbone in whole:
            encoder.backbone = backbone
