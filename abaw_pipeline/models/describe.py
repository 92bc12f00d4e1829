"""What the configured networks are made of and cost: `python -m abaw_pipeline describe CONFIG`.

Everything is counted on torch's `meta` device: shapes flow through the network without numbers, so that the report's sizes need
neither memory nor time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from abaw_pipeline import config
from abaw_pipeline.errors import InputError
from abaw_pipeline.models.create import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.models.network import Encoder, Network
from abaw_pipeline.models.timm_backbone import TimmBackbone

WORD_VECTORS = {"bert-base-uncased": 768, "minilm": 384}
"""Lengths of the registry's word vectors; other models count as BERT's."""
UNSEEN_VECTORS = 512
"""Length that precomputed vectors count with while there are none."""
FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Step:
    """What trains from one release on."""

    released: tuple[str, ...]
    trainable: int
    """Parameters, fusion and temporal layers included."""
    kept_bytes: int
    """Activations of a batch that the forward pass keeps for the backward pass, in float32."""


@dataclass(frozen=True)
class Description:
    """One network's counts."""

    inputs: dict[str, str]
    parameters: dict[str, int]
    """Per part of the network."""
    multiply_adds: dict[str, int]
    """Per part of the network, for one row (one frame) of a window, forward."""
    forward_bytes: int
    """Largest input plus output of any layer for a batch, in float32: what a forward pass alone needs at least."""
    steps: tuple[Step, ...]

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())


def describe(
    model: config.Model, training: config.Training, bert_dim: int = 768, precomputed: Mapping[str, int] | None = None
) -> Description:
    """Counts for `model` at the batch size, window and crop of `training`; `precomputed` has the lengths of vectors where known."""
    lengths: dict[str, int] = {modality: (precomputed or {}).get(modality, UNSEEN_VECTORS) for modality in model.precomputed}
    with torch.device("meta"):
        network = create_model(
            model.network,
            model.modalities,
            targets=2 if "both" in training.emotions else 1,
            visual=model.visual,
            audio=model.audio,
            tcn_width=model.tcn_width,
            image_size=training.crop,
            bert_dim=bert_dim,
            precomputed=lengths,
        )
    shapes = {"video": (3, training.crop, training.crop), "logmel": (96, 64), "bert": (bert_dim,)}
    shapes |= {modality: (length,) for modality, length in lengths.items()}
    wanted: dict[str, tuple[int, ...]] = {modality: shapes[modality] for modality in model.modalities}
    inputs = {modality: _input_in_words(network, modality, shape) for modality, shape in wanted.items()}
    for modality, folder in model.precomputed.items():
        guess = "" if modality in (precomputed or {}) else f" (a guess: {folder} has no file yet)"
        inputs[modality] = f"your vectors of {lengths[modality]}, as they are{guess}"
    parts = _parts(network)
    return Description(
        inputs=inputs,
        parameters={name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()},
        multiply_adds=_multiply_adds(network.eval(), parts, _batch(wanted, 1, training.window), training.window),
        forward_bytes=_largest_layer(network, _batch(wanted, training.batch_size, training.window)),
        steps=_steps(network.train(), _batch(wanted, training.batch_size, training.window)),
    )


def _parts(network: Network) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {}
    for modality, encoder in network.encoders.items():
        assert isinstance(encoder, Encoder)
        if encoder.backbone is not None:
            parts[f"{modality} backbone"] = encoder.backbone
        parts[f"{modality} TCN"] = nn.ModuleList([encoder.tcn, encoder.norm])
    return {**parts, "fusion": network.fusion}


def _batch(shapes: dict[str, tuple[int, ...]], windows: int, rows: int) -> dict[str, Tensor]:
    return {modality: torch.zeros(windows, rows, *shape, device="meta") for modality, shape in shapes.items()}


