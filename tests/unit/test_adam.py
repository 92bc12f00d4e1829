"""The optimizer is torch's Adam, to the bit, and its state survives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abaw_pipeline.training.adam import Adam


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    model[0].bias.requires_grad_(False)
    return model


def gradients(model: nn.Module, step: int) -> None:
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
    model(x).square().sum().backward()


def test_steps_equal_torchs_adam_with_a_changing_rate() -> None:
    ours, theirs = network(), network()
    adam = Adam(ours.parameters(), weight_decay=1e-3)
    reference = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], weight_decay=1e-3, fused=True)
    for step in range(20):
        rate = 1e-2 * (step % 7)
        gradients(ours, step)
        adam.step(rate)
        gradients(theirs, step)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        reference.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_restored_optimizer_goes_on_exactly() -> None:
    whole, broken = network(), network()
    first, second = Adam(whole.parameters(), 1e-3), Adam(broken.parameters(), 1e-3)
    for step in range(6):
        if step == 3:
            state = second.state_dict()
            second = Adam(broken.parameters(), 1e-3)
            second.load_state_dict(state)
        for model, adam in ((whole, first), (broken, second)):
            gradients(model, step)
            adam.step(1e-2)
    for mine, other in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_frozen_parameters_and_those_without_gradient_stay() -> None:
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    Adam(model.parameters(), 1e-3).step(1.0)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    gradients(model, 0)
    Adam(model.parameters(), 1e-3).step(1.0)
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert moved == [True, False, True, True]


def test_a_state_of_other_parameters_is_refused() -> None:
    adam = Adam(network().parameters(), 0.0)
    with pytest.raises(ValueError, match="other parameters"):
        adam.load_state_dict(Adam(nn.Linear(3, 3).parameters(), 0.0).state_dict())
