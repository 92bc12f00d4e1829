"""The CCC loss: the authors' values, masks, and finite gradients where CCC is undefined."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.training.loss import ccc_loss


def plain(prediction: np.ndarray, target: np.ndarray) -> float:
    """The formula for one window, spelled out in float64."""
    covariance = np.mean((prediction - prediction.mean()) * (target - target.mean()))
    spread = prediction.var(ddof=1) + target.var(ddof=1) + (prediction.mean() - target.mean()) ** 2
    return 1 - 2 * covariance / spread


def test_reference_losses(reference: Path) -> None:
    specification = importlib.util.spec_from_file_location("fill", reference / "fill.py")
    fill = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(fill)
    label = torch.tanh(torch.as_tensor(np.asarray(fill.example("label", (2, 32, 1))), dtype=torch.float32))
    outputs = np.load(reference / "models.npz")
    losses = [name for name in outputs.files if name.endswith(":loss")]
    assert losses
    for name in losses:
        prediction = torch.from_numpy(outputs[name.removesuffix(":loss")]).float()
        assert ccc_loss(prediction, label).item() == pytest.approx(float(outputs[name]), abs=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 3))
def test_loss_is_the_formula_averaged_over_windows_and_targets(seed: int, rows: int, targets: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.uniform(-1, 1, (2, 3, rows, targets))
    expected = np.mean([plain(x[b, :, c], y[b, :, c]) for b in range(3) for c in range(targets)])
    assert ccc_loss(torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(0, 30))
def test_masked_padding_changes_nothing(seed: int, rows: int, padding: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 2, rows, 1, generator=generator)
    padded_x = torch.cat([x, torch.full((2, padding, 1), 0.7)], 1)
    padded_y = torch.cat([y, torch.zeros(2, padding, 1)], 1)
    mask = torch.arange(rows + padding).expand(2, -1) < rows
    assert ccc_loss(padded_x, padded_y, mask).item() == pytest.approx(ccc_loss(x, y).item(), abs=1e-6)
    if padding:
        assert ccc_loss(padded_x, padded_y).item() != ccc_loss(x, y).item()


def test_perfect_agreement_is_nearly_zero_and_opposites_nearly_two() -> None:
    y = torch.linspace(-1, 1, 300)[None]
    assert ccc_loss(y, y).item() == pytest.approx(1 / 300, rel=1e-2)  # biased over unbiased
    assert ccc_loss(-y, y).item() == pytest.approx(2 - 1 / 300, rel=1e-2)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -0.7])
def test_two_equal_constants_count_one_with_a_finite_gradient(value: float) -> None:
    prediction = torch.full((1, 50, 1), value, requires_grad=True)
    loss = ccc_loss(prediction, torch.full((1, 50, 1), value))
    loss.backward()
    assert loss.item() == 1.0
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_window_with_hardly_any_row_has_a_finite_gradient(rows: int) -> None:
    prediction = torch.rand(1, 5, 1, requires_grad=True)
    loss = ccc_loss(prediction, torch.rand(1, 5, 1), torch.arange(5)[None] < rows)
    loss.backward()
    assert loss.item() == 1.0
    assert torch.isfinite(prediction.grad).all()


def test_what_is_no_number_shows_in_the_loss() -> None:
    prediction = torch.rand(2, 5, 1)
    prediction[0, 3] = torch.nan
    assert ccc_loss(prediction, torch.rand(2, 5, 1)).isnan()


def test_half_precision_is_summed_in_float32() -> None:
    y = torch.linspace(-1, 1, 300)[None]
    x = (y * 0.5 + 0.1).bfloat16()
    loss = ccc_loss(x, y)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(ccc_loss(x.float(), y).item())


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        ccc_loss(torch.zeros(2, 5, 1), torch.zeros(2, 1, 5))
