"""Networks that share a frozen trunk give what each gives alone, gradients included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from abaw_pipeline.models import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.models.network import Network
from abaw_pipeline.models.trunks import backbone_parts, shared_depth, shared_trunks

MODALITIES = ("video", "bert")


def network(seed: int, trunk: dict[str, torch.Tensor] | None = None) -> Network:
    torch.manual_seed(seed)
    model = create_model("can", MODALITIES, image_size=8, bert_dim=4, tcn_width=0.125, dropout=0.0)
    if trunk is not None:
        model.encoders["video"].backbone.load_state_dict(trunk)
    freeze_trunks(model)
    release(model, release_groups(model)[0])
    return model


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Network]]:
    """Two networks with one trunk: IR-50 with its 24 units, but most of them narrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abaw_pipeline.models.ir50.STAGES", ((64, 19), (64, 2), (64, 2), (512, 1)))
        first = network(0)
        yield [first, network(1, first.encoders["video"].backbone.state_dict())]


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    return {
        "video": torch.rand(2, 6, 3, 8, 8, generator=generator) * 2 - 1,
        "bert": torch.rand(2, 6, 4, generator=generator),
        "mask": mask,
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_outputs_and_gradients_are_those_of_each_alone(pair: list[Network], batch: dict, training: bool, groups: int) -> None:
    for model in pair:
        freeze_trunks(model)
        for group in release_groups(model)[:groups]:
            release(model, group)
        model.train(training)
    gradients = []
    outputs = []
    for model in pair:
        torch.manual_seed(3)
        outputs.append(model(batch))
        outputs[-1].sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
    names = [list(model.state_dict()) for model in pair]
    with shared_trunks(pair) as through:
        passed = through(batch)
        assert passed["video"].shape[2:] != batch["video"].shape[2:]
        for model, alone, expected in zip(pair, outputs, gradients, strict=True):
            torch.manual_seed(3)
            together = model(passed)
            torch.testing.assert_close(together, alone)
            together.sum().backward()
            found = {p: p.grad for p in model.parameters() if p.grad is not None}
            assert len(found) == len(expected)
    for model, expected in zip(pair, gradients, strict=True):
        for name, gradient in expected.items():
            torch.testing.assert_close(model.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-5)
        model.zero_grad()
    assert [list(model.state_dict()) for model in pair] == names


def test_what_is_shared_ends_where_networks_train_or_differ(pair: list[Network]) -> None:
    for model in pair:
        freeze_trunks(model)
        release(model, release_groups(model)[0])
        model.train()
    backbones = [model.encoders["video"].backbone for model in pair]
    parts = len(backbone_parts(backbones[0]))
    assert shared_depth(backbones) == parts - 2  # all but the output layer and the normalisation after it
    with torch.no_grad():
        backbones[1].units[5].residual[1].weight[0, 0] += 1
    assert shared_depth(backbones) == 1 + 5
    backbones[1].load_state_dict(backbones[0].state_dict())


def test_small_backbones_share_nothing_and_pass_unchanged() -> None:
    models = [create_model("lfan", MODALITIES, visual="ir_small", image_size=8, bert_dim=4) for _ in range(2)]
    batch = {"video": torch.zeros(1, 3, 3, 8, 8), "bert": torch.zeros(1, 3, 4)}
    with shared_trunks(models) as through:
        assert through(batch) == batch


def test_updated_batch_norms_are_not_shared() -> None:
    models = [create_model("can", ("video",), image_size=8, frozen_batchnorm="updated") for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        freeze_trunks(model)
        model.train()
    assert shared_depth([model.encoders["video"].backbone for model in models]) == 0
