"""Networks with the authors' weights give the authors' numbers: outputs, losses and gradients, to 1e-5 of the largest value."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from abaw_pipeline.errors import InputError
from abaw_pipeline.models import create_model, load_reference_state_dict
from abaw_pipeline.models.groups import freeze_trunks
from abaw_pipeline.models.ir50 import IR50
from abaw_pipeline.models.reference_names import reference_name
from abaw_pipeline.models.vggish import VGGish
from abaw_pipeline.training.loss import ccc_loss

CASES = {"LFAN_video_logmel_bert": ("lfan", ["video", "logmel", "bert"]), "CAN_video_logmel": ("can", ["video", "logmel"])}

GRADIENTS = {"lfan": ("fusion.regressor", "fusion.output"), "can": ("fusion.regressor", "fusion.attention")}
"""Linear layers whose weights' gradients are stored."""


@lru_cache
def formulas(folder: Path):
    specification = importlib.util.spec_from_file_location("reference_fill", folder / "fill.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@lru_cache
def weights(folder: Path, case: str) -> dict[str, Tensor]:
    shapes = json.loads((folder / "state_dict_keys.json").read_text())[case]
    return {name: torch.from_numpy(np.asarray(formulas(folder).fill(name, tuple(shape)))) for name, shape in shapes.items()}


@lru_cache
def numbers(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "models.npz") as stored:
        return dict(stored)


def example_batch(folder: Path) -> dict[str, Tensor]:
    example: Callable[[str, tuple[int, ...]], np.ndarray] = formulas(folder).example
    return {
        "video": torch.from_numpy(example("video", (2, 32, 3, 40, 40))),
        "logmel": torch.from_numpy(example("logmel", (2, 32, 96, 64))),
        "bert": torch.from_numpy(example("bert", (2, 1, 32, 768))[:, 0]),
    }


def difference(found: Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected value."""
    assert tuple(found.shape) == expected.shape
    return float((found.detach().double() - torch.from_numpy(expected)).abs().max() / np.abs(expected).max())


def terms(inputs: Tensor, output_gradient: Tensor) -> float:
    """Largest sum of magnitudes behind an entry of a linear layer's gradient, which is a sum of one term per row."""
    return float((output_gradient.abs().flatten(0, -2).T @ inputs.abs().flatten(0, -2)).max())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_network_gives_the_authors_outputs_losses_and_gradients(reference: Path, case: str) -> None:
    name, modalities = CASES[case]
    expected = numbers(reference)
    model = create_model(name, modalities, dropout=0.0, frozen_batchnorm="updated")
    load_reference_state_dict(model, weights(reference, case))
    freeze_trunks(model)
    batch = example_batch(reference)

    seen: list[Tensor] = []
    model.fusion.regressor.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    model.fusion.regressor.register_full_backward_hook(lambda _, __, given: seen.append(given[0]))

    model.eval()
    output = model(batch)
    loss = ccc_loss(output, torch.from_numpy(np.tanh(formulas(reference).example("label", (2, 32, 1)))))
    loss.backward()
    differences = {"output": difference(output, expected[case]), "loss": difference(loss, expected[f"{case}:loss"])}
    for part in GRADIENTS[name]:
        weight = model.get_submodule(part).weight
        wanted = expected[f"{case}:grad:{reference_name(model, part + '.weight')}"]
        differences[part] = difference(weight.grad, wanted)
        if (name, part) == ("can", "fusion.regressor"):
            # The filled CAN predicts nearly a constant (it spreads by 1e-4), so this gradient's terms cancel to some ten-thousandths of
            # their size, and rounding, of the stored float32 numbers too, is relative to the terms: float64 differs by 1.1e-4 of the
            # largest entry, and whatever gradient reaches this layer, its product with the inputs differs by 6.5e-5 (least squares).
            differences[part] *= float(np.abs(wanted).max()) / terms(*seen)
    model.train()
    with torch.no_grad():
        differences["training mode"] = difference(model(batch), expected[f"{case}:train"])
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize(
    ("case", "make", "example"),
    [("visual_backbone", IR50, ("frames", (4, 3, 40, 40))), ("vggish", VGGish, ("patches", (4, 96, 64)))],
)
def test_a_backbone_alone_gives_the_authors_vectors(
    reference: Path, case: str, make: type[nn.Module], example: tuple[str, tuple[int, ...]]
) -> None:
    backbone = make()
    load_reference_state_dict(backbone, weights(reference, case))
    with torch.no_grad():
        found = backbone.eval()(torch.from_numpy(formulas(reference).example(*example)))
    assert difference(found, numbers(reference)[case]) < 1e-5


def test_a_wrong_file_is_refused_with_the_names_of_its_tensors_and_changes_nothing(reference: Path) -> None:
    given = dict(weights(reference, "vggish"))
    given["features.99.weight"] = given.pop("features.3.bias")
    given["embeddings.4.weight"] = given["embeddings.4.weight"][:64]
    backbone = VGGish()
    before = backbone.features[0].weight.clone()
    with pytest.raises(InputError) as caught:
        load_reference_state_dict(backbone, given)
    message = str(caught.value)
    assert "missing (1): features.3.bias" in message
    assert "surplus (1): features.99.weight" in message
    assert "embeddings.4.weight is (64, 4096), expected (128, 4096)" in message
    assert torch.equal(backbone.features[0].weight, before)


def test_a_file_of_other_modalities_is_refused(reference: Path) -> None:
    model = create_model("can", ["video"], visual="ir50")
    with pytest.raises(InputError, match=r"surplus .*temporal\.logmel"):
        load_reference_state_dict(model, weights(reference, "CAN_video_logmel"))


def test_a_misshaped_unused_tensor_is_refused_too(reference: Path) -> None:
    given = dict(weights(reference, "visual_backbone"))
    given["logits.weight"] = given["logits.weight"][:7]
    with pytest.raises(InputError, match=r"logits\.weight is \(7, 512\), expected \(8, 512\)"):
        load_reference_state_dict(IR50(), given)


def test_the_authors_names_are_known_for_their_networks_only() -> None:
    with pytest.raises(InputError, match="Linear"):
        load_reference_state_dict(nn.Linear(2, 2), {"weight": torch.zeros(2, 2)})
