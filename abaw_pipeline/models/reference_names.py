"""The authors' state-dict names, so that files they share load into these networks.

Their modules register each TCN convolution twice (`conv1` and `net.0` are one layer); the later name, `net`, is the one that
counts, as it is in their own loading. Layers that they build and never use are checked and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from abaw_pipeline.errors import InputError
from abaw_pipeline.models.can import ChannelAttentionFusion
from abaw_pipeline.models.ir50 import IR50
from abaw_pipeline.models.network import Network
from abaw_pipeline.models.vggish import VGGish

EXPRESSIONS = 8
"""Classes of the expression classifier that the visual backbone was pretrained with."""

_IR50 = (
    (r"^units\.(\d+)\.residual\.", r"backbone.body.\1.res_layer."),
    (r"^units\.(\d+)\.shortcut\.", r"backbone.body.\1.shortcut_layer."),
    (r"^(input_layer|output_layer)\.", r"backbone.\1."),
)
_NETWORK = (
    (r"^encoders\.(\w+)\.tcn\.blocks\.(\d+)\.shortcut\.", r"temporal.\1.network.\2.downsample."),
    (r"^encoders\.(\w+)\.tcn\.blocks\.(\d+)\.conv1\.", r"temporal.\1.network.\2.net.0."),
    (r"^encoders\.(\w+)\.tcn\.blocks\.(\d+)\.conv2\.", r"temporal.\1.network.\2.net.4."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^encoders\.(\w+)\.norm\.", r"bn.\1."),
)
_LFAN = (
    (r"^fusion\.qkv\.", "fusion.layers.self_attn.qkv_proj."),
    (r"^fusion\.output\.", "fusion.layers.self_attn.o_proj."),
    (r"^fusion\.norm\.", "fusion.layers.norm1."),
    (r"^fusion\.regressor\.", "regressor."),
)
_CAN = (
    (r"^fusion\.attention\.", "fuse.weights."),
    (r"^fusion\.hidden\.", "fc1."),
    (r"^fusion\.norm\.", "bn1."),
    (r"^fusion\.regressor\.", "fc2."),
)


def load_reference_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Fill `model`, a network or an IR-50 or VGGish alone, from tensors under the authors' names.

    Strict: raises InputError that names every missing, surplus and misshaped tensor, and then changes nothing. The visual
    backbone's classifier and CAN's unused convolution are expected in their files but may be absent.
    """
    ours = model.state_dict()
    names = {name: reference_name(model, name) for name in ours}
    shapes = {names[name]: tensor.shape for name, tensor in ours.items()}
    unused = _unused_shapes(model, shapes)
    missing = [name for name in shapes if name not in state_dict]
    surplus = [name for name in state_dict if name not in shapes and name not in unused]
    expected = {**unused, **shapes}
    misshaped = [
        f"{name} is {tuple(tensor.shape)}, expected {tuple(expected[name])}"
        for name, tensor in state_dict.items()
        if name in expected and tensor.shape != expected[name]
    ]
    problems = [
        f"{kind} ({len(found)}): {', '.join(found[:8])}{', …' if len(found) > 8 else ''}"
        for kind, found in (("missing", missing), ("surplus", surplus), ("misshaped", misshaped))
        if found
    ]
    if problems:
        raise InputError(
            "these weights are not of this network"
            + "".join(f"\n  {problem}" for problem in problems)
            + "\nUse the file that belongs to the chosen network, modalities and backbones."
        )
    model.load_state_dict({name: state_dict[names[name]] for name in ours})


def reference_name(model: nn.Module, name: str) -> str:
    """What the authors call the tensor that `model.state_dict()` calls `name`."""
    if isinstance(model, IR50):
        return _rename(name, _IR50)
    if isinstance(model, VGGish):
        return name
    if not isinstance(model, Network):
        raise InputError(f"the authors' names are known for LFAN, CAN, IR-50 and VGGish, not for {type(model).__name__}")
    found = re.fullmatch(r"encoders\.(\w+)\.backbone\.(.*)", name)
    if found:
        modality, rest = found.groups()
        return "spatial.visual." + _rename(rest, _IR50) if modality == "video" else "spatial.audio.backbone." + rest
    found = re.fullmatch(r"fusion\.project\.(\w+)\.(\w+)", name)
    if found:
        return f"fuse.attn.{list(model.encoders).index(found[1])}.{found[2]}"
    fusion = _CAN if isinstance(model.fusion, ChannelAttentionFusion) else _LFAN
    return _rename(name, _NETWORK + fusion)


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _unused_shapes(model: nn.Module, shapes: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
    """Tensors of the authors' files that their networks do not use, or hold under a second name."""
    second = {name.replace(".net.0.", ".conv1.").replace(".net.4.", ".conv2."): shape for name, shape in shapes.items() if ".net." in name}
    prefix = "" if isinstance(model, IR50) else "spatial.visual."
    if f"{prefix}backbone.output_layer.3.weight" in shapes:
        second[f"{prefix}logits.weight"] = torch.Size((EXPRESSIONS, IR50.width))
        second[f"{prefix}logits.bias"] = torch.Size((EXPRESSIONS,))
    if "fuse.weights.weight" in shapes:
        mixed = shapes["fuse.weights.weight"][0]
        second["conv_c.weight"] = torch.Size((128, mixed, 1))
        second["conv_c.bias"] = torch.Size((128,))
    return second