def _multiply_adds(network: Network, parts: dict[str, nn.Module], batch: dict[str, Tensor], rows: int) -> dict[str, int]:
    """torch counts two operations per multiply-add, for convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(batch)
    flops = counter.get_flop_counts()
    paths = {id(module): path for path, module in network.named_modules()}
    counts = {}
    for name, part in parts.items():
        inside = list(part) if isinstance(part, nn.ModuleList) else [part]
        counts[name] = sum(sum(flops.get(f"Network.{paths[id(module)]}", {}).values()) for module in inside) // (2 * rows)
    return counts


def _largest_layer(network: Network, batch: dict[str, Tensor]) -> int:
    largest = 0

    def note(_: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        nonlocal largest
        tensors = [tensor for tensor in (*given, result) if isinstance(tensor, Tensor)]
        storages = {tensor.untyped_storage()._cdata: tensor.numel() * FLOAT for tensor in tensors}
        largest = max(largest, sum(storages.values()))

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(note) for module in leaves]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    return largest


def _steps(network: Network, batch: dict[str, Tensor]) -> tuple[Step, ...]:
    freeze_trunks(network)
    steps = []
    for group in release_groups(network):
        release(network, group)
        trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        steps.append(Step(released=group, trainable=trainable, kept_bytes=_kept_for_backward(network, batch)))
    return tuple(steps)


def _kept_for_backward(network: Network, batch: dict[str, Tensor]) -> int:
    """Bytes of the tensors that the forward pass saves, each storage once; parameters and the batch itself aside."""
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers(), *batch.values())}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            saved[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def _input_in_words(network: Network, modality: str, shape: tuple[int, ...]) -> str:
    sizes = " x ".join(str(size) for size in shape)
    if modality == "video":
        encoder = network.encoders["video"]
        backbone = encoder.backbone if isinstance(encoder, Encoder) else None
        inside = f", resized inside to {backbone.size[0]} x {backbone.size[1]}" if isinstance(backbone, TimmBackbone) else ""
        return f"pictures of {sizes}, -1 to 1{inside}"
    if modality == "logmel":
        return f"log-mel windows of {sizes} (0.96 s, 64 bands)"
    return f"word vectors of {sizes}, mean 0, deviation 1"


def vector_lengths(model: config.Model) -> dict[str, int]:
    """Lengths of the vectors that stand for modalities, each by the first file of its folder; left out where there is none."""
    lengths: dict[str, int] = {}
    for modality, folder in model.precomputed.items():
        for path in sorted(Path(folder).glob("*.h5"))[:1]:
            try:
                with h5py.File(path) as file:
                    lengths[modality] = int(file["vectors"].shape[1])
            except (OSError, KeyError, AttributeError, IndexError):
                raise InputError(f"{path}: no dataset 'vectors' (frames, numbers) can be read; make the file again") from None
    return lengths


def as_text(name: str, model: config.Model, training: config.Training, description: Description) -> str:
    """A page of plain text."""
    lines = [
        f"{name}: {model.network.upper()} over {', '.join(model.modalities)}",
        f"  batch of {training.batch_size} windows x {training.window} rows",
        "  input",
        *(f"    {modality:<22}{text}" for modality, text in description.inputs.items()),
        f"  {'part':<24}{'parameters':>14}{'multiply-adds per frame':>26}",
        *(f"    {part:<22}{count:>14,}{_millions(description.multiply_adds[part]):>26}" for part, count in description.parameters.items()),
        f"    {'all':<22}{description.total:>14,}{_millions(sum(description.multiply_adds.values())):>26}",
        f"  {'trained from release':<24}{'parameters':>14}{'kept activations':>26}{'with weights and Adam':>24}",
    ]
    for number, step in enumerate(description.steps, start=1):
        # Weights of all; gradient and Adam's two moments of what trains.
        state = FLOAT * (description.total + 3 * step.trainable)
        lines.append(f"    {number:<22}{step.trainable:>14,}{_gib(step.kept_bytes):>26}{_gib(step.kept_bytes + state):>24}")
        if step.released:
            lines.append(f"      {_shorter(step.released)}")
    forward = description.forward_bytes + FLOAT * description.total
    lines.append(f"  forward alone: largest layer {_gib(description.forward_bytes)}, with weights {_gib(forward)}")
    lines.append("  memory is for float32; bf16 autocast halves activations, not weights")
    return "\n".join(lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f} M"


def _gib(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB"


def _shorter(paths: tuple[str, ...]) -> str:
    return ", ".join(path.removeprefix("encoders.").replace(".backbone", "") for path in paths)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The configuration, and which of its networks."""
    parser.add_argument("config", type=Path, help="configuration file (YAML)")
    parser.add_argument("--model", action="append", default=[], help="a network of it by name; repeat for several (default: all)")


def main(args: argparse.Namespace) -> None:
    """Print the description of every configured network."""
    if not args.config.is_file():
        raise InputError(f"{args.config}: no such file; give the configuration, such as config.yaml")
    try:
        settings = config.load_file(args.config)
    except config.ConfigError as error:
        raise InputError(f"{args.config}: {error}") from None
    unknown = [name for name in args.model if name not in settings.models]
    if unknown:
        raise InputError(f"{args.config} has no model {', '.join(unknown)}; it has {', '.join(settings.models)}")
    bert_dim = WORD_VECTORS.get(settings.features.model, 768)
    for name in args.model or settings.models:
        model = settings.models[name]
        try:
            description = describe(model, settings.training, bert_dim, vector_lengths(model))
            print(as_text(name, model, settings.training, description) + "\n")
        except ValueError as error:
            raise InputError(f"{args.config}: models.{name}: {error}") from None
