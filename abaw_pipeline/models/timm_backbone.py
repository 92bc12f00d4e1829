"""Any image model of the timm library as visual backbone (`visual: timm/<name>`); timm itself is optional."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abaw_pipeline.errors import InputError

ENLARGED = 96
"""Edge in pixels that faces are enlarged to for models that take any size: three positions each way at their usual stride of 32."""


class TimmBackbone(nn.Module):
    """Pictures in [-1, 1] to the model's pooled feature vector, with random weights.

    Pictures are resized to the model's own input size where that is fixed (most transformers), else to `ENLARGED`, and scaled
    with the mean and standard deviation that the model was made for. Raises InputError without timm or for an unknown name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise InputError(f"visual: timm/{name} needs the timm package: pip install timm") from None
        if not timm.is_model(name):
            close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
            raise InputError(f"visual: timm/{name}: timm has no such model" + (f"; it has {close}" if close else ""))
        self.model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
        about: dict[str, Any] = self.model.pretrained_cfg  # type: ignore[assignment]  # nn.Module's attributes are typed as modules
        self.size: tuple[int, int] = tuple(about["input_size"][1:]) if about.get("fixed_input_size") else (ENLARGED, ENLARGED)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(about["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(about["std"]).view(1, 3, 1, 1), persistent=False)
        self.release = _release(self.model, [stage["module"] for stage in getattr(self.model, "feature_info", [])])
        self.width = self._width()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, width)."""
        resized_NCHW = F.interpolate(x_NCHW, size=self.size, mode="bilinear", align_corners=False)
        out: Tensor = self.model(((resized_NCHW + 1) / 2 - self.mean) / self.std)
        return out

    def _width(self) -> int:
        """Found by trying, since heads differ in what they report."""
        with torch.no_grad():
            width: int = self.model.eval()(torch.zeros(1, 3, *self.size)).shape[-1]
        self.model.train()
        return width


def _release(model: nn.Module, stages: list[str]) -> tuple[tuple[str, ...], ...]:
    """The last stage with all that follows it, then the two stages before; the whole model at once where its stages are unknown."""
    holders = {stage.split(".")[0] for stage in stages if "." in stage}
    parts = [
        part
        for name, child in model.named_children()
        for part in ([f"{name}.{inner}" for inner, _ in child.named_children()] if name in holders else [name])
    ]
    if len(stages) < 4 or any(stage not in parts for stage in stages):
        return (("",),)
    third, second, last = (parts.index(stage) for stage in stages[-3:])
    groups = tuple(
        tuple(f"model.{part}" for part in group if any(True for _ in model.get_submodule(part).parameters()))
        for group in (parts[last:], parts[second:last], parts[third:second])
    )
    return groups if all(groups) else (("",),)
