"""Which parts of the backbones train when (report section 3.4): trunks start frozen and thaw from the end, a group at a time.

Parts are named by module path, such as `encoders.video.backbone.units.21`. TCNs and fusion always train.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from torch import nn

from abaw_pipeline.models.network import Encoder, Network


def release_groups(model: Network) -> tuple[tuple[str, ...], ...]:
    """Module paths to release at each step, visual and audio together; the first step is the start of training.

    A backbone with fewer groups than another has nothing to release in the later steps. There is always a first step, empty
    where no modality has a backbone.
    """
    per_backbone = [
        [tuple(f"encoders.{name}.backbone.{part}".rstrip(".") for part in group) for group in _release(encoder.backbone)]
        for name, encoder in model.encoders.items()
        if isinstance(encoder, Encoder) and encoder.backbone is not None
    ]
    steps = zip_longest(*per_backbone, fillvalue=())
    return tuple(tuple(path for group in step for path in group) for step in steps) or ((),)


def share_never_released(model: Network, modality: str) -> float:
    """Which share of a modality's backbone, by parameters, no step releases: it stays as it was when training began."""
    backbone = f"encoders.{modality}.backbone"
    released = [path for group in release_groups(model) for path in group if path == backbone or path.startswith(f"{backbone}.")]
    sizes = [sum(parameter.numel() for parameter in model.get_submodule(path).parameters()) for path in (backbone, *released)]
    return 1 - sum(sizes[1:]) / sizes[0]


def freeze_trunks(model: Network) -> None:
    """Freeze every backbone whole. Release the first group next: output layers train from the start."""
    for encoder in model.encoders.values():
        if isinstance(encoder, Encoder) and encoder.backbone is not None:
            encoder.backbone.requires_grad_(False)
    model.train(model.training)


def release(model: Network, group: Iterable[str]) -> None:
    """Make the parts named in `group` trainable; their BatchNorm layers leave evaluation mode if the network is training."""
    for path in group:
        model.get_submodule(path).requires_grad_(True)
    model.train(model.training)


def _release(backbone: nn.Module) -> tuple[tuple[str, ...], ...]:
    """A backbone's own groups, relative to it; an empty path is the whole of it."""
    groups: tuple[tuple[str, ...], ...] = backbone.release  # type: ignore[assignment]  # nn.Module's attributes are typed as modules
    return groups
